"""Backtests by scale: fit the small runs, predict the large ones, and compare with what they did.

Random folds would test interpolation; a scaling law is asked to extrapolate. Origins roll along the axis
instead: everything up to an origin is fitted, everything beyond it predicted, and the error is that of the
log loss (of the metric itself for laws of a metric).

All origins are minimized as one batch, each from the most promising starts of its own rows, with the penalty
that the noise of a run is measured with: a backtest costs about as much as a fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from scalelab.analysis.fitting.data import Table, read_table
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.fitting.repeats import Repeats
from scalelab.analysis.fitting.solver import minimize
from scalelab.analysis.inference.prior import ROUGH, drawn
from scalelab.analysis.inference.simulator import simulator, wide_problem
from scalelab.arrays import Array, Index
from scalelab.errors import FitError

ORIGINS = (0.5, 0.6, 0.7, 0.8)
"""Shares of the rows, ordered by scale, that are fitted."""

_STARTS, _MANY_ROWS = 4, 4000
_MOST = 3.0
_LOOSE = 9.0


@dataclass(frozen=True, eq=False)
class Backtest:
    """How well a law extrapolated from each origin.

    Attributes:
        law: Name of the law.
        origins: The largest scale that was fitted, one an origin.
        reach: The largest scale that was predicted over it, one an origin.
        errors: Root mean square error of the log loss beyond each origin.
        refused: Origins at which the rows could not support the law, with the reason.
        relative: Whether errors are those of the log loss; if not, of a metric, or of a loss of any sign.
        excess: What the law missed beyond what noise explains, over the fall that was to be predicted: the
            root of (sum of squared misses - sum of expected squares) / (sum of squared falls), zero where
            noise explains all of it, 3 at most.
        misses: Log prediction minus log loss of every row beyond each origin, NaN for the others; shape
            (origins, rows).
    """

    law: str
    origins: tuple[float, ...]
    reach: tuple[float, ...]
    errors: tuple[float, ...]
    refused: tuple[str, ...]
    relative: bool = True
    excess: float = 0.0
    misses: Array = field(default_factory=lambda: np.empty((0, 0)))

    json_fields: ClassVar = ("rms_log_error=rmse", "origins", "reach", "errors", "refused")

    @property
    def rmse(self) -> float:
        """Root of the mean over origins of the squared error; infinite if no origin supported the law."""
        return float(np.sqrt(np.mean(np.square(self.errors)))) if self.errors else float("inf")

    def describe(self) -> str:
        """Returns the backtest as a sentence."""
        if not self.errors:
            return f"{self.law}: no backtest, {self.refused[0] if self.refused else 'too few rows'}"
        error = f"{np.expm1(self.rmse):.1%}" if self.relative else f"{self.rmse:.3g}"
        reach = max(self.reach)
        return f"{self.law}: off by {error} at up to {reach:.1f} times the scale it was fitted to"


def backtest(
    fit: Point, *, axis: str | None = None, origins: tuple[float, ...] = ORIGINS, prior: float | None = None
) -> Backtest:
    """Backtests the law of a fit on its rows, by scale.

    Args:
        fit: The fit, of all rows.
        axis: Along which axis origins roll; default the only one, or the product of all.
        origins: Shares of the rows that are fitted.
        prior: The noise of the rows, where exponents are drawn to the usual ones, see
            `scalelab.analysis.inference.prior`; default none are.

    Raises:
        FitError: There is no such axis.
    """
    table = fit.table
    scale = scale_of(table, axis)
    parts, refused = [], []
    usual = ~_alone(fit, scale)
    for at_most, more in splits(scale, origins):
        known, beyond = at_most & usual, more & usual
        part = table.rows(known)
        try:
            read_table(fit.law, part.x, part.y, part.weights, part.groups, part.errors)
        except FitError as error:
            refused.append(str(error))
            continue
        parts.append((known, beyond))
    thetas = _refits(fit, [known for known, _ in parts], prior) if parts else []
    found = []
    misses: list[Array] = []
    squares = expected = falls = 0.0
    for (known, beyond), theta in zip(parts, thetas, strict=True):
        last, rows = float(scale[known].max()), table.rows(beyond)
        miss = _missed(fit, theta, rows)
        if not np.isfinite(miss).all():
            refused.append(
                f"law {fit.law.name!r} falls to zero or below beyond the rows that it was fitted to"
            )
            continue
        misses.append(np.full(len(table), np.nan))
        misses[-1][beyond] = miss
        off = float(np.sqrt(np.average(miss**2, weights=rows.weights)))
        found.append((last, float(scale[beyond].max()) / last, off))
        squares += float((miss**2).sum())
        expected += _expected(fit, theta, known, beyond)
        falls += float((fall(fit, rows.columns, last, axis) ** 2).sum())
    origin, reach, errors = zip(*found, strict=True) if found else ((), (), ())
    excess = float(np.sqrt(max(squares - expected, 0.0) / max(falls, 1e-300)))
    return Backtest(
        fit.law.name, origin, reach, errors, tuple(refused), fit.law.positive, min(excess, _MOST),
        np.reshape(misses, (len(misses), len(table))),
    )  # fmt: skip


def fall(fit: Point, columns: Sequence[Array], last: float, axis: str | None = None) -> Array:
    """Returns by how much the law falls from a scale to scales beyond it, shape (n,); zero for those within.

    Logarithms for the laws of a loss. Along several axes the way goes back along the diagonal, all axes by
    the same factor, until their product is that of the last scale.

    Args:
        fit: The fit.
        columns: Scales, one array of shape (n,) an axis of the table.
        last: The scale that the way starts at, as `scale_of` has it.
        axis: Along which axis; default the only one, or the product of all.
    """
    given = dict(zip(fit.table.axes, columns, strict=True))
    moved = [axis] if axis else list(given)
    if fit.law.log_axes:
        there = sum(np.log(given[name]) for name in moved)
        back = np.exp(np.minimum(np.log(last) - there, 0.0) / len(moved))
        start = {name: column * back if name in moved else column for name, column in given.items()}
    else:
        start = {
            name: np.minimum(column, last) if name in moved else column for name, column in given.items()
        }
    return dropped(fit, start, given)


def dropped(fit: Point, start: Mapping[str, Array], end: Mapping[str, Array]) -> Array:
    """Returns by how much the law falls between scales, shape (n,); logarithms for the laws of a loss."""
    first, second = fit.value(start), fit.value(end)
    if not fit.law.positive:
        return first - second
    return np.log(np.maximum(first, 1e-300)) - np.log(np.maximum(second, 1e-300))


def _expected(fit: Point, theta: Array, known: Index, beyond: Index) -> float:
    """Returns the expected sum of squared misses of a refit whose law is true: its own variance and noise.

    A weak prior on the internal parameters, which are of order one, keeps the variance of a law finite that
    the rows hardly determine.
    """
    noise, weights = simulator(fit).noise, fit.table.weights
    variance = max(float(np.mean(noise**2)), 1e-300)
    _, jac = fit.problem.residuals(theta[None])
    seen, unseen = jac[0][:, known], jac[0][:, beyond]
    precision = (seen * weights[known]) @ seen.T / variance + np.eye(theta.size) / _LOOSE
    own = np.einsum("pn,pn->n", unseen, np.linalg.solve(precision, unseen)) + variance / weights[beyond]
    if fit.law.positive and not fit.estimator.log:
        own = own / fit.table.y[beyond] ** 2
    return float(own.sum())


def averaged(tests: Mapping[str, Backtest], weights: Mapping[str, float]) -> tuple[float, ...]:
    """Returns the error of the weighted mean of several laws' log predictions, one an origin of any of them.

    From each origin only laws count that could be fitted there; the weights are those of the whole.
    """
    errors = []
    for origin in sorted({origin for test in tests.values() for origin in test.origins}):
        known = [
            (weights[name], test.misses[test.origins.index(origin)])
            for name, test in tests.items()
            if origin in test.origins
        ]
        mean = sum(w * miss for w, miss in known) / sum(w for w, _ in known)
        errors.append(float(np.sqrt(np.nanmean(mean**2))))
    return tuple(errors)


def _refits(fit: Point, known: Sequence[Index], prior: float | None) -> list[Array]:
    """Returns the internal parameters of the law refitted to each choice of rows; they share their units."""
    base, weights, law = wide_problem(fit), fit.table.weights, fit.law
    starts, lower, upper = [], [base.lower], [base.upper]
    for rows in known:
        u, y = tuple(column[rows] for column in base.u), base.y[rows]
        own = [fit.theta[None]]
        if y.size <= _MANY_ROWS:
            low, high = law.bounds(u, y)
            lower.append(low)
            upper.append(high)
            with np.errstate(all="ignore"):
                all_ = law.starts(u, y)
            all_ = np.clip(all_[np.isfinite(all_).all(axis=1)], low, high)
            reached = replace(base, u=u, y=y, repeats=Repeats.among(u)).objective(all_, weights[rows])
            own.append(all_[np.argsort(reached, kind="stable")[:_STARTS]])
        starts.append(np.concatenate(own))
    # One box for all, which no row beyond an origin makes narrower.
    problem = replace(base, lower=np.min(lower, axis=0), upper=np.max(upper, axis=0))
    which = np.repeat(np.arange(len(known)), [len(own) for own in starts])
    masks = np.stack(known) * weights
    if prior is not None:
        problem = drawn(problem, prior)
        masks = problem.weights(masks)
    solution = minimize(problem, np.concatenate(starts), masks[which], **ROUGH)
    chosen = [np.flatnonzero(which == number) for number in range(len(known))]
    ends: list[Array] = [solution.theta[own[np.argmin(solution.objective[own])]] for own in chosen]
    return ends


def _alone(fit: Point, scale: Array) -> Index:
    """Returns which rows diverged: far from the law, between neighbors in scale that are not, shape (n,).

    The last row has no neighbor beyond it, and may be where the loss begins to leave the law.
    """
    order = np.argsort(scale, kind="stable")
    far = simulator(fit).far[order]
    alone = np.zeros(far.size, dtype=bool)
    alone[order[1:-1]] = far[1:-1] & ~far[:-2] & ~far[2:]
    return alone


def _missed(fit: Point, theta: Array, table: Table) -> Array:
    """Returns log prediction minus log loss (of the metric itself) of a refit on some rows, shape (n,)."""
    predicted: Array = fit.draws(theta[None]).at(fit.inward(table.x))[0]
    miss: Array = predicted - table.y
    with np.errstate(all="ignore"):
        return np.log(predicted / table.y) if fit.law.positive else miss


def scale_of(table: Table, axis: str | None = None) -> Array:
    """Returns what orders rows by scale, shape (n,): one axis, or the product of all.

    Raises:
        FitError: There is no such axis.
    """
    if axis is not None:
        if axis not in table.axes:
            raise FitError(f"there is no axis {axis!r} to backtest along: {', '.join(table.axes)}")
        return table.x[axis]
    return np.exp(sum(np.log(np.abs(column) + 1e-300) for column in table.columns))


def splits(scale: Array, origins: tuple[float, ...] = ORIGINS) -> list[tuple[Index, Index]]:
    """Returns masks of the rows up to and beyond each origin; repeats of one scale stay together."""
    ordered = np.sort(scale)
    places = [max(int(np.ceil(share * scale.size)) - 1, 0) for share in origins]
    ends = dict.fromkeys(float(ordered[place]) for place in places)
    return [(scale <= last, scale > last) for last in ends if last < ordered[-1]]
