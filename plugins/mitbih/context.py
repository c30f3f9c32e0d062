"""What tells a beat from those around it: neighboring beats, its record's median beat, RR intervals.

All of it is computed from where a record's beats are, never from what they are. The median beat and the mean
RR interval are those of the whole record, so that they can be had of a recording, and not of a stream.

Source of the RR intervals: de Chazal, O'Dwyer & Reilly, IEEE Trans. Biomed. Eng. 51(7), 2004, table II.
"""

from __future__ import annotations

import numpy as np

N_RR = 3
"""Channels of RR intervals."""
LONGEST = 3.0
"""RR intervals are taken as this many times the record's median at most, and as a third of it at least:
longer ones are gaps between annotated beats, as ventricular flutter leaves them."""
UNIT = 0.2
"""What the logarithms of RR ratios are divided by, about their SD over DS1 (0.15 to 0.18), so that these
channels are as large as those of normalized windows and a network heeds them from its first steps."""
LOCAL = 5
"""RR intervals on each side of a beat that its local mean is taken over, those beside it among them."""


def with_neighbors(windows: np.ndarray, beats: int) -> np.ndarray:
    """Puts the windows of neighboring beats below each beat's own.

    Args:
        windows: Of all beats of a record in their order, shape (n, leads, samples).
        beats: How many windows an example has, an odd number.

    Returns:
        Shape (n, beats · leads, samples): the beat, the one before, the one after, the second before, and so
        on. The first or last beat of the record stands in for beats beyond it.
    """
    n, leads, samples = windows.shape
    reach = range(1, beats // 2 + 1)
    offsets = [0, *(offset for k in reach for offset in (-k, k))]
    index = np.clip(np.arange(n)[:, None] + offsets, 0, n - 1)
    found: np.ndarray = windows[index].reshape(n, beats * leads, samples)
    return found


def rr_intervals(positions: np.ndarray) -> np.ndarray:
    """Returns what the RR intervals around each beat of a record say, shape (n, `N_RR`).

    Natural logarithms of ratios over `UNIT`, 0 where the rhythm is even: of the interval before the beat and
    of the one after it to the record's mean, and of the one before it to the local mean, over up to ten
    intervals around the beat. Where a record begins or ends, the missing interval is taken to be the mean.

    Args:
        positions: Of all beats of a record, in ascending order, in any unit, shape (n,).
    """
    n = len(positions)
    intervals = np.diff(positions).astype(float)
    if not intervals.any():
        return np.zeros((n, N_RR))
    middle = np.median(intervals[intervals > 0])
    intervals = np.clip(intervals, middle / LONGEST, middle * LONGEST)
    mean = intervals.mean()
    before, after = np.r_[mean, intervals], np.r_[intervals, mean]
    total = np.r_[0, np.cumsum(intervals)]
    first, end = np.maximum(np.arange(n) - LOCAL, 0), np.minimum(np.arange(n) + LOCAL, n - 1)
    local = (total[end] - total[first]) / (end - first)
    ratios = np.stack([before / mean, after / mean, before / local], axis=1)
    channels: np.ndarray = np.log(ratios) / UNIT
    return channels
