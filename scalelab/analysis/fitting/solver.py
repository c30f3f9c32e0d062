"""Minimizes many fits of one law at once: other starts, other weights, same rows.

Damped Newton steps with analytic derivatives of the law, vectorized over a batch. The penalty's exact second
derivative makes the end fast (for Huber it is zero outside of the square part, which leaves few rows to
decide); its majorizing parabola, the weights of iteratively reweighted least squares, makes the way there
safe. The damping moves from the second to the first and then, like Levenberg-Marquardt, shortens the step:

    H(lam) = J' diag(w * ((1 - s) * rho'' + s * rho'/r)) J + lam * diag,   s = min(lam, 1)

The box is kept by freezing parameters that a step would push out of it and clipping the rest. Rows at
the same scales share the law and its derivatives, which are evaluated once for each scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self, TypedDict

import numpy as np

from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.repeats import Repeats
from scalelab.analysis.fitting.steps import damped_step
from scalelab.arrays import Array, Index
from scalelab.law import Law

_TINY = 1e-300
_LAM_START, _LAM_LOW, _LAM_HIGH = 1e-2, 1e-12, 1e9
_NOTHING_LEFT = 1e-15
_NEAR = 1e-4


@dataclass(frozen=True, eq=False)
class Problem:
    """A law, the rows to fit it to and the penalty, in internal coordinates.

    Attributes:
        law: The law.
        u: Axes, each of shape (n,) or, for simulated ones, (batch, n).
        y: Scaled outcomes, shape (n,) or, for simulated outcomes, (batch, n).
        y_scale: What outcomes were divided by; linear residuals are multiplied by it again.
        estimator: The penalty.
        lower: Lowest parameters, shape (parameters,).
        upper: Highest parameters, shape (parameters,).
        held: One flag a parameter, true where it keeps the value it starts from.
        repeats: Which rows are at the same scales, where many are; counts as long as `u` is what it is of.
    """

    law: Law
    u: tuple[Array, ...]
    y: Array
    y_scale: float
    estimator: Estimator
    lower: Array
    upper: Array
    held: Index | None = None
    repeats: Repeats | None = None

    @classmethod
    def of(cls, law: Law, u: tuple[Array, ...], y: Array, y_scale: float, estimator: Estimator) -> Problem:
        """Returns the problem of fitting a law, in the law's own box.

        Args:
            law: The law.
            u: Axes in internal coordinates, each of shape (n,).
            y: Outcomes as they are, shape (n,).
            y_scale: What to divide them by.
            estimator: The penalty.
        """
        scaled = y / y_scale
        box = law.bounds(u, scaled)
        return cls(law, u, scaled, y_scale, estimator, *box, repeats=Repeats.among(u))

    def chosen(self, rows: Index) -> Self:
        """Returns the problem of some of a batch."""
        y = self.y if self.y.ndim == 1 else self.y[rows]
        u = self.u if self.u[0].ndim == 1 else tuple(column[rows] for column in self.u)
        return replace(self, u=u, y=y)

    def residuals(self, theta: Array) -> tuple[Array, Array]:
        """Returns residuals of shape (batch, n) and their derivatives of shape (batch, parameters, n).

        Args:
            theta: Internal parameters, shape (batch, parameters).
        """
        return self.compared(theta, self.u, self.target)

    @property
    def target(self) -> Array:
        """The outcomes that residuals are differences from, in the shape of `y`."""
        return np.log(self.y) if self.estimator.log else self.y

    def compared(
        self, theta: Array, u: tuple[Array, ...], target: Array, place: Index | None = None
    ) -> tuple[Array, Array]:
        """Returns residuals, shape (batch, n), and their derivatives, shape (batch, parameters, scales).

        Rows that the problem has beside those of the table come last in both.

        Args:
            theta: Internal parameters, shape (batch, parameters).
            u: The axes at each scale.
            target: What `target` is, shape (n,) or (batch, n).
            place: The scale of each row, shape (n,); default each row has its own.
        """
        value, jac = self.law.value_jac(theta, u)
        log = self.estimator.log
        if log:
            np.maximum(value, _TINY, out=value)
            jac /= value[:, None, :]
            value = np.log(value)
        elif self.y_scale != 1.0:
            jac *= self.y_scale
        r = (value if place is None else value.take(place, axis=1)) - target
        if not log:
            r *= self.y_scale
        return self._across(theta, u, r, jac) if log and self.law.axis_error else (r, jac)

    def _across(self, theta: Array, u: tuple[Array, ...], r: Array, jac: Array) -> tuple[Array, Array]:
        """Returns log residuals and their derivatives over the spread that the error of the axis adds.

        The spread moves with the parameters and so has derivatives: weights that are held and renewed from
        step to step would leave a straight law as flat as ordinary least squares does.
        """
        width, slope, by_slope = spread(self.law, theta, u)
        change = (self.law.axis_error**2 * slope / width**2)[:, None] * by_slope
        return r / width, (jac - r[:, None] * change) / width[:, None]

    def objective(self, theta: Array, weights: Array) -> Array:
        """Returns the summed penalty of each parameter vector, shape (batch,)."""
        with np.errstate(all="ignore"):
            work = _Work.of(self, weights)
            return work.total(self.estimator.value(work.residuals(theta)[0]))


def spread(law: Law, theta: Array, u: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Returns how much wider log outcomes scatter because of the error of the axis.

    Args:
        law: A law of one logarithmic axis.
        theta: Internal parameters, shape (batch, parameters).
        u: Its axis in internal coordinates.

    Returns:
        `sqrt(1 + (axis_error * slope)^2)` and the slope of the law between logarithms, both of shape
        (batch, n), and the derivatives of the slope, shape (batch, parameters, n).
    """
    (above, by_above), (below, by_below) = (law.value_jac(theta, [u[0] + h]) for h in (_NEAR, -_NEAR))
    slope = (np.log(np.maximum(above, _TINY)) - np.log(np.maximum(below, _TINY))) / (2 * _NEAR)
    change = (by_above / above[:, None] - by_below / below[:, None]) / (2 * _NEAR)
    return np.hypot(1.0, law.axis_error * slope), slope, change


class Solution(NamedTuple):
    """Where a batch of minimizations ended.

    Attributes:
        theta: Internal parameters, shape (batch, parameters).
        objective: Summed penalties, shape (batch,).
        converged: Which of them met the tolerance, shape (batch,).
    """

    theta: Array
    objective: Array
    converged: Index


class Effort(TypedDict, total=False):
    """How far `minimize` goes: its options by name."""

    max_iter: int
    xtol: float
    ftol: float
    behind: float


def minimize(
    problem: Problem,
    theta: Array,
    weights: Array,
    *,
    max_iter: int = 200,
    xtol: float = 1e-9,
    ftol: float = 1e-14,
    behind: float = np.inf,
) -> Solution:
    """Minimizes from a batch of starting points.

    Args:
        problem: What to minimize.
        theta: Starting points, shape (batch, parameters); moved into the box.
        weights: Weights of the rows, shape (n,), or one set for each of the batch, shape (batch, n).
        max_iter: Most steps.
        xtol: a step shorter than this, relative to one plus the parameter, may end the search ...
        ftol: ... if it also lowers the objective by no more than this, relatively.
        behind: As soon as one of the batch has ended, others whose objective is more than so many times the
            lowest of the ends are given up; default none.

    Returns:
        The end points, in the order of the starts. A start at which the law is not finite stays where it is
        with an infinite objective.
    """
    with np.errstate(all="ignore"):
        return _minimize(problem, theta, weights, max_iter, xtol, ftol, behind)


def _minimize(
    problem: Problem, theta: Array, weights: Array, max_iter: int, xtol: float, ftol: float, behind: float
) -> Solution:
    penalty = problem.estimator
    theta = np.clip(np.asarray(theta, dtype=float), problem.lower, problem.upper)
    batch = len(theta)
    best, best_objective = theta.copy(), np.full(batch, np.inf)
    converged = np.zeros(batch, dtype=bool)

    rows, work = np.arange(batch), _Work.of(problem, weights)
    r, jac = work.residuals(theta)
    objective = work.total(penalty.value(r))
    lam, turned = np.full(batch, _LAM_START), np.zeros(batch, dtype=bool)
    for _ in range(max_iter):
        first, curvature = penalty.bend(r, np.minimum(lam, 1.0)[:, None])
        gradient = np.matmul(jac, work.sums(first)[:, :, None])[:, :, 0]
        hessian = np.matmul(jac * work.sums(curvature)[:, None, :], jac.transpose(0, 2, 1))
        frozen = ((theta <= problem.lower) & (gradient > 0)) | ((theta >= problem.upper) & (gradient < 0))
        if problem.held is not None:
            frozen |= problem.held
        step = damped_step(hessian, gradient, lam, frozen)
        trial = np.minimum(np.maximum(theta + step, problem.lower), problem.upper)
        moved = trial - theta
        r_new, jac_new = work.residuals(trial)
        objective_new = work.total(penalty.value(r_new))
        fall = objective - objective_new
        bent = np.matmul(hessian, moved[:, :, None])[:, :, 0]
        promised = -np.einsum("bp,bp->b", moved, gradient + 0.5 * bent)
        gain = fall / np.maximum(promised, _TINY)
        accepted = fall >= 0
        lam, turned = _damping(lam, gain, accepted, turned), ~accepted
        length = np.abs(moved / (1.0 + np.abs(theta))).max(axis=1)
        # What a clipped step promises may be below zero, which says nothing about what is left.
        floor = _NOTHING_LEFT * np.maximum(objective, _TINY)
        done = accepted & (length < xtol) & (fall <= ftol * objective)
        done |= (np.abs(promised) <= floor) & (lam <= 1.0)
        done |= (lam > _LAM_HIGH) | (length == 0)
        back = np.flatnonzero(~accepted)
        if back.size:
            for old, new in ((theta, trial), (r, r_new), (jac, jac_new), (objective, objective_new)):
                new[back] = old[back]
        theta, r, jac, objective = trial, r_new, jac_new, objective_new
        if done.any():
            best[rows], best_objective[rows] = theta, objective
            converged[rows[done]] = True
            keep = ~done
            if np.isfinite(behind):
                keep &= objective <= behind * best_objective[converged].min()
            if not keep.any():
                return Solution(best, best_objective, converged)
            rows, theta, r, jac = rows[keep], theta[keep], r[keep], jac[keep]
            objective, lam, turned = objective[keep], lam[keep], turned[keep]
            work = work.chosen(keep)
    best[rows], best_objective[rows] = theta, objective
    return Solution(best, best_objective, converged)


class _Work(NamedTuple):
    """What is left to minimize of a batch.

    Attributes:
        problem: The problem of those that are left.
        target: What residuals are differences from, shape (n,) or (batch, n).
        weights: Shape (1, all rows) or (batch, all rows).
        repeats: Which rows are at the same scales; target and weights are in its order then.
        begins: Where the rows of each scale begin, those beside the table last; None without repeats.
        even: Weights of one row of each scale where all have the same, shape (scales,); None elsewhere.
    """

    problem: Problem
    target: Array
    weights: Array
    repeats: Repeats | None = None
    begins: Index | None = None
    even: Array | None = None

    @classmethod
    def of(cls, problem: Problem, weights: Array) -> _Work:
        target, repeats = problem.target, problem.repeats
        if repeats is None or repeats.of is not problem.u:
            return cls(problem, target, np.atleast_2d(weights))
        n, rows = repeats.order.size, weights.shape[-1]
        order = np.append(repeats.order, np.arange(n, rows))
        begins = np.append(repeats.begins, np.arange(n, rows))
        target, weights = np.ascontiguousarray(target[..., repeats.order]), weights[..., order]
        even = None
        if weights.ndim == 1:
            even = weights[begins]
            if (even[repeats.place] != weights[:n]).any():
                even = None
        return cls(problem, target, np.atleast_2d(weights), repeats, begins, even)

    def residuals(self, theta: Array) -> tuple[Array, Array]:
        """Returns residuals of all rows and their derivatives at all scales."""
        if self.repeats is None:
            return self.problem.compared(theta, self.problem.u, self.target)
        return self.problem.compared(theta, self.repeats.scales, self.target, self.repeats.place)

    def sums(self, values: Array) -> Array:
        """Returns the weighted sums of rows at the same scales, shape (batch, scales)."""
        if self.begins is None:
            return self.weights * values
        if self.even is None:
            return np.add.reduceat(self.weights * values, self.begins, axis=1)
        summed: Array = np.add.reduceat(values, self.begins, axis=1)
        summed *= self.even
        return summed

    def total(self, penalties: Array) -> Array:
        """Returns the weighted sums over rows, shape (batch,), infinite where anything is not finite."""
        w = self.weights
        total = penalties @ w[0] if len(w) == 1 else np.einsum("bn,bn->b", penalties, w)
        return np.where(np.isfinite(total), total, np.inf)

    def chosen(self, rows: Index) -> _Work:
        """Returns what is left of some of the batch."""
        return self._replace(
            problem=self.problem.chosen(rows),
            target=self.target if self.target.ndim == 1 else self.target[rows],
            weights=self.weights if len(self.weights) == 1 else self.weights[rows],
        )


def _damping(lam: Array, gain: Array, accepted: Index, turned: Index) -> Array:
    """Returns the damping of the next step; what has just been found too low is approached with care."""
    less = np.where(gain > 0.75, np.where(turned, 0.5, 0.1), np.where(gain > 0.25, 0.5, 2.0))
    return np.maximum(np.where(accepted, lam * less, lam * 6.0), _LAM_LOW)


def stages(estimator: Estimator, residuals: Array) -> Sequence[Estimator]:
    """Returns the penalties through which a fit reaches this one from afar.

    An absolute or narrow Huber penalty has almost no second derivative; solving with a wide one first, and
    then with ever narrower ones, reaches its optimum in few steps. A penalty without a square part ends
    with one of a hundred-millionth of the residuals' size, which is its optimum to that accuracy.

    Args:
        estimator: The penalty to end with.
        residuals: Residuals at the starting point, any shape.
    """
    if not estimator.huberized:
        return [estimator]
    size = float(np.median(np.abs(residuals)))
    narrow = estimator.delta if estimator.kind != "absolute" else max(size * 1e-8, 1e-15)
    out = []
    width = size
    while width > 3.0 * narrow:
        out.append(estimator.smoothed(width))
        width /= 20.0
    return [*out, estimator.smoothed(narrow)]
