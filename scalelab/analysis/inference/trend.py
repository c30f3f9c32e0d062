"""Whether outcomes move with scale at all: without a trend there is no law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from scalelab.arrays import Array
from scalelab.errors import FitError

LEVEL = 0.05
_CURVED = 7
_CHOSEN, _FAINT = 10.0, 0.25
_ROUNDS, _LIMIT = 20, 6.0
_FEWEST, _FEW, _OFF = 3, 30, 3.0


def trend_p(x: Mapping[str, Array], y: Array, along: Sequence[str] | None = None) -> float:
    """Returns the p-value of the F test that outcomes are the same wherever some axes lie.

    The other side are parabolas in the logarithm of each axis, and products of two; straight lines alone
    where there are fewer than seven rows for each axis. That is near enough to any law for a trend to show.

    Args:
        x: Scales by axis, each of shape (n,).
        y: Outcomes, shape (n,); compared by their logarithms where all are positive.
        along: The axes that are tested, what the others explain taken out; default all.
    """
    outcome = _tamed(x, np.log(y) if (y > 0).all() else y)
    tested = set(x if along is None else along)
    own = {name: _centered(scales) for name, scales in x.items() if np.ptp(scales) > 0}
    terms: list[tuple[tuple[str, ...], Array]] = [((name,), column) for name, column in own.items()]
    if outcome.size >= _CURVED * len(own):
        names = list(own)
        pairs = [(a, b) for i, a in enumerate(names) for b in names[i:]]
        terms += [(pair, own[pair[0]] * own[pair[1]]) for pair in pairs]
    ones = np.ones_like(outcome)
    whole = np.column_stack([ones, *(column for _, column in terms)])
    rest = np.column_stack([ones, *(column for names, column in terms if tested.isdisjoint(names))])
    (left, rank), (before, fewer) = _remainder(whole, outcome), _remainder(rest, outcome)
    if rank == fewer or before <= 1e-24 * outcome.size:
        return 1.0
    if outcome.size == rank:
        return 0.0
    statistic = (before - left) / (rank - fewer) / max(left / (outcome.size - rank), 1e-300)
    return float(special.fdtrc(rank - fewer, outcome.size - rank, max(statistic, 0.0)))


def refuse_no_trend(
    x: Mapping[str, Array], y: Array, everything: tuple[Mapping[str, Array], Array] | None = None
) -> None:
    """Raises where outcomes do not move with scale beyond their scatter.

    Args:
        x: Scales by axis, each of shape (n,).
        y: Outcomes, shape (n,).
        everything: Scales and outcomes of all runs of the family, along more axes, where the rows are a part
            of them, such as those on the largest data. Either they show the trend, or the part alone does,
            ten times as surely; a part that shows next to none has no law all the same.

    Raises:
        FitError: There is no trend.
    """
    p = trend_p(x, y)
    if everything is not None and p <= _FAINT:
        p = min(_CHOSEN * p, trend_p(*everything, along=tuple(x)))
    if p > LEVEL:
        raise FitError(
            f"the loss has no trend with {' or '.join(x)} beyond the scatter of the runs (p = {p:.2g}), "
            f"so that there is no law; {_odd(x, y)}add runs at more distant scales, or more runs at each",
            ("sizes", "repeats"),
        )


def _odd(x: Mapping[str, Array], y: Array) -> str:
    """Returns words that name the one run that hides a trend, where there is one; otherwise nothing.

    Without it the trend is clear, p-values counting as often as there are runs. So few that no test can be
    sure show it by more than three times the range of the others, all of which fall with scale.
    """
    if not _FEWEST < y.size <= _FEW:
        return ""
    clear = [row for row in range(y.size) if _clear(*_without(x, y, row), y[row], y.size)]
    if len(clear) != 1:
        return ""
    where = ", ".join(f"{axis} = {scales[clear[0]]:.4g}" for axis, scales in x.items())
    return f"the run at {where} is not like the others, which show one: see whether it diverged, or "


def _without(x: Mapping[str, Array], y: Array, row: int) -> tuple[dict[str, Array], Array]:
    return {axis: np.delete(scales, row) for axis, scales in x.items()}, np.delete(y, row)


def _clear(x: Mapping[str, Array], y: Array, left_out: float, rows: int) -> bool:
    """Returns whether runs show a trend that the one left out hid."""
    if trend_p(x, y) * rows <= LEVEL:
        return True
    falling = all((np.diff(y[np.argsort(scales)]) < 0).all() for scales in x.values())
    return falling and abs(left_out - float(np.median(y))) > _OFF * float(np.ptp(y))


def _tamed(x: Mapping[str, Array], outcome: Array) -> Array:
    """Returns outcomes of which those that are not like the others count as no further off than these.

    One run that diverged would hide any trend. Off is what a line along each axis leaves, fitted so that the
    sum of absolute residuals is least (iteratively reweighted), in robust standard deviations.
    """
    design = np.column_stack([np.ones_like(outcome), *(_centered(scales) for scales in x.values())])
    rows, size = design.shape
    if rows <= 2 * size:
        return outcome
    weights = np.ones(rows)
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)
        line = design @ np.linalg.lstsq(design * root[:, None], outcome * root, rcond=None)[0]
        off = outcome - line
        usual = float(np.median(np.sort(np.abs(off))[size:])) / 0.6745
        weights = 1.0 / np.maximum(np.abs(off), max(0.01 * usual, 1e-300))
    limit = _LIMIT * usual
    tamed: Array = line + np.clip(off, -limit, limit)
    return tamed


def _centered(scales: Array) -> Array:
    own = np.log(scales) if (scales > 0).all() else scales
    centered: Array = (own - own.mean()) / max(float(np.std(own)), 1e-300)
    return centered


def _remainder(design: Array, y: Array) -> tuple[float, int]:
    """Returns the sum of squares that a linear model leaves, and its rank."""
    solved, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    return float(np.sum((y - design @ solved) ** 2)), int(rank)
