"""Weak priors for few rows: exponents are drawn toward what scaling laws usually have.

Of few rows a form of five parameters follows the noise, and ends at exponents that no law was seen to have.
An exponent is taken as normal around 0.4 with a standard deviation of 0.3, which holds nearly all that were
published (those of Hestness et al. 2017, Kaplan et al. 2020 and Hoffmann et al. 2022 lie between 0.05 and
0.5). A prior is one more residual for each, in units of the noise: where rows say more than noise does, it
says next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from typing_extensions import override

from scalelab.analysis.fitting.draws import Draws
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.fitting.solver import Effort, Problem, minimize
from scalelab.analysis.inference.simulator import simulator
from scalelab.arrays import Array, Index

CENTER, WIDTH = 0.4, 0.3
"""Mean and standard deviation of an exponent, before any row is seen."""

ROUGH: Effort = {"max_iter": 40, "xtol": 1e-4, "ftol": 1e-6}
"""To what the fits that predict, here and in the backtests, are minimized: far below their errors."""

P = TypeVar("P", bound=Point)


@dataclass(frozen=True, eq=False)
class Drawn(Problem):
    """A problem with one more residual for each parameter that has a prior; so have its weights.

    Attributes:
        which: Which parameters have one, by default the exponents, shape (priors,).
        center: Their means, shape (priors,).
        width: Their standard deviations, shape (priors,).
        noise: Standard deviation of the other residuals.
    """

    which: Index = field(default_factory=lambda: np.zeros(0, dtype=int))
    center: Array = field(default_factory=lambda: np.full(1, CENTER))
    width: Array = field(default_factory=lambda: np.full(1, WIDTH))
    noise: float = 0.0

    @override
    def compared(
        self, theta: Array, u: tuple[Array, ...], target: Array, place: Index | None = None
    ) -> tuple[Array, Array]:
        r, jac = super().compared(theta, u, target, place)
        unit = self.noise / self.width
        slopes = np.zeros((*theta.shape, self.which.size))
        slopes[:, self.which, np.arange(self.which.size)] = unit
        off = unit * (theta[:, self.which] - self.center)
        return np.concatenate([r, off], axis=1), np.concatenate([jac, slopes], axis=2)

    def weights(self, weights: Array) -> Array:
        """Returns weights of rows, shape (..., n), with those of the priors after them."""
        return np.concatenate([weights, np.ones((*weights.shape[:-1], self.which.size))], axis=-1)


def drawn(problem: Problem, noise: float) -> Drawn:
    """Returns a problem whose exponents are drawn toward the usual ones, given the noise of its rows."""
    law = problem.law
    which = np.array([law.params.index(name) for name in law.exponents], dtype=int)
    return with_prior(problem, noise, which, np.full(which.size, CENTER), np.full(which.size, WIDTH))


def with_prior(problem: Problem, noise: float, which: Index, center: Array, width: Array) -> Drawn:
    """Returns a problem some of whose parameters have a normal prior, see `Drawn`."""
    names = ("law", "u", "y", "y_scale", "estimator", "lower", "upper", "held", "repeats")
    own = {name: getattr(problem, name) for name in names}
    return Drawn(**own, which=which, center=center, width=width, noise=noise)


def shrunk(fit: P, noise: float) -> P:
    """Returns the fit with its exponents drawn toward the usual ones, given the noise of its rows."""
    problem = drawn(fit.problem, noise)
    usual = fit.theta.copy()
    usual[problem.which] = np.clip(CENTER, problem.lower, problem.upper)[problem.which]
    starts = np.stack([fit.theta, 0.5 * (fit.theta + usual)])
    weights = problem.weights(fit.table.weights)
    found = minimize(problem, starts, weights, **ROUGH)
    theta = found.theta[int(np.argmin(found.objective))]
    params = {name: float(own[0]) for name, own in Draws(fit.law, fit.frame, theta[None]).params.items()}
    weak = replace(fit, theta=theta, params=params)
    # The rows have the noise that they have, whatever is believed of the law.
    weak.keep("simulator", lambda: simulator(fit))
    return weak
