"""Intervals of parameters, derived quantities and predictions, by one rule.

==============  ========================================================================================
method          what it is
==============  ========================================================================================
`auto`        what the backtest adds (`scalelab.analysis.inference.spread`, predictions only) to
                `clusters` where the fit has groups; `covariance` for more than 4,000 rows; `pairs` where
                the size of the residuals depends on scale (Koenker's test, p < 0.01); otherwise `profile`
`profile`     calibrated profile (`scalelab.analysis.inference.profile`): covers also where the law bends
`pairs`       percentiles of 1,000 refits to resampled rows; `residuals`, `clusters` likewise
`bca`         the same, bias-corrected and accelerated, of the kind that suits the fit
`covariance`  estimate plus and minus Student's t times the Gauss-Newton standard error
==============  ========================================================================================

How well each covers is measured by `benchmarks/coverage.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from scalelab.analysis.fitting.draws import Draws, Quantity
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.fitting.solver import spread
from scalelab.analysis.inference.bootstrap import Bootstrap, bootstrap, check_level, tails
from scalelab.analysis.inference.covariance import covariance, plentiful, witnesses
from scalelab.analysis.inference.noise import noise as noise_of
from scalelab.analysis.inference.profile import profile_intervals
from scalelab.analysis.inference.quantities import log_of
from scalelab.analysis.inference.simulator import simulator
from scalelab.analysis.inference.spread import Spread, quantile, reach_of_law
from scalelab.arrays import Array
from scalelab.errors import InputError


class Prediction(NamedTuple):
    """Predicted outcomes with an interval; arrays of shape (n,) in the units of the outcome."""

    mean: Array
    lower: Array
    upper: Array


METHODS = ("auto", "profile", "pairs", "residuals", "clusters", "bca", "covariance")

_REFITS = 1000
_MANY_ROWS = 4000
_NODES = 8
_USUAL = 0.9
_UNEVEN = 0.01
_LEAST_NOISE = 1e-2


def intervals(
    fit: Point,
    quantities: Sequence[Quantity],
    level: float = 0.9,
    *,
    method: str = "auto",
    seed: int | None = None,
) -> list[tuple[float, float]]:
    """Returns an interval of each of some quantities, in much less time than one after the other.

    Args:
        fit: The fit.
        quantities: Names of parameters, or functions of `Draws` that return a
            number a draw, such as those of `scalelab.analysis.inference.quantities`.
        level: Coverage of each.
        method: See the table above.
        seed: Of what is random; default the fit's.

    Raises:
        InputError: The method is unknown or the level not between 0 and 1.
    """
    check_level(level)
    method = _method(fit, method)
    logs = [isinstance(quantity, str) and quantity in fit.law.coefficients for quantity in quantities]
    asked = [log_of(q) if log else q for q, log in zip(quantities, logs, strict=True)]
    ends = _intervals(fit, asked, level, method, seed)
    found = [
        (float(np.exp(lower)), float(np.exp(upper))) if log else (lower, upper)
        for (lower, upper), log in zip(ends, logs, strict=True)
    ]
    centers = [
        fit.params[q] if isinstance(q, str) and q in fit.params else fit.estimate(q) for q in quantities
    ]
    return [
        (min(max(lower, _least(fit, q)), center), max(upper, center))
        for q, (lower, upper), center in zip(quantities, found, centers, strict=True)
    ]


def _least(fit: Point, quantity: Quantity) -> float:
    """Returns the least value that a law allows its irreducible loss; of anything else minus infinity."""
    if quantity != fit.law.irreducible:
        return -np.inf
    lowest = float(fit.problem.lower[fit.law.params.index(fit.law.irreducible)])
    return 0.0 if lowest == 0.0 else -np.inf


def stderr(fit: Point, quantity: Quantity, method: str = "covariance") -> float:
    """Returns the standard error of a quantity: over refits where the method resamples, or Gauss-Newton's."""
    method = _method(fit, method)
    if method not in ("profile", "covariance"):
        return refits(fit, method).stderr(quantity)
    slope = fit.gradient(quantity)
    return float(np.sqrt(max(float(slope @ covariance(fit) @ slope), 0.0)))


def predict_interval(
    fit: Point, x: Any, level: float, *, noise: bool = False, method: str = "auto"
) -> Prediction:
    """Returns predictions with the ends of their intervals.

    Along one axis more than eight scales are interpolated between the intervals of eight; along several
    axes more than eight take the percentiles of 1,000 refits instead of a profile each.

    Args:
        fit: The fit.
        x: Scales, as in `fit_law`, n of them.
        level: Coverage of each interval.
        noise: Whether it is for a new run: the interval of the law and Student's interval of the noise of one
            run, added in quadrature on either side.
        method: See the table above.
    """
    check_level(level)
    tested = method == "auto"
    method = _method(fit, method)
    u = fit.inward(x)
    mean = fit.scores(fit.theta[None], u)[0]
    n = u[0].size
    if n > _NODES and len(u) == 1 and method == "profile":
        nodes = np.linspace(u[0].min(), u[0].max(), _NODES)
        ends = _end_points(fit, (nodes,), level, method)
        center = fit.scores(fit.theta[None], (nodes,))[0]
        lower, upper = (mean + np.interp(u[0], nodes, end - center) for end in ends.T)
    elif (method == "profile" and n <= _NODES) or method == "covariance":
        ends = _end_points(fit, u, level, method)
        lower, upper = ends.T
    else:
        values = fit.scores(refits(fit, method).draws.theta, u)
        lower, upper = np.quantile(values, tails(level), axis=0)
    if tested:
        lower, upper = widened(
            mean, lower, upper, quantile(level) * in_scores(fit, reach_of_law(fit, x), mean)
        )
    if noise:
        lower, upper = widened(mean, lower, upper, run_reach(fit, x, level))
    value, outcome = fit.draws().at(u)[0], fit.estimator.outcome
    return Prediction(value, np.minimum(outcome(lower), value), np.maximum(outcome(upper), value))


def spread_of_law(fit: Point, x: Any) -> Spread:
    """Returns what the interval of one law is made of; its noise is that of its own 90% interval."""
    plain = predict_interval(fit, x, _USUAL, method=_method(fit, "auto"))
    noise = (fit.estimator.score(plain.upper) - fit.estimator.score(plain.lower)) / (2 * quantile(_USUAL))
    return Spread(noise, np.zeros_like(noise), in_scores(fit, reach_of_law(fit, x), plain.mean))


def widened(mean: Array, lower: Array, upper: Array, half: Array) -> tuple[Array, Array]:
    """Returns the ends of an interval, a half width added in quadrature on either side; it holds its mean."""
    below, above = np.maximum(mean - lower, 0.0), np.maximum(upper - mean, 0.0)
    return mean - np.hypot(below, half), mean + np.hypot(above, half)


def run_reach(fit: Point, x: Any, level: float) -> Array:
    """Returns half the interval of the noise of one run, by Student's t, in the space of the residuals.

    Where noise depends on scale (Koenker's test, as for the methods) it is that of runs at these scales.
    """
    found, u = noise_of(fit), fit.inward(x)
    half = np.full(u[0].size, found.elsewhere * float(special.stdtrit(found.dof, 0.5 + level / 2)))
    if uneven_noise(fit) < _UNEVEN:
        half = half * _relative_noise(fit, u)
    return half * spread(fit.law, fit.theta[None], u)[0][0] if fit.law.axis_error else half


def _relative_noise(fit: Point, u: tuple[Array, ...]) -> Array:
    """Returns the noise of runs at some scales over that of the rows, shape (n,).

    The logarithm of the size of the residuals is a straight line along each axis, level beyond the rows.
    """
    sizes, rows = np.abs(simulator(fit).noise), fit.problem.u
    logs = np.log(np.maximum(sizes, _LEAST_NOISE * np.sqrt(np.mean(sizes**2))))
    line = np.linalg.lstsq(np.stack([np.ones_like(logs), *rows], axis=1), logs, rcond=None)[0]
    at = [np.clip(column, own.min(), own.max()) for column, own in zip(u, rows, strict=True)]
    usual, asked = (
        np.exp(line[0] + sum(slope * column for slope, column in zip(line[1:], columns, strict=True)))
        for columns in (rows, at)
    )
    ratio: Array = asked / np.sqrt(np.mean(usual**2))
    return ratio


def in_scores(fit: Point, deviation: Array, mean: Array) -> Array:
    """Returns deviations of the log loss (of the metric) in the space of the residuals."""
    return deviation * np.abs(mean) if fit.law.positive and not fit.estimator.log else deviation


def _end_points(fit: Point, u: tuple[Array, ...], level: float, method: str) -> Array:
    """Returns the ends of the interval of each of n predictions, shape (n, 2)."""
    places = [tuple(column[i : i + 1] for column in u) for i in range(u[0].size)]
    return np.array(_intervals(fit, [_score_at(fit, at) for at in places], level, method, None))


def _score_at(fit: Point, u: tuple[Array, ...]) -> Quantity:
    return lambda draws: fit.scores(draws.theta, u)[:, 0]


def _method(fit: Point, method: str) -> str:
    if method not in METHODS:
        raise InputError(f"unknown interval {method!r}; there are {', '.join(METHODS)}")
    if method != "auto":
        return method
    if fit.table.groups is not None:
        return "clusters"
    if len(fit.table) > _MANY_ROWS:
        return "covariance"
    return "pairs" if uneven_noise(fit) < _UNEVEN else "profile"


def uneven_noise(fit: Point) -> float:
    """Returns the p-value of Koenker's (1981) studentized test that the noise does not depend on the axes.

    The profile exchanges residuals between rows, which is wrong where some rows are noisier than others.
    """
    return fit.keep("uneven", lambda: _uneven(fit))


def _uneven(fit: Point) -> float:
    squares = simulator(fit).noise ** 2
    design = np.stack([np.ones_like(squares), *fit.problem.u], axis=1)
    solved, _, rank, _ = np.linalg.lstsq(design, squares, rcond=None)
    total = float(((squares - squares.mean()) ** 2).sum())
    if total == 0.0 or rank < 2:
        return 1.0
    explained = 1.0 - float(((squares - design @ solved) ** 2).sum()) / total
    return float(special.chdtrc(rank - 1, len(squares) * explained))


def _intervals(
    fit: Point, quantities: Sequence[Quantity], level: float, method: str, seed: int | None
) -> list[tuple[float, float]]:
    if method == "profile":
        return profile_intervals(fit, quantities, level, seed=seed)
    if method == "covariance":
        return [_normal(fit, quantity, level) for quantity in quantities]
    found = refits(fit, method, seed)
    kind = "bca" if method == "bca" else "percentile"
    return [found.interval(quantity, level, kind) for quantity in quantities]


def _normal(fit: Point, quantity: Quantity, level: float) -> tuple[float, float]:
    groups = fit.table.groups
    # A group counts as one observation, however many rows it has.
    dof = witnesses(fit) - fit.theta.size if groups is None else int(groups.max())
    reach = stderr(fit, quantity) * special.stdtrit(dof, 0.5 + level / 2)
    center = fit.estimate(quantity)
    return center - float(reach), center + float(reach)


def refits(fit: Point, method: str = "auto", seed: int | None = None, n: int = _REFITS) -> Bootstrap:
    """Returns the refits of a method, made once.

    Where the method refits nothing, those to drawn residuals; of plentiful rows, whose refits are normal
    around the fit, draws of that normal distribution within the law's box.

    Args:
        fit: The fit.
        method: See the table above.
        seed: Of the resampling; default the fit's.
        n: How many.
    """
    method = _method(fit, method)
    kind = {"bca": None, "profile": "residuals", "covariance": "residuals"}.get(method, method)
    seed = fit.seed if seed is None else seed

    def made() -> tuple[str, int, Draws, int]:
        if kind == "residuals" and method != "residuals" and plentiful(fit):
            return "normal", seed, _normal_draws(fit, n, seed), 0
        found = bootstrap(fit, n, kind=kind, seed=seed)
        return found.kind, found.seed, found.draws, found.failed

    return Bootstrap(fit, *fit.keep(("refits", kind, seed, n), made))


def _normal_draws(fit: Point, n: int, seed: int) -> Draws:
    drawn = np.random.default_rng(seed).multivariate_normal(fit.theta, covariance(fit), n, method="eigh")
    return fit.draws(np.clip(drawn, fit.problem.lower, fit.problem.upper))
