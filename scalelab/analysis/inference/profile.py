"""Profile intervals: the values of a quantity that the rows do not contradict.

The relative rise `T(c) = min{objective : quantity = c} / min{objective} - 1` measures how much the rows
object to the value c; relative, so that it does not depend on the unknown size of the noise. An interval is
the set of c with T(c) below a cut-off. Under Gaussian noise and squares the cut-off would come from an F
distribution; here it is *calibrated*: the law is simulated at its estimates with resampled residuals, and
the cut-off is the quantile of the T that the true value gets there. That holds for every penalty, keeps the
asymmetry that bounds and curvature give an interval, and needs no smoothness of the penalty. Of plentiful
rows (`scalelab.analysis.inference.covariance`) it is the limit of large samples instead: the square of
Student's t times what one standard error costs.

All quantities and both sides of a fit are searched as one batch: the rows are few, so that what a step
costs hardly depends on how many it minimizes at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from scalelab.analysis.fitting.draws import Draws, Quantity, evaluate
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.fitting.solver import Problem, minimize
from scalelab.analysis.inference.bootstrap import check_level, chunk_of, smooth_problem
from scalelab.analysis.inference.covariance import (
    cost_of_error,
    covariance,
    mean_curvature,
    plentiful,
    witnesses,
)
from scalelab.analysis.inference.pinned import Pinned, Tangents
from scalelab.analysis.inference.simulator import simulator
from scalelab.arrays import Array, Index

N_CALIBRATE = 400

_SPRING, _REACH = 1e3, 300.0
_SWEEPS, _REFINEMENTS = 4, 4
_ALIKE = 4
_STEPS, _FURTHER = np.linspace(0.4, 4.0, 10), np.geomspace(5.5, 40.0, 6)
"""Where ends are looked for, in standard errors to first order: further away only what has none nearer."""
_NEAR = np.array([0.6, 0.9, 1.1, 1.5])
"""Where the ends of plentiful rows are looked for, over those of a straight law."""
_SHARES = np.array([0.01, 0.03, 0.1, 0.25, 0.5, 0.75])
_QUICK: dict[str, Any] = {"max_iter": 60, "xtol": 1e-5, "ftol": 1e-8}


def profile_intervals(
    fit: Point,
    quantities: Sequence[Quantity],
    level: float = 0.9,
    *,
    n: int = N_CALIBRATE,
    seed: int | None = None,
) -> list[tuple[float, float]]:
    """Returns the calibrated profile intervals of several quantities.

    Args:
        fit: The fit.
        quantities: Names of parameters, or functions of draws.
        level: Coverage of each.
        n: Simulations of the calibration.
        seed: Of the simulations; default the fit's.

    Returns:
        The ends of each; infinite where the rows never object, on that side, within 40 standard errors.
    """
    check_level(level)
    seed = fit.seed if seed is None else seed
    near = _NEAR * NormalDist().inv_cdf(0.5 + level / 2) if plentiful(fit) else None
    together = max(1, _room(fit.problem) // (2 * (_STEPS if near is None else near).size))
    out: list[tuple[float, float]] = []
    for begin in range(0, len(quantities), together):
        profile = _Profile(fit, quantities[begin : begin + together])
        ends = profile.ends(profile.cuts(level, n, seed) if near is None else profile.limits(level), near)
        out += zip(ends[::2], ends[1::2], strict=True)
    return out


def _room(problem: Problem) -> int:
    """Returns how many to minimize together: more of rows at the same scales, which share derivatives."""
    repeats = problem.repeats
    alike = 1 if repeats is None else min(repeats.order.size // repeats.begins.size, _ALIKE)
    return alike * chunk_of(problem)


@dataclass(frozen=True, eq=False)
class _Simulation:
    """Simulated outcomes and their unrestricted minima, which all quantities of a fit share."""

    problem: Problem
    truth: Draws
    lowest: Array


class _Rest(NamedTuple):
    """Where the objective of a fit rests, and how it is pulled from there, whatever the quantity.

    Attributes:
        problem: What is minimized.
        theta: Its optimum, shape (parameters,).
        lowest: The objective there.
        whole: What rises are relative to.
        soft: What the distance to a target is divided by, in standard errors of the quantity.
        weights: Those of the rows and, last, of the spring.
        spread: The width of the penalty to begin with.
    """

    problem: Problem
    theta: Array
    lowest: float
    whole: float
    soft: float
    weights: Array
    spread: float


def _rest(fit: Point) -> _Rest:
    problem, weights, residuals = smooth_problem(fit), fit.table.weights, fit.residuals
    penalty = problem.estimator
    first = penalty.derivatives(residuals)[0]
    # What a distance of one standard error costs in the objective.
    cost = max(0.5 * float(np.mean(weights * first**2)) / mean_curvature(fit, penalty), 1e-300)
    soft = penalty.delta / _REACH if penalty.huberized else 1.0
    pulled = np.append(weights, _SPRING * cost / soft**2)
    spread = 1.345 * max(float(np.median(np.abs(residuals))) / 0.6745, fit.error)
    polished = minimize(problem, fit.theta[None], weights, max_iter=60)
    theta, lowest = polished.theta[0], float(polished.objective[0])
    # A run that diverged adds to every objective alike, and no simulation has one.
    likely = simulator(fit).limit / np.sqrt(weights)
    left = np.clip(problem.residuals(theta[None])[0][0], -likely, likely)
    whole = max(float(weights @ penalty.value(left)), 1e-300)
    return _Rest(problem, theta, lowest, whole, soft, pulled, spread)


@dataclass(eq=False)
class _Side:
    """The profile of one quantity on one side of the estimate, as far as it is known.

    Attributes:
        number: Which quantity.
        sign: -1 below the estimate, 1 above it.
        center: The estimate.
        theta: Parameters at the points, shape (points, parameters).
        values: Values of the quantity there, shape (points,).
        rise: Relative rises of the objective there, shape (points,).
    """

    number: int
    sign: int
    center: float
    theta: Array
    values: Array
    rise: Array

    def outward(self) -> tuple[Array, Array, Index]:
        """Returns values and roots of the rise from the center outward, and their original order."""
        at, sign = self.values, self.sign
        chosen = np.flatnonzero(np.isfinite(at) & np.isfinite(self.rise) & (at * sign > self.center * sign))
        order = chosen[np.argsort(sign * at[chosen], kind="stable")]
        x = np.concatenate([[self.center], at[order]])
        root = np.concatenate([[0.0], np.sqrt(self.rise[order])])
        # A value further away cannot cost less; where it seems to, the nearer one stopped in another valley.
        return x, np.minimum.accumulate(root[::-1])[::-1], order

    def between(self, cut: float, middle: Array) -> tuple[Array, Array] | None:
        """Returns targets and starts around the crossing of a cut-off, or None where it is well known.

        Args:
            cut: The cut-off of the relative rise.
            middle: Parameters at the estimate, shape (parameters,).
        """
        x, root, order = self.outward()
        above = np.flatnonzero(root > np.sqrt(cut))
        if not above.size or root[above[0]] < 1.5 * np.sqrt(cut):
            return None
        i = int(above[0])
        inner = middle if i == 1 else self.theta[order[i - 2]]
        outer = self.theta[order[i - 1]]
        return x[i - 1] + _SHARES * (x[i] - x[i - 1]), inner + _SHARES[:, None] * (outer - inner)

    def exceeds(self, cut: float) -> bool:
        """Whether a cut-off is crossed at the points that are known."""
        return bool((self.outward()[1] > np.sqrt(cut)).any())

    def crossing(self, cut: float, unit: float) -> float:
        """Returns where the root of the rise crosses that of a cut-off.

        Between points the root is taken as straight, which it is for a law linear in its parameters. Without
        a crossing the end is infinite, unless the quantity stopped short of where it was pulled, as at a
        bound.
        """
        x, root, _ = self.outward()
        above = np.flatnonzero(root > np.sqrt(cut))
        if not above.size:
            stopped = abs(x[-1] - x[0]) < 0.9 * _FURTHER[-1] * unit
            return float(x[-1] if stopped else self.sign * np.inf)
        i = int(above[0])
        share = (np.sqrt(cut) - root[i - 1]) / (root[i] - root[i - 1])
        return float(x[i - 1] + share * (x[i] - x[i - 1]))


class _Profile:
    """The rise of a fit's objective along some quantities; holds what all its evaluations share."""

    def __init__(self, fit: Point, quantities: Sequence[Quantity]) -> None:
        self.fit, self.quantities = fit, tuple(quantities)
        rest = fit.keep("rest", lambda: _rest(fit))
        self.problem, self.theta, self.lowest, self.whole = rest.problem, rest.theta, rest.lowest, rest.whole
        self.soft, self.weights, self.spread = rest.soft, rest.weights, rest.spread
        self.centers = [fit.estimate(quantity) for quantity in quantities]
        self.tangents = Tangents.of(fit, self.quantities)
        self.slopes = [fit.gradient(quantity) for quantity in quantities]
        moves = [self._unit(slope, center) for slope, center in zip(self.slopes, self.centers, strict=True)]
        self.units = np.array([unit for unit, _ in moves])
        # How the parameters move, to first order, for one standard error of each quantity.
        self.directions = [direction for _, direction in moves]

    def _unit(self, slope: Array, center: float) -> tuple[float, Array]:
        """Returns the standard error of a quantity of this gradient, and how the parameters move for it."""
        fit = self.fit
        spread = covariance(fit)
        if not slope @ spread @ slope > 0:
            # At a bound the estimate cannot move to first order; further away it can.
            spread = covariance(fit, bounded=False)
        variance = float(slope @ spread @ slope)
        if np.isfinite(variance) and variance > 0:
            unit = float(np.sqrt(variance))
            return unit, spread @ slope / unit
        return max(1e-3 * abs(center), 1e-12), np.zeros_like(fit.theta)

    def pinned(self, problem: Problem, which: Index, targets: Array) -> Pinned:
        """Returns a problem with a quantity pulled to a target for each of a batch."""
        return Pinned(
            **vars(problem),
            frame=self.fit.frame,
            tangents=self.tangents,
            which=which,
            targets=targets,
            units=self.units[which] / self.soft,
        )

    def ends(self, cuts: Sequence[float], near: Array | None = None) -> list[float]:
        """Returns the lower and upper end of each quantity: where its rise exceeds its cut-off.

        Args:
            cuts: The cut-off of each quantity.
            near: Where to look first, in standard errors; default `_STEPS`.

        A spring need not be stiff: where it comes to rest the objective is the lowest for the value of the
        quantity there, whatever that is. The profile is refined around the crossing, which also finds the
        ends of a quantity whose standard error is far from its true uncertainty.
        """
        empty = np.empty(0)
        sides = [
            _Side(number, sign, center, np.empty((0, self.theta.size)), empty, empty)
            for number, center in enumerate(self.centers)
            for sign in (-1, 1)
        ]
        for steps in (_STEPS, _FURTHER) if near is None else (near, _STEPS, _FURTHER):
            self._step_out([side for side in sides if not side.exceeds(cuts[side.number])], steps)
        for _ in range(_REFINEMENTS):
            found = [(side, side.between(cuts[side.number], self.theta)) for side in sides]
            work = [(side, *more) for side, more in found if more is not None]
            if not work:
                break
            self._explore(*zip(*work, strict=True))
        return [side.crossing(cuts[side.number], float(self.units[side.number])) for side in sides]

    def _step_out(self, sides: Sequence[_Side], steps: Array) -> None:
        """Adds the points that lie some standard errors from the estimates, to first order, to sides."""
        if not sides:
            return
        reached = np.minimum(steps, 4.0)[:, None]
        targets = [side.center + side.sign * steps * self.units[side.number] for side in sides]
        starts = [self.theta + side.sign * reached * self.directions[side.number] for side in sides]
        self._explore(sides, targets, starts, onward=steps is _FURTHER)

    def _explore(
        self, sides: Sequence[_Side], targets: Sequence[Array], starts: Sequence[Array], *,
        onward: bool = False,
    ) -> None:  # fmt: skip
        """Adds points of the profile to sides.

        Args:
            sides: Which ones.
            targets: Values to pull each one's quantity to, outward, all of shape (points,).
            starts: Internal parameters to start from, all of shape (points, parameters).
            onward: Whether they follow the last point of each side, rather than the estimate.
        """
        numbers = np.array([side.number for side in sides])
        goals, begin = np.stack(targets), np.stack(starts)
        theta, total = self._pulled(numbers, goals, begin)
        open_ = np.arange(len(sides))
        middle = np.stack([side.theta[-1:] if onward else self.theta[None] for side in sides])
        for _ in range(_SWEEPS):
            # Each is tried again from the end of its inner neighbor: a curved valley is easily lost from
            # afar.
            inner = np.concatenate([middle[open_], theta[open_, :-1]], axis=1)
            again, lower = self._pulled(numbers[open_], goals[open_], inner, staged=False)
            known = np.where(np.isfinite(total[open_]), total[open_], np.finfo(float).max)
            better = lower < known - 1e-3 * np.abs(known - self.lowest)
            theta[open_] = np.where(better[:, :, None], again, theta[open_])
            total[open_] = np.where(better, lower, total[open_])
            open_ = open_[better.any(axis=1)]
            if not open_.size:
                break
        for side, own in zip(sides, theta, strict=True):
            draws = self.fit.draws(own)
            objective = self.problem.objective(own, self.fit.table.weights)
            rise = np.maximum((objective - self.lowest) / self.whole, 0.0)
            side.theta = np.concatenate([side.theta, own])
            side.values = np.concatenate([side.values, evaluate(self.quantities[side.number], draws)])
            side.rise = np.concatenate([side.rise, rise])

    def _pulled(
        self, numbers: Index, targets: Array, starts: Array, *, staged: bool = True
    ) -> tuple[Array, Array]:
        """Minimizes with quantities pulled to targets.

        Args:
            numbers: The quantity of each side, shape (sides,).
            targets: Shape (sides, points).
            starts: Shape (sides, points, parameters).
            staged: Whether to pass through wider penalties.

        Returns:
            Parameters of shape (sides, points, parameters) and objectives of shape (sides, points).
        """
        problem = self.pinned(self.problem, np.repeat(numbers, targets.shape[1]), targets.ravel())
        flat = starts.reshape(-1, starts.shape[2])
        if staged:
            theta, total = self.minimum(problem, flat, self.weights)
        else:
            solution = minimize(problem, flat, self.weights, **_QUICK)
            theta, total = solution.theta, solution.objective
        return theta.reshape(starts.shape), total.reshape(targets.shape)

    def cuts(self, level: float, n: int, seed: int) -> list[float]:
        """Returns for each quantity the quantile of the relative rise at its true value, over simulations."""
        simulation = self.fit.keep(("simulation", n, seed), lambda: self._simulated(n, seed))
        if self.fit.table.errors is not None:
            # Rows that lie on the law by chance object no more than rows with their errors would.
            self.whole = max(self.whole, float(np.mean(simulation.lowest)))
        base = simulation.problem
        together = max(1, _room(base) // n)
        out: list[float] = []
        for begin in range(0, len(self.quantities), together):
            numbers = np.arange(begin, min(begin + together, len(self.quantities)))
            truths = np.array([evaluate(self.quantities[i], simulation.truth)[0] for i in numbers])
            u = base.u
            if u[0].ndim > 1:
                u = tuple(np.tile(column, (len(numbers), 1)) for column in u)
            problem = replace(base, u=u, y=np.tile(base.y, (len(numbers), 1)))
            pinned = self.pinned(problem, np.repeat(numbers, n), np.repeat(truths, n))
            start = np.broadcast_to(simulation.truth.theta, (n * len(numbers), self.theta.size))
            theta, total = self.minimum(pinned, start, self.weights)
            bare = problem.objective(theta, self.fit.table.weights)
            # The spring's tension times its extension is what the last bit of the way would cost.
            held = (bare + 2.0 * (total - bare)).reshape(-1, n)
            rise = np.maximum(held / np.maximum(simulation.lowest, 1e-300) - 1.0, 0.0)
            # Where no simulation has a value (a scale where the law is infinite), nothing can be ruled out.
            known = [row[np.isfinite(row)] for row in rise]
            out += [float(np.quantile(row, level)) if row.size else np.inf for row in known]
        return out

    def limits(self, level: float) -> list[float]:
        """Returns for each quantity the cut-off of the relative rise in large samples."""
        dof = witnesses(self.fit) - self.theta.size
        reach = float(special.stdtrit(dof, 0.5 + level / 2))
        costs = (cost_of_error(self.fit, slope, self.problem.estimator) for slope in self.slopes)
        return [reach**2 * cost / self.whole for cost in costs]

    def _simulated(self, n: int, seed: int) -> _Simulation:
        imitate = simulator(self.fit)
        problem = imitate.draw(self.problem, np.random.default_rng(seed), n)
        start = np.broadcast_to(imitate.theta, (n, imitate.theta.size))
        _, lowest = self.minimum(problem, start, self.fit.table.weights)
        return _Simulation(problem, self.fit.draws(imitate.theta[None]), lowest)

    def minimum(self, problem: Problem, theta: Array, weights: Array) -> tuple[Array, Array]:
        """Returns where the minimizations from each start end, and the objectives there; both by start.

        They pass through ever narrower penalties. A penalty much narrower than the noise has many shallow
        valleys; both sides of a difference of minima must find the deep one, or the difference is biased.
        """
        delta = problem.estimator.delta
        if problem.estimator.huberized:
            for width in (self.spread, 0.2 * self.spread, 0.04 * self.spread):
                if width > 1.5 * delta:
                    staged = replace(problem, estimator=problem.estimator.smoothed(width))
                    theta = minimize(staged, theta, weights, **_QUICK).theta
        solution = minimize(problem, theta, weights, **_QUICK)
        return solution.theta, solution.objective
