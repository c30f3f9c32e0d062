"""Does one family scale better than another? Exponents, multipliers and crossings, with tests and intervals.

Families (architectures, optimizers, data sets) are fitted with the same law, apart and with shared
exponents. Three questions are answered, in this order: do the exponents differ (a test), how much compute
is one family worth in the other's (a multiplier), and where do the laws cross (a scale).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import special
from typing_extensions import override

from scalelab.analysis.bootstrap import check_level, simulator, smooth_problem
from scalelab.analysis.covariance import mean_curvature
from scalelab.analysis.derived import bisect
from scalelab.analysis.draws import Draws
from scalelab.analysis.fit import Fit, fit_law, make_problem
from scalelab.analysis.laws.base import Array, Frame, Law
from scalelab.analysis.search import search
from scalelab.analysis.solver import Problem, minimise
from scalelab.errors import FitError

if TYPE_CHECKING:
    import pandas as pd

_REFITS = 1000
_SIMULATIONS = 300
_DECADES_BEYOND = 3.0
_GRID = 400
_QUICK: dict[str, Any] = {"max_iter": 60, "xtol": 1e-5, "ftol": 1e-8}


class Estimate(NamedTuple):
    """A number with its interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class ExponentTest:
    """Whether two families share their exponents.

    Attributes:
        families: the two.
        statistic: the scaled fall of the objective from shared to separate exponents.
        dof: how many exponents are shared.
        p_lr: p-value of the likelihood ratio, against its chi-squared limit.
        p_bootstrap: p-value against simulations of shared exponents, for small samples.
        p_holm: the latter after Holm's correction for all pairs.
    """

    families: tuple[str, str]
    statistic: float
    dof: int
    p_lr: float
    p_bootstrap: float
    p_holm: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """Families fitted with the same law.

    Attributes:
        fits: the separate fit of each family, by name.
        tests: one a pair.
        level: coverage of the intervals.
        draws: refits of each family, by name.
    """

    fits: dict[str, Fit]
    tests: tuple[ExponentTest, ...]
    level: float
    draws: dict[str, Draws]

    def difference(self, first: str, second: str, exponent: str) -> Estimate:
        """Returns by how much an exponent of the second family exceeds the first's."""
        a, b = self.draws[first].params[exponent], self.draws[second].params[exponent]
        n = min(len(a), len(b))
        value = self.fits[second].params[exponent] - self.fits[first].params[exponent]
        return self._estimate(value, b[:n] - a[:n])

    def multiplier(self, first: str, second: str, scale: float) -> Estimate:
        """Returns how many times a scale the first family needs for the loss the second has there.

        Two means that the second family is worth twice the compute (or data, or size: whatever the axis is).
        Infinite where the first never gets there.
        """
        self._one_axis()
        n = min(len(self.draws[first]), len(self.draws[second]))
        value = _multiplier(_only(self.fits[first]), _only(self.fits[second]), scale)[0]
        pool = _multiplier(_head(self.draws[first], n), _head(self.draws[second], n), scale)
        return self._estimate(value, pool)

    def crossing(self, first: str, second: str) -> tuple[Estimate, float]:
        """Returns the scale beyond which the second family wins, and the share of refits that cross.

        Looked for from the smallest scale that was run to a thousand times the largest. Not a number where
        the estimates do not cross; the interval is that of the refits that do.
        """
        self._one_axis()
        columns = [fit.table.columns[0] for fit in self.fits.values()]
        low, high = min(c.min() for c in columns), max(c.max() for c in columns) * 10**_DECADES_BEYOND
        grid = np.linspace(np.log(low), np.log(high), _GRID)
        n = min(len(self.draws[first]), len(self.draws[second]))
        value = _crossing(_only(self.fits[first]), _only(self.fits[second]), grid)[0]
        pool = _crossing(_head(self.draws[first], n), _head(self.draws[second], n), grid)
        crossed = pool[np.isfinite(pool)]
        if not crossed.size:
            return Estimate(value, float("nan"), float("nan")), 0.0
        return self._estimate(value, crossed), crossed.size / n

    def summary(self) -> pd.DataFrame:
        """Returns a row a pair and exponent: values, their difference with its interval, p-values."""
        import pandas as pd

        rows = []
        for test in self.tests:
            first, second = test.families
            for name in self.fits[first].law.exponents:
                gap = self.difference(first, second, name)
                rows.append(
                    {
                        "first": first,
                        "second": second,
                        "exponent": name,
                        "first_value": self.fits[first].params[name],
                        "second_value": self.fits[second].params[name],
                        "difference": gap.value,
                        "lower": gap.lower,
                        "upper": gap.upper,
                        "p_lr": test.p_lr,
                        "p_bootstrap": test.p_bootstrap,
                        "p_holm": test.p_holm,
                    }
                )
        return pd.DataFrame(rows)

    def sentence(self, first: str, second: str, scale: float | None = None) -> str:
        """Returns the answer to "does the second family scale better than the first?" as text with numbers.

        Args:
            first: the family to compare with.
            second: the family in question.
            scale: where the multiplier is quoted; default the largest scale that both have.
        """
        self._one_axis()
        axis = self.fits[first].table.axes[0]
        name = self.fits[first].law.exponents[0]
        test = next(t for t in self.tests if set(t.families) == {first, second})
        gap = self.difference(first, second, name)
        sure = test.p_holm < 1 - self.level and not gap.lower <= 0 <= gap.upper
        verdict = (
            ("scales better than" if gap.value > 0 else "scales worse than")
            if sure
            else "does not scale measurably differently from"
        )
        if scale is None:
            scale = min(float(fit.table.columns[0].max()) for fit in (self.fits[first], self.fits[second]))
        worth = self.multiplier(first, second, scale)
        cross, share = self.crossing(first, second)
        text = (
            f"{second} {verdict} {first}: its exponent in {axis} differs by {gap.value:+.3f} "
            f"({self.level:.0%} interval {gap.lower:+.3f} to {gap.upper:+.3f}; "
            f"p = {test.p_holm:.2g} after Holm). "
            f"At {scale:.3g} {axis} it is worth {worth.value:.2f} "
            f"({worth.lower:.2f} to {worth.upper:.2f}) times the {axis}."
        )
        if np.isfinite(cross.value):
            ends = f"{cross.lower:.2g} to {cross.upper:.2g}, in {share:.0%} of refits"
            return f"{text} It has the lower loss beyond {cross.value:.2g} {axis} ({ends})."
        return (
            f"{text} Its law does not come to lie below the other's within the range looked at "
            f"(it does in {share:.0%} of refits)."
        )

    def _estimate(self, value: float, pool: Array) -> Estimate:
        tails = [0.5 - self.level / 2, 0.5 + self.level / 2]
        low, high = np.quantile(pool[~np.isnan(pool)], tails, method="nearest")
        return Estimate(float(value), float(low), float(high))

    def _one_axis(self) -> None:
        fit = next(iter(self.fits.values()))
        if len(fit.table.axes) != 1:
            raise FitError(f"law {fit.law.name!r} has several axes; compare along one, such as train_flops")


def compare(
    families: Mapping[str, tuple[Any, Any]], law: str = "power-offset", *, level: float = 0.9, **options: Any
) -> Comparison:
    """Fits families with the same law and tests whether they share its exponents.

    Args:
        families: for each name its axes and losses, as :func:`~scalelab.analysis.fit.fit_law` takes them.
        law: the law, one with exponents.
        level: coverage of the intervals, from 1,000 refits of each family.
        options: more for ``fit_law``: estimator, delta, seed.

    Raises:
        FitError: fewer than two families, the law has no exponents, or a family's rows do not support it; the
            message names the family.
    """
    check_level(level)
    if len(families) < 2:
        raise FitError(f"a comparison needs at least two families, got {len(families)}")
    fits = {}
    for name, (x, y) in families.items():
        try:
            fits[name] = fit_law(law, x, y, **options)
        except FitError as error:
            raise FitError(f"family {name!r}: {error}") from None
    if not next(iter(fits.values())).law.exponents:
        raise FitError(f"law {law!r} has no exponents to compare")
    raw = [_test(fits[a], fits[b], (a, b)) for a, b in combinations(fits, 2)]
    corrected = holm([test.p_bootstrap for test in raw])
    tests = tuple(replace(test, p_holm=p) for test, p in zip(raw, corrected, strict=True))
    draws = {
        name: fit.bootstrap(_REFITS, seed=fit.seed + i).draws for i, (name, fit) in enumerate(fits.items())
    }
    return Comparison(fits, tests, level, draws)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values after Holm's (1979) step-down correction, in the order given."""
    order = np.argsort(p_values)
    m = len(p_values)
    steps = np.maximum.accumulate([(m - rank) * p_values[i] for rank, i in enumerate(order)])
    out = np.empty(m)
    out[order] = np.minimum(steps, 1.0)
    return [float(p) for p in out]


class _Shared(Law):
    """Two families under one law whose exponents they share; the last axis tells the family of a row."""

    name, equation, paper, axes = "shared", "", "", ("...",)

    def __init__(self, base: Law) -> None:
        self.base = base
        p = len(base.params)
        common = [base.params.index(name) for name in base.exponents]
        own = [i for i in range(p) if i not in common]
        self.first = np.arange(p)
        self.second = np.arange(p)
        self.second[own] = p + np.arange(len(own))
        self.params = tuple(str(i) for i in range(p + len(own)))

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        value = np.empty((len(theta), u[0].size))
        jac = np.zeros((len(theta), theta.shape[1], u[0].size))
        for code, index in ((0, self.first), (1, self.second)):
            rows = np.flatnonzero(u[-1] == code)
            part, slopes = self.base.value_jac(theta[:, index], [column[rows] for column in u[:-1]])
            value[:, rows] = part
            jac[:, index[:, None], rows] = slopes
        return value, jac

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        low, high = self.base.bounds(u[:-1], y)
        both = np.empty((2, len(self.params)))
        for index in (self.second, self.first):
            both[0, index], both[1, index] = low, high
        return both[0], both[1]

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        both = [self.base.starts([c[u[-1] == code] for c in u[:-1]], y[u[-1] == code]) for code in (0, 1)]
        return np.concatenate([self.between(a, b) for a, b in zip(*both, strict=True)])

    def between(self, a: Array, b: Array) -> Array:
        """Returns starts from the families' own parameters, with the exponents of either or between them."""
        out = []
        for share in (0.0, 0.5, 1.0):
            theta = np.empty(len(self.params))
            theta[self.second], theta[self.first] = b, a
            common = self.first == self.second
            theta[self.first[common]] = share * a[common] + (1.0 - share) * b[common]
            out.append(theta)
        return np.array(out)

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        return theta

    @override
    def internal(self, params: Array) -> Array:
        return params


def _test(a: Fit, b: Fit, names: tuple[str, str]) -> ExponentTest:
    """Tests shared against separate exponents; see :class:`ExponentTest`."""
    columns = tuple(np.concatenate(pair) for pair in zip(a.table.columns, b.table.columns, strict=True))
    losses = np.concatenate([a.table.y, b.table.y])
    weights = np.concatenate([a.table.weights, b.table.weights])
    code = np.repeat([0.0, 1.0], [len(a.table), len(b.table)])
    # One frame for all, so that a shared exponent is a shared internal parameter.
    frame = a.law.frame(Frame.of(columns, losses, log_axes=a.law.log_axes))
    estimator = smooth_problem(a).estimator
    own = [make_problem(fit.law, fit.table, frame, estimator) for fit in (a, b)]
    found = [search(p, f.table.weights, f.law.n_starts, f.seed) for p, f in zip(own, (a, b), strict=True)]
    apart = sum(objective for _, objective, _ in found)
    shared = _Shared(a.law)
    u, y = (*frame.inward(columns), code), losses / frame.y_scale
    joint = Problem(shared, u, y, frame.y_scale, estimator, *shared.bounds(u, y))
    best = minimise(joint, shared.between(found[0][0], found[1][0]), weights, max_iter=200)
    theta = best.theta[int(np.argmin(best.objective))]
    dof = len(a.law.exponents)
    fall = max(float(best.objective.min()) - apart, 0.0)
    statistic = 2.0 * fall / max(float(np.mean([_tau(fit) for fit in (a, b)])), 1e-300)

    # Simulate shared exponents with each family's own noise, and see how large the relative fall gets by
    # chance.
    rng = np.random.default_rng(a.seed)
    value = shared.value_jac(theta[None], u)[0]
    noise = np.concatenate([_noise(fit, rng) for fit in (a, b)], axis=1)
    fake = value * np.exp(-noise) if estimator.log else value - noise / frame.y_scale
    null = minimise(replace(joint, y=fake), np.tile(theta, (_SIMULATIONS, 1)), weights, **_QUICK).objective
    free = np.zeros(_SIMULATIONS)
    for problem, fit, index, flag in ((own[0], a, shared.first, 0), (own[1], b, shared.second, 1)):
        begin = np.tile(theta[index], (_SIMULATIONS, 1))
        free += minimise(
            replace(problem, y=fake[:, code == flag]), begin, fit.table.weights, **_QUICK
        ).objective
    chance = np.maximum(null - free, 0.0) / np.maximum(free, 1e-300)
    p_bootstrap = (1.0 + float((chance >= fall / max(apart, 1e-300)).sum())) / (1.0 + _SIMULATIONS)
    return ExponentTest(
        names, statistic, dof, float(special.chdtrc(dof, statistic)), p_bootstrap, p_bootstrap
    )


def _tau(fit: Fit) -> float:
    """Returns what scales a fall of the objective to chi-squared (Schrader & Hettmansperger 1980)."""
    first, _, _ = fit.estimator.derivatives(fit.residuals)
    n, p = len(fit.table), fit.theta.size
    return float(np.mean(first**2)) / mean_curvature(fit) * n / (n - p)


def _noise(fit: Fit, rng: np.random.Generator) -> Array:
    """Returns noise of a family in the space of the residuals, shape (simulations, rows)."""
    imitate = simulator(fit)
    value = fit.law.value_jac(imitate.theta[None], fit.problem.u)[0]
    drawn = imitate.draw(rng, _SIMULATIONS)
    return np.log(value) - np.log(drawn) if fit.estimator.log else (value - drawn) * fit.frame.y_scale


def _only(fit: Fit) -> Draws:
    return Draws(fit.law, fit.frame, fit.theta[None])


def _head(draws: Draws, n: int) -> Draws:
    return replace(draws, theta=draws.theta[:n])


def _multiplier(first: Draws, second: Draws, scale: float) -> Array:
    """Returns by what factor the first law's scale exceeds the second's for the same loss, shape (draws,)."""
    target = second.at(((np.log([scale]) - second.frame.centres[0]),))[:, 0]

    def loss(z: Array) -> Array:
        return (
            first.law.value_jac(first.theta, ((z - first.frame.centres[0])[:, None],))[0][:, 0]
            * first.frame.y_scale
        )

    found: Array = np.exp(bisect(loss, target, len(first), float(np.log(scale))) - np.log(scale))
    return found


def _crossing(first: Draws, second: Draws, grid: Array) -> Array:
    """Returns the last scale on a grid of logs beyond which the second wins, or NaN; shape (draws,)."""
    gap = second.at((grid - second.frame.centres[0],)) - first.at((grid - first.frame.centres[0],))
    change = (gap[:, :-1] > 0) & (gap[:, 1:] <= 0)
    ends_below = gap[:, -1] <= 0
    last = change.shape[1] - 1 - np.argmax(change[:, ::-1], axis=1)
    row = np.arange(len(gap))
    before, after = gap[row, last], gap[row, last + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = grid[last] + before / (before - after) * (grid[1] - grid[0])
    return np.where(change.any(axis=1) & ends_below, np.exp(z), np.nan)
