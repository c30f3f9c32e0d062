"""How long a training takes and what it costs, at the pace of the runs that there are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scalelab.analysis.estimate import Estimate
from scalelab.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def price_of(
    budget: float, runs: pd.DataFrame, *, per_flop: float | None, per_hour: float | None
) -> dict[str, float | None]:
    """Returns the `seconds` of a training and its `price`, as far as they are known.

    Args:
        budget: Training FLOPs.
        runs: Finished runs; the tenth of them nearest in training FLOPs sets the pace.
        per_flop: Price of a FLOP.
        per_hour: Price of an hour on the machine of the runs.

    Raises:
        InputError: A price is negative or not finite, both are given, or no run records how long it took.
    """
    for name, value in (("--price-per-flop", per_flop), ("--price-per-hour", per_hour)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InputError(f"{name} must be a number of zero or more, got {value:g}")
    if per_flop is not None and per_hour is not None:
        raise InputError("give --price-per-flop or --price-per-hour, not both: each says what the run costs")
    found = _seconds(budget, runs)
    seconds = None if found is None else found.value
    if per_hour is not None and seconds is None:
        raise InputError("no run records its wall_seconds and train_flops; use --price-per-flop instead")
    price = budget * per_flop if per_flop is not None else None
    if per_hour is not None and seconds is not None:
        price = seconds / 3600 * per_hour
    return {"seconds": seconds, "price": price}


class Price(NamedTuple):
    """What some runs cost.

    Attributes:
        n_runs: How many.
        flops: Their training FLOPs together; `None` where the runs that there are do not say.
        seconds: Their training one after the other, likewise.
    """

    n_runs: int
    flops: Estimate | None
    seconds: Estimate | None


def price_of_runs(budget: float, runs: pd.DataFrame, n_runs: int = 1) -> Price:
    """Returns the price of runs of a budget each; the runs nearest in compute set the pace and its range.

    Args:
        budget: Training FLOPs of a run.
        runs: Finished runs.
        n_runs: How many.
    """
    seconds = _seconds(budget, runs)
    return Price(n_runs, Estimate(n_runs * budget), None if seconds is None else _times(seconds, n_runs))


def price_of_more(
    runs: pd.DataFrame, longer: Iterable[tuple[str, str, Sequence[float]]], seeds: float
) -> Price:
    """Returns the price of what a study gains by new values of its options, and by more seeds.

    A run of a new value costs what the mean cost of the values tried makes of it: a power law through the two
    nearest values; the range is what the other neighbors' slopes make of it. There are as many runs of a new
    value as of the nearest one.

    Args:
        runs: The runs of the study, with columns such as `architecture_width`.
        longer: Architecture, option and new values.
        seeds: How many times as many seeds there will be.
    """
    done = runs[runs["status"] == "done"]
    new = [
        (own[option], own, value)
        for architecture, option, values in longer
        if f"architecture_{option}" in done.columns
        for own in [done[done["architecture"] == architecture].assign(**{option: _numbers(done, option)})]
        for value in values
    ]
    count = sum(int((tried == _nearest(tried, value)).sum()) for tried, _, value in new)
    flops, seconds = (
        _total(done, column, new, seeds) if column in done.columns else None
        for column in ("train_flops", "wall_seconds")
    )
    return Price(round(seeds * count + (seeds - 1.0) * len(done)), flops, seconds)


def _numbers(runs: pd.DataFrame, option: str) -> pd.Series:
    import pandas as pd

    return pd.to_numeric(runs[f"architecture_{option}"], errors="coerce")


def _nearest(tried: pd.Series, value: float) -> float:
    return float(tried.max() if value > tried.max() else tried.min())


def _total(
    done: pd.DataFrame, column: str, new: Sequence[tuple[pd.Series, pd.DataFrame, float]], seeds: float
) -> Estimate | None:
    """Returns what new values and seeds cost in all; `None` where that is not recorded or cannot be told."""
    parts = []
    for tried, own, value in new:
        known = own[column].groupby(tried).mean().dropna().sort_index()
        n = int((tried == _nearest(tried, value)).sum())
        costs = sorted(_beyond(known, value))
        if not costs:
            return None
        parts.append([n * cost for cost in (next(_beyond(known, value)), costs[0], costs[-1])])
    again = (seeds - 1.0) * float(done[column].sum())
    if not parts:
        return Estimate(again) if again > 0 else None
    value, lower, upper = (seeds * sum(column) + again for column in zip(*parts, strict=True))
    return Estimate(value, lower, upper)


def _beyond(known: pd.Series, value: float) -> Iterator[float]:
    """Yields the cost at a value beyond those that are known, by the slope nearest to it first."""
    if len(known) < 2:
        return
    x, y = np.log(known.index.to_numpy(dtype=float)), np.log(known.to_numpy(dtype=float))
    slopes = np.diff(y) / np.diff(x)
    end = -1 if math.log(value) > x[-1] else 0
    for slope in slopes[::-1] if end else slopes:
        if math.isfinite(slope):
            yield float(np.exp(y[end] + slope * (math.log(value) - x[end])))


def _seconds(budget: float, runs: pd.DataFrame) -> Estimate | None:
    """Returns how long a run takes at the pace of the tenth of the runs nearest in compute, and its range."""
    if not {"wall_seconds", "train_flops"} <= set(runs.columns):
        return None
    timed = runs[(runs["wall_seconds"] > 0) & (runs["train_flops"] > 0)]
    away = np.abs(np.log(timed["train_flops"].to_numpy(dtype=float) / budget))
    near = timed.iloc[np.argsort(away, kind="stable")[: max(3, len(timed) // 10)]]
    if near.empty:
        return None
    pace = near["wall_seconds"] / near["train_flops"]
    return Estimate(*(budget * float(one) for one in (pace.median(), pace.min(), pace.max())))


def _times(estimate: Estimate, n: int) -> Estimate:
    return Estimate(*(None if one is None else n * one for one in estimate))  # type: ignore[arg-type]
