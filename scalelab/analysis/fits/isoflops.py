"""Runs by what they cost: which are of one budget, and whether size was varied at a budget at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from scalelab.arrays import Array, Index

SAME_BUDGET = 1.15
"""Runs whose compute differs by so much at most are of one budget."""
_PLANNED = 0.05


def varied(flops: Array, sizes: Array) -> bool:
    """Returns whether runs differ in size beyond what a power of their compute says of it."""
    if np.ptp(flops) == 0:
        return True
    at, own = np.log(flops), np.log(sizes)
    return bool(np.std(own - np.polyval(np.polyfit(at, own, 1), at)) > _PLANNED)


def budgets_of(flops: Array, labels: Any = None) -> Index:
    """Numbers the budgets of runs, shape (n,): those of labels, or a gap of 15% begins a new one."""
    if labels is not None:
        return np.unique(np.asarray(labels).astype(str), return_inverse=True)[1]
    order = np.argsort(flops, kind="stable")
    steps = np.diff(np.log(flops[order])) > np.log(SAME_BUDGET)
    found = np.empty(flops.size, dtype=int)
    found[order] = np.concatenate([[0], np.cumsum(steps)])
    return found


def means(scales: tuple[Array, ...], loss: Array) -> tuple[list[Array], Array, Index]:
    """Returns each different scale, the mean loss of its runs, and the number of its first run."""
    rows = np.stack(scales, axis=1)
    different, first, place = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    mean = np.bincount(place.ravel(), loss) / np.bincount(place.ravel())
    order = np.argsort(first)
    return list(different[order].T), mean[order], first[order]


def bins_of(flops: Array) -> Index:
    """Returns the number of each run's bin, eight of equal width a decade of compute."""
    return np.asarray(np.floor(np.log10(flops) * 8), dtype=int)


def improving(rows: Index, bins: Array, loss: Array) -> Index:
    """Returns the run of lowest loss of each bin that improves on all bins before it.

    Args:
        rows: Some of the runs, in the order of their bins and in each of their losses.
        bins: The bin of each run.
        loss: The loss of each run.
    """
    best = rows[np.flatnonzero(np.diff(bins[rows], prepend=bins[rows[0]] - 1))]
    before = np.append(np.inf, np.minimum.accumulate(loss[best])[:-1])
    found: Index = best[loss[best] < before]
    return found


def line_of(flops: Array, sizes: Array) -> tuple[float, float]:
    """Returns slope and intercept of log size against log compute."""
    slope, intercept = np.polyfit(np.log(flops), np.log(sizes), 1)
    return float(slope), float(intercept)
