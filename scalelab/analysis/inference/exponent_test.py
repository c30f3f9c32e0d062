"""Do two families share a law's exponents? Tests by likelihood ratio and by simulation, and Holm's rule.

Of plentiful rows (`scalelab.analysis.inference.covariance`) both give way to Wald's test
(`scalelab.analysis.inference.shared`), which needs neither another fit nor a simulation.

`efficiency` asks for more: that of sums of powers two families share the irreducible loss too, and differ in
nothing but what each scale is worth, `L = E + A * (rho_N * N)^-alpha + B * (rho_D * D)^-beta` (Volkova et al.
2026, Towards Robust Scaling Laws for Optimizers, arXiv:2602.07712).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy import special
from typing_extensions import override

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.fitting.search import search
from scalelab.analysis.fitting.solver import Problem, minimize
from scalelab.analysis.inference.bootstrap import smooth_problem, tails
from scalelab.analysis.inference.covariance import mean_curvature, plentiful
from scalelab.analysis.inference.shared import restricted
from scalelab.analysis.inference.simulator import simulator
from scalelab.analysis.laws.powers import SumOfPowers
from scalelab.arrays import Array
from scalelab.law import Frame, Law

_SIMULATIONS = 300
_QUICK: dict[str, Any] = {"max_iter": 60, "xtol": 1e-5, "ftol": 1e-8}


@dataclass(frozen=True)
class ExponentTest:
    """Whether two families share their exponents.

    Attributes:
        families: The two.
        statistic: The scaled fall of the objective from shared to separate exponents.
        dof: How many exponents are shared.
        p_lr: p-value of the likelihood ratio, against its chi-squared limit.
        p_bootstrap: p-value against simulations of shared exponents, for small samples; of plentiful rows
            both are that of Wald's test.
        p_holm: The latter after Holm's correction for all pairs.
    """

    families: tuple[str, str]
    statistic: float
    dof: int
    p_lr: float
    p_bootstrap: float
    p_holm: float


@dataclass(frozen=True)
class Efficiency:
    """What a scale is worth in one family over what it is in another one, if they share all but that.

    Attributes:
        families: The two.
        worth: By axis, how many times the scale the first needs for what the second does with one, with its
            interval; the same at every scale.
        p: p-value of the shared law against separate ones, as in `ExponentTest`; a small one refutes it.
    """

    families: tuple[str, str]
    worth: dict[str, Estimate]
    p: float

    json_fields: ClassVar = ("worth", "p_shared=p")

    def turned(self) -> Efficiency:
        """Returns the same of the families the other way round."""
        worth = {
            axis: Estimate.of(1.0 / one.value, 1.0 / one.ends[1], 1.0 / one.ends[0] if one.lower else np.inf)
            for axis, one in self.worth.items()
        }
        return Efficiency((self.families[1], self.families[0]), worth, self.p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values after Holm's (1979) step-down correction, in the order given."""
    order = np.argsort(p_values)
    m = len(p_values)
    steps = np.maximum.accumulate([(m - rank) * p_values[i] for rank, i in enumerate(order)])
    out = np.empty(m)
    out[order] = np.minimum(steps, 1.0)
    return [float(p) for p in out]


class _Shared(Law):
    """Two families under one law of which they share parameters; the last axis tells the family of a row."""

    name, equation, paper, axes = "shared", "", "", ("...",)

    def __init__(self, base: Law, shared: Sequence[str]) -> None:
        self.base = base
        p = len(base.params)
        common = [base.params.index(name) for name in shared]
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


def exponent_test(a: Point, b: Point, names: tuple[str, str]) -> ExponentTest:
    """Tests shared against separate exponents; see `ExponentTest`."""
    if plentiful(a) and plentiful(b):
        limit = restricted(a, b, a.law.exponents)
        return ExponentTest(names, limit.statistic, limit.dof, limit.p, limit.p, limit.p)
    found = _test(a, b, a.law.exponents)
    dof = len(a.law.exponents)
    p_lr = float(special.chdtrc(dof, found.statistic))
    return ExponentTest(names, found.statistic, dof, p_lr, found.p_bootstrap, found.p_bootstrap)


def efficiency(a: Point, b: Point, names: tuple[str, str], level: float) -> Efficiency | None:
    """Returns what a scale is worth in the second family over the first; `None` for other laws than sums."""
    law = a.law
    if not isinstance(law, SumOfPowers):
        return None
    common = [name for name in law.params if name not in law.coefficients]
    if plentiful(a) and plentiful(b):
        p, first, second = restricted(a, b, common)[2:]
    else:
        found = _test(a, b, common)
        p, (first, second) = (
            found.p_bootstrap,
            (found.theta[:, own] for own in (found.law.first, found.law.second)),
        )
    worth = {}
    for axis, coefficient, exponent in zip(a.table.axes, law.coefficients, law.exponents, strict=True):
        size, rate = law.params.index(coefficient), law.params.index(exponent)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            values = np.exp((first[:, size] - second[:, size]) / first[:, rate])
        center, draws = float(values[0]), values[1:][~np.isnan(values[1:])]
        ends = np.quantile(draws, tails(level), method="nearest") if draws.size else (-np.inf, np.inf)
        worth[axis] = Estimate.holding(center, *ends)
    return Efficiency(names, worth, p)


class _Tested(NamedTuple):
    """A shared law: the scaled fall of the objective to separate ones, its chance, and its parameters.

    The parameters of the fit come first, those of simulations after it, shape (1 + simulations, parameters).
    """

    statistic: float
    p_bootstrap: float
    law: _Shared
    theta: Array


def _test(a: Point, b: Point, common: Sequence[str]) -> _Tested:
    columns = tuple(np.concatenate(pair) for pair in zip(a.table.columns, b.table.columns, strict=True))
    losses = np.concatenate([a.table.y, b.table.y])
    weights = np.concatenate([a.table.weights, b.table.weights])
    code = np.repeat([0.0, 1.0], [len(a.table), len(b.table)])
    # One frame for all, so that a shared parameter is a shared internal one.
    frame = a.law.frame(Frame.of(columns, losses, log_axes=a.law.log_axes))
    estimator = smooth_problem(a).estimator
    own = [
        Problem.of(fit.law, frame.inward(fit.table.columns), fit.table.y, frame.y_scale, estimator)
        for fit in (a, b)
    ]
    found = [search(p, f.table.weights, f.seed) for p, f in zip(own, (a, b), strict=True)]
    apart = sum(objective for _, objective, _ in found)
    shared = _Shared(a.law, common)
    u = (*frame.inward(columns), code)
    joint = Problem.of(shared, u, losses, frame.y_scale, estimator)
    best = minimize(joint, shared.between(found[0][0], found[1][0]), weights, max_iter=200)
    theta = best.theta[int(np.argmin(best.objective))]
    fall = max(float(best.objective.min()) - apart, 0.0)
    statistic = 2.0 * fall / max(float(np.mean([_tau(fit, estimator) for fit in (a, b)])), 1e-300)

    # Simulate the shared law with each family's own noise, and see how large the relative fall gets by
    # chance.
    rng = np.random.default_rng(a.seed)
    value = shared.value_jac(theta[None], u)[0]
    noise = np.concatenate([_noise(fit, rng) for fit in (a, b)], axis=1)
    fake = value * np.exp(-noise) if estimator.log else value - noise / frame.y_scale
    null = minimize(replace(joint, y=fake), np.tile(theta, (_SIMULATIONS, 1)), weights, **_QUICK)
    free = np.zeros(_SIMULATIONS)
    for problem, fit, index, flag in ((own[0], a, shared.first, 0), (own[1], b, shared.second, 1)):
        begin = np.tile(theta[index], (_SIMULATIONS, 1))
        free += minimize(
            replace(problem, y=fake[:, code == flag]), begin, fit.table.weights, **_QUICK
        ).objective
    chance = np.maximum(null.objective - free, 0.0) / np.maximum(free, 1e-300)
    p_bootstrap = (1.0 + float((chance >= fall / max(apart, 1e-300)).sum())) / (1.0 + _SIMULATIONS)
    return _Tested(statistic, p_bootstrap, shared, np.concatenate([theta[None], null.theta]))


def _tau(fit: Point, penalty: Estimator) -> float:
    """Returns what scales a fall of the objective to chi-squared (Schrader & Hettmansperger 1980)."""
    first, _, _ = penalty.derivatives(fit.residuals)
    n, p = len(fit.table), fit.theta.size
    return float(np.mean(first**2)) / mean_curvature(fit, penalty) * n / (n - p)


def _noise(fit: Point, rng: np.random.Generator) -> Array:
    """Returns noise of a family in the space of the residuals, shape (simulations, rows)."""
    imitate = simulator(fit)
    value = fit.law.value_jac(imitate.theta[None], fit.problem.u)[0]
    drawn = imitate.draw(fit.problem, rng, _SIMULATIONS).y
    return np.log(value) - np.log(drawn) if fit.estimator.log else (value - drawn) * fit.frame.y_scale
