"""Interleaved timing: a few calls at a time of each of many models, and what the rounds say together.

Calls that follow each other share what the machine is doing, so that many calls in one go give an interval
that is too narrow. Rounds that lie apart do not share it: the interval here is as wide as the calls say, and
as wide as the differences between the medians of rounds say.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from scalelab.components import Executable
from scalelab.measure.timing import FEWEST_CALLS, Latency, Timed, median_interval, narrow, stopwatch, warm_up

if TYPE_CHECKING:
    import numpy as np

WARMUP_SHARE = 0.25
"""Part of a slice that warming up may take at most, caches being cold after other models."""


def timed_calls(
    executable: Executable,
    example: np.ndarray,
    seconds: float,
    *,
    precision: float = 0.05,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timed]:
    """Returns the times of single calls, in seconds, after warming up.

    Args:
        executable: Loaded for inputs of the batch's shape.
        example: The batch, (batch, *input_shape).
        seconds: For how long to time, warm-up included; `FEWEST_CALLS` calls are timed all the same.
        precision: How near the medians of two windows of the warm-up must be.
        clock: A clock in seconds; for tests.
    """
    timed = stopwatch(executable, example, clock)
    end = clock() + seconds
    warm_up(timed, precision, seconds * WARMUP_SHARE, clock)
    times: list[Timed] = []
    while len(times) < FEWEST_CALLS or clock() < end:
        times.append(timed())
    return times


def combine(rounds: Sequence[Sequence[Timed]], batch_size: int, precision: float = 0.02) -> Latency:
    """Returns what rounds of calls say together.

    The interval covers that of the median of all calls (`median_interval`) and, from three rounds on, the 95%
    interval by Student's t of the mean of the rounds' log medians.

    Args:
        rounds: Times of calls, a list a round, none of them empty.
        batch_size: Examples per call.
        precision: Half-width of the interval, relative to the median, at which it counts as settled.
    """
    import numpy as np
    from scipy.stats import t

    inferences = [np.asarray(times, dtype=float)[:, 0] for times in rounds]
    values = np.concatenate(inferences)
    low, high = median_interval(values)
    if len(rounds) >= 3:
        logs = np.log([np.median(own) for own in inferences])
        half = float(t.ppf(0.975, len(rounds) - 1) * logs.std(ddof=1) / math.sqrt(len(rounds)))
        center = float(logs.mean())
        low, high = min(low, math.exp(center - half)), max(high, math.exp(center + half))
    settled = narrow((low, high), float(np.median(values)), precision)
    return Latency.of([call for times in rounds for call in times], (low, high), batch_size, settled=settled)
