"""What few runs say of a law, or none: its parameters under weak priors, and their covariance.

A fit of few rows has no covariance that could say which row is missing. Under a proper prior it has one from
the first run on: exponents as in `scalelab.analysis.inference.prior`; the logarithm of what a term adds at
the center of all scales, over the loss, around exp(-1.5); the irreducible loss around 0.6 of it. Each is wide
enough to hold what was published, and a dozen runs outweigh it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scalelab.analysis.fitting.data import Table
from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.solver import Effort, Problem, minimize
from scalelab.analysis.inference.prior import CENTER, WIDTH, Drawn, with_prior
from scalelab.arrays import Array
from scalelab.law import Frame, Law

FLOOR = (0.6, 0.3)
"""Mean and standard deviation of the irreducible loss, over the loss."""
TERM = (-1.5, 1.5)
"""Those of the logarithm of what a term adds at the center of the scales, over the loss."""
OTHER, FAR = 2.0, 60.0
"""The standard deviation of any other parameter, and of a coefficient in units of its own."""
NOISE, NOISE_ROWS = 0.01, 2.0
"""The noise of the log loss before any run is seen, and for how many runs that counts."""

_HUBER, _LOST = 1.5, 1.3
_ROUNDS, _STARTS = 4, 6
_EFFORT: Effort = {"max_iter": 60, "xtol": 1e-6, "ftol": 1e-9}
_TRUST = 20.0
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Belief:
    """A law under weak priors.

    Attributes:
        law: The law.
        frame: The change of units.
        theta: The most probable internal parameters, shape (parameters,).
        center: Their prior means.
        width: Their prior standard deviations.
        noise: Standard deviation of one run around the law, in the space of residuals.
        residuals: Of the rows, prediction minus outcome, shape (n,).
        slopes: Derivatives of the residuals by the parameters, shape (n, parameters).
    """

    law: Law
    frame: Frame
    theta: Array
    center: Array
    width: Array
    noise: float
    residuals: Array
    slopes: Array

    @classmethod
    def of(cls, law: Law, rows: Table, around: tuple[Array, ...], begin: Belief | None = None) -> Belief:
        """Fits a law to rows under its priors; the noise is estimated along.

        Args:
            law: The law, for these axes.
            rows: The rows; there may be none.
            around: All scales that matter, axis by axis: rows, candidates, targets; what units are by.
            begin: The belief before the last rows came, to start from too.
        """
        frame = _frame(law, rows, around)
        center, width = _priors(law, frame, around)
        estimator = Estimator("log-huber" if law.positive else "huber", law.positive, "huber", 1.0)
        y = rows.y if len(rows) else np.ones(around[0].size)
        u = frame.inward(rows.columns if len(rows) else around)
        plain = Problem.of(law, u, y, frame.y_scale, estimator)
        unit = 1.0 if law.positive else frame.y_scale
        noise = NOISE * unit if begin is None else begin.noise
        if not len(rows):
            empty = np.zeros((0, center.size))
            return cls(law, frame, center, center, width, noise, np.zeros(0), empty)
        starts = np.clip(_starts(plain, center, begin), plain.lower, plain.upper)
        weights = np.ones(len(rows) + center.size)
        for _ in range(_ROUNDS):
            problem = _problem(plain, noise, center, width)
            best = np.argsort(problem.objective(starts, weights), kind="stable")[:_STARTS]
            found = minimize(problem, starts[best], weights, **_EFFORT)
            starts = found.theta
            theta = starts[int(np.argmin(found.objective))]
            residuals, jac = plain.residuals(theta[None])
            noise = _noise(residuals[0], jac[0].T, width, noise, NOISE * unit)
        return cls(law, frame, theta, center, width, noise, residuals[0], jac[0].T)

    def slopes_at(self, columns: tuple[Array, ...]) -> Array:
        """Returns the derivatives of predictions, as residuals are, shape (points, parameters)."""
        value, jac = self.law.value_jac(self.theta[None], self.frame.inward(columns))
        out: Array = jac[0].T
        return out / np.maximum(value[0], _TINY)[:, None] if self.law.positive else out * self.frame.y_scale

    def scores_at(self, columns: tuple[Array, ...]) -> Array:
        """Returns predictions in the space of residuals, shape (points,)."""
        value: Array = self.law.value_jac(self.theta[None], self.frame.inward(columns))[0][0]
        value = value * self.frame.y_scale
        return np.log(np.maximum(value, _TINY)) if self.law.positive else value

    def values_at(self, columns: tuple[Array, ...]) -> Array:
        """Returns predicted outcomes, shape (points,)."""
        scores = self.scores_at(columns)
        return np.exp(scores) if self.law.positive else scores


def weighed(first: Belief, others: list[Belief], n: int) -> dict[Belief, float]:
    """Returns other forms with weights, by how well they follow the runs: tempered likelihoods.

    Many rows are never so many witnesses of one form, for the errors of all forms are alike.
    """
    spread = np.array([first.noise, *(other.noise for other in others)])
    raw = (spread / spread.min()) ** -min(float(n), _TRUST)
    return dict(zip(others, (raw / raw.sum())[1:].tolist(), strict=True))


def _frame(law: Law, rows: Table, around: tuple[Array, ...]) -> Frame:
    size = np.abs(rows.y)
    y_scale = 1.0
    if len(rows):
        y_scale = float(np.exp(np.mean(np.log(size)))) if law.positive else float(np.mean(size)) or 1.0
    frame = Frame.of(around, np.ones(around[0].size), log_axes=law.log_axes)
    return law.frame(Frame(frame.centers, frame.units, y_scale, frame.log_axes))


def _priors(law: Law, frame: Frame, around: tuple[Array, ...]) -> tuple[Array, Array]:
    """Returns means and standard deviations of the internal parameters."""
    u = frame.inward(around)
    centered = all(abs(float(column.mean())) < 1.0 for column in u)
    with np.errstate(all="ignore"):
        nodes = law.starts(u, np.geomspace(2.0, 0.5, u[0].size))
    usual = np.nanmedian(np.where(np.isfinite(nodes), nodes, np.nan), axis=0)
    center, width = usual, np.full(usual.size, OTHER)
    for index, name in enumerate(law.params):
        if name in law.exponents:
            center[index], width[index] = CENTER, WIDTH
        elif name == law.irreducible:
            center[index], width[index] = FLOOR if law.positive else (0.0, OTHER)
        elif name in law.coefficients:
            center[index], width[index] = TERM if centered else (usual[index], FAR)
    return center, width


def _starts(plain: Problem, center: Array, begin: Belief | None) -> Array:
    """Returns where to begin: the law's own starts, what was believed, and the priors."""
    own = np.zeros((0, center.size))
    if plain.y.size > 1:
        with np.errstate(all="ignore"):
            own = plain.law.starts(plain.u, plain.y)
        own = own[np.isfinite(own).all(axis=1)]
    before = [] if begin is None else [begin.theta[None]]
    return np.concatenate([*before, center[None], own])


def _problem(plain: Problem, noise: float, center: Array, width: Array) -> Drawn:
    estimator = plain.estimator.smoothed(_HUBER * noise)
    whole = Problem(plain.law, plain.u, plain.y, plain.y_scale, estimator, plain.lower, plain.upper)
    return with_prior(whole, noise, np.arange(center.size), center, width)


def _noise(residuals: Array, slopes: Array, width: Array, noise: float, first: float) -> float:
    """Returns the noise that residuals show, those beyond the Huber bound counted as at it."""
    weights = np.minimum(1.0, _HUBER * noise / np.maximum(np.abs(residuals), _TINY))
    prior = np.diag(width**-2.0)
    precision = slopes.T @ (slopes * weights[:, None]) / noise**2 + prior
    spent = width.size - float(np.trace(np.linalg.solve(precision, prior)))
    squares = _LOST * float(np.sum(weights * residuals**2))
    free = max(residuals.size - spent, 0.0)
    return float(np.sqrt((NOISE_ROWS * first**2 + squares) / (NOISE_ROWS + free)))
