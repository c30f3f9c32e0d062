"""Profile intervals: the values of a quantity that the rows do not contradict.

The relative rise ``T(c) = min{objective : quantity = c} / min{objective} - 1`` measures how much the rows
object to the value c; relative, so that it does not depend on the unknown size of the noise. An interval is
the set of c with T(c) below a cut-off. Under Gaussian noise and squares the cut-off would come from an F
distribution; here it is *calibrated*: the law is simulated at its estimates with resampled residuals, and
the cut-off is the quantile of the T that the true value gets there. That holds for every penalty, keeps the
asymmetry that bounds and curvature give an interval, and needs no smoothness of the penalty.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from scalelab.analysis.bootstrap import check_level, simulator, smooth_problem
from scalelab.analysis.covariance import covariance, mean_curvature
from scalelab.analysis.draws import Draws, Quantity, estimate, evaluate, gradient
from scalelab.analysis.laws.base import Array, Frame, Index
from scalelab.analysis.solver import Problem, minimise

if TYPE_CHECKING:
    from scalelab.analysis.fit import Fit

N_CALIBRATE = 400

_SPRING, _REACH = 1e3, 300.0
_SWEEPS, _REFINEMENTS = 4, 4
_STEPS = np.concatenate([np.linspace(0.4, 4.0, 10), np.geomspace(5.5, 40.0, 6)])
_SHARES = np.array([0.01, 0.03, 0.1, 0.25, 0.5, 0.75])
_STEP = 1e-5
_QUICK: dict[str, Any] = {"max_iter": 60, "xtol": 1e-5, "ftol": 1e-8}


@dataclass(frozen=True, eq=False)
class Pinned(Problem):
    """A problem with one more row, a spring that pulls a quantity to a value for each of the batch.

    The row's residual is kept small, so that every penalty treats it as a square; its weight makes up for
    that.

    Attributes:
        frame: the change of units, for the quantity.
        quantity: what is pinned.
        targets: to which values, shape (batch,).
        unit: what the distance to the target is divided by.
    """

    frame: Frame = field(default_factory=lambda: Frame.identity(0))
    quantity: Quantity = ""
    targets: Array = field(default_factory=lambda: np.zeros(0))
    unit: float = 1.0

    @override
    def residuals(self, theta: Array, rows: Index | None = None) -> tuple[Array, Array]:
        r, jac = super().residuals(theta, rows)
        batch, size = theta.shape
        moves = _STEP * np.concatenate([np.zeros((1, size)), np.eye(size), -np.eye(size)])
        around = (theta[:, None, :] + moves).reshape(-1, size)
        values = evaluate(self.quantity, Draws(self.law, self.frame, around)).reshape(batch, -1)
        targets = self.targets if rows is None else self.targets[rows]
        slopes = (values[:, 1 : 1 + size] - values[:, 1 + size :]) / (2 * _STEP * self.unit)
        r = np.concatenate([r, (values[:, :1] - targets[:, None]) / self.unit], axis=1)
        return r, np.concatenate([jac, slopes[:, :, None]], axis=2)


def profile_interval(
    fit: Fit, quantity: Quantity, level: float = 0.9, *, n: int = N_CALIBRATE, seed: int | None = None
) -> tuple[float, float]:
    """Returns the calibrated profile interval of a quantity.

    Args:
        fit: the fit.
        quantity: a parameter's name or a function of draws.
        level: its coverage.
        n: simulations of the calibration.
        seed: of the simulations; default the fit's.

    Returns:
        The ends; infinite where the rows never object, on that side, within 40 standard errors.
    """
    check_level(level)
    profile = _Profile(fit, quantity)
    cut = profile.cut(level, n, fit.seed if seed is None else seed)
    return profile.end(-1, cut), profile.end(1, cut)


@dataclass(frozen=True, eq=False)
class _Simulation:
    """Simulated outcomes and their unrestricted minima, which all quantities of a fit share."""

    problem: Problem
    truth: Draws
    lowest: Array


_SIMULATIONS: weakref.WeakKeyDictionary[Fit, dict[tuple[int, int], _Simulation]] = weakref.WeakKeyDictionary()


def _simulation(profile: _Profile, n: int, seed: int) -> _Simulation:
    fit = profile.fit
    known = _SIMULATIONS.setdefault(fit, {})
    if (n, seed) not in known:
        imitate = simulator(fit)
        problem = replace(profile.problem, y=imitate.draw(np.random.default_rng(seed), n))
        start = np.broadcast_to(imitate.theta, (n, imitate.theta.size))
        _, lowest = profile.minimum(problem, start, profile.weights)
        known[n, seed] = _Simulation(problem, Draws(fit.law, fit.frame, imitate.theta[None]), lowest)
    return known[n, seed]


class _Profile:
    """The rise of a fit's objective along one quantity; holds what all its evaluations share."""

    def __init__(self, fit: Fit, quantity: Quantity) -> None:
        self.fit, self.quantity = fit, quantity
        self.problem = smooth_problem(fit)
        self.weights = fit.table.weights
        self.centre = estimate(fit, quantity)
        slope = gradient(fit, quantity)
        spread = fit.covariance()
        if not slope @ spread @ slope > 0:
            # At a bound the estimate cannot move to first order; further away it can.
            spread = covariance(fit, bounded=False)
        variance = float(slope @ spread @ slope)
        known = np.isfinite(variance) and variance > 0
        self.unit = float(np.sqrt(variance)) if known else max(1e-3 * abs(self.centre), 1e-12)
        # How the parameters move, to first order, for one standard error of the quantity.
        self.direction = spread @ slope / self.unit if known else np.zeros_like(fit.theta)
        penalty = self.problem.estimator
        first = penalty.derivatives(fit.residuals)[0]
        # What a distance of one standard error costs in the objective.
        cost = max(0.5 * float(np.mean(self.weights * first**2)) / mean_curvature(fit), 1e-300)
        self.soft = penalty.delta / _REACH if penalty.huberised else 1.0
        self.pinned_weights = np.append(self.weights, _SPRING * cost / self.soft**2)
        self.spread = 1.345 * float(np.median(np.abs(fit.residuals))) / 0.6745
        polished = minimise(self.problem, fit.theta[None], self.weights, max_iter=60)
        self.theta, self.lowest = polished.theta[0], float(polished.objective[0])

    def pinned(self, problem: Problem, targets: Array) -> Pinned:
        """Returns a problem with the quantity pulled to a target for each of a batch."""
        parts = {name: getattr(problem, name) for name in Problem.__dataclass_fields__}
        unit = self.unit / self.soft
        return Pinned(**parts, frame=self.fit.frame, quantity=self.quantity, targets=targets, unit=unit)

    def end(self, side: int, cut: float) -> float:
        """Returns where the relative rise exceeds a cut-off on one side of the estimate, or infinity.

        A spring need not be stiff: where it comes to rest the objective is the lowest for the value of the
        quantity there, whatever that is. The profile is refined around the crossing, which also finds the
        ends of a quantity whose standard error is far from its true uncertainty.
        """
        targets = self.centre + side * _STEPS * self.unit
        starts = self.theta + side * np.minimum(_STEPS, 4.0)[:, None] * self.direction
        theta, values, rise = self.points(targets, starts)
        for _ in range(_REFINEMENTS):
            x, root, order = _outward(values, rise, self.centre, side)
            above = np.flatnonzero(root > np.sqrt(cut))
            if not above.size or root[above[0]] < 1.5 * np.sqrt(cut):
                break
            i = int(above[0])
            inner = self.theta if i == 1 else theta[order[i - 2]]
            outer = theta[order[i - 1]]
            more = x[i - 1] + _SHARES * (x[i] - x[i - 1])
            found = self.points(more, inner + _SHARES[:, None] * (outer - inner))
            theta, values, rise = (
                np.concatenate(pair) for pair in zip((theta, values, rise), found, strict=True)
            )
        return _crossing(*_outward(values, rise, self.centre, side)[:2], cut, side * self.unit)

    def points(self, targets: Array, starts: Array) -> tuple[Array, Array, Array]:
        """Returns points of the profile: parameters, values of the quantity, and relative rises there.

        Args:
            targets: values to pull the quantity to, outward, shape (points,).
            starts: internal parameters to start from, shape (points, parameters).
        """
        problem = self.pinned(self.problem, targets)
        theta, total = self.minimum(problem, starts, self.pinned_weights)
        for _ in range(_SWEEPS):
            # Each is tried again from the end of its inner neighbour: a curved valley is easily lost from
            # afar.
            inner = np.concatenate([self.theta[None], theta[:-1]])
            again = minimise(problem, inner, self.pinned_weights, **_QUICK)
            better = again.objective < total - 1e-3 * np.abs(total - self.lowest)
            if not better.any():
                break
            theta[better], total[better] = again.theta[better], again.objective[better]
        values = evaluate(self.quantity, Draws(self.fit.law, self.fit.frame, theta))
        rise = self.problem.objective(theta, self.weights) / max(self.lowest, 1e-300) - 1.0
        return theta, values, np.maximum(rise, 0.0)

    def cut(self, level: float, n: int, seed: int) -> float:
        """Returns the quantile of the relative rise at the true value, over simulations of the fit."""
        simulation = _simulation(self, n, seed)
        truth = evaluate(self.quantity, simulation.truth)[0]
        pinned = self.pinned(simulation.problem, np.full(n, truth))
        start = np.broadcast_to(simulation.truth.theta, (n, self.theta.size))
        theta, total = self.minimum(pinned, start, self.pinned_weights)
        bare = simulation.problem.objective(theta, self.weights)
        # The spring's tension times its extension is what the last bit of the way would cost.
        held = bare + 2.0 * (total - bare)
        rise = held / np.maximum(simulation.lowest, 1e-300) - 1.0
        return float(np.quantile(np.maximum(rise[np.isfinite(rise)], 0.0), level))

    def minimum(self, problem: Problem, theta: Array, weights: Array) -> tuple[Array, Array]:
        """Returns where the minimisations from each start end, and the objectives there; both by start.

        They pass through ever narrower penalties. A penalty much narrower than the noise has many shallow
        valleys; both sides of a difference of minima must find the deep one, or the difference is biased.
        """
        delta = problem.estimator.delta
        if problem.estimator.huberised:
            for width in (self.spread, 0.2 * self.spread, 0.04 * self.spread):
                if width > 1.5 * delta:
                    staged = replace(problem, estimator=problem.estimator.smoothed(width))
                    theta = minimise(staged, theta, weights, **_QUICK).theta
        solution = minimise(problem, theta, weights, **_QUICK)
        return solution.theta, solution.objective


def _outward(values: Array, rise: Array, centre: float, side: int) -> tuple[Array, Array, Index]:
    """Returns values and roots of the rise from the centre outward on one side, and their original order."""
    chosen = np.flatnonzero(np.isfinite(values) & np.isfinite(rise) & (values * side > centre * side))
    order = chosen[np.argsort(side * values[chosen], kind="stable")]
    x = np.concatenate([[centre], values[order]])
    root = np.concatenate([[0.0], np.sqrt(rise[order])])
    # A value further away cannot cost less; where it seems to, the nearer one stopped in another valley.
    return x, np.minimum.accumulate(root[::-1])[::-1], order


def _crossing(x: Array, root: Array, cut: float, unit: float) -> float:
    """Returns where the root of the rise crosses that of the cut-off.

    Between points the root is taken as straight, which it is for a law linear in its parameters. Without a
    crossing the end is infinite, unless the quantity stopped short of where it was pulled, as at a bound.
    """
    above = np.flatnonzero(root > np.sqrt(cut))
    if not above.size:
        stopped = abs(x[-1] - x[0]) < 0.9 * _STEPS[-1] * abs(unit)
        return float(x[-1] if stopped else np.sign(unit) * np.inf)
    i = int(above[0])
    share = (np.sqrt(cut) - root[i - 1]) / (root[i] - root[i - 1])
    return float(x[i - 1] + share * (x[i] - x[i - 1]))
