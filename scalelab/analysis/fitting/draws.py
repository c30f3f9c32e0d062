"""Many parameter vectors of one fit, and quantities that follow from them.

A *quantity* is the name of a parameter, or a function that takes `Draws` and returns one number a
draw; whatever has an interval here (bootstrap, covariance, profile) works on quantities, so that a derived
number such as the optimal size at a budget is no harder than a parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalelab.arrays import Array
from scalelab.errors import FitError, suggest
from scalelab.law import Frame, Law

if TYPE_CHECKING:
    from scalelab.analysis.fits.fit import Fit


@dataclass(frozen=True, eq=False)
class Draws:
    """Parameter vectors of a law.

    Attributes:
        law: The law.
        frame: The change of units of the fit that they vary.
        theta: Internal parameters, shape (draws, parameters).
    """

    law: Law
    frame: Frame
    theta: Array

    def __len__(self) -> int:
        return len(self.theta)

    @property
    def params(self) -> dict[str, Array]:
        """Public parameters by name, each of shape (draws,)."""
        with np.errstate(over="ignore"):
            public = self.law.public(self.theta, self.frame)
        return {name: public[:, i] for i, name in enumerate(self.law.params)}

    def at(self, u: tuple[Array, ...]) -> Array:
        """Returns predictions at scales in internal coordinates, shape (draws, n)."""
        return self.law.value_jac(self.theta, u)[0] * self.frame.y_scale


Quantity = str | Callable[[Draws], Array]


def evaluate(quantity: Quantity, draws: Draws) -> Array:
    """Returns a quantity for each draw, shape (draws,).

    Raises:
        FitError: The law has no parameter of that name.
    """
    if callable(quantity):
        return np.asarray(quantity(draws), dtype=float)
    if quantity not in draws.law.params:
        names = ", ".join(draws.law.params)
        raise FitError(
            f"law {draws.law.name!r} has no parameter {quantity!r}"
            f"{suggest(quantity, draws.law.params)}: {names}"
        )
    return draws.params[quantity]


def estimate(fit: Fit, quantity: Quantity) -> float:
    """Returns a quantity at the optimum of a fit."""
    return float(evaluate(quantity, Draws(fit.law, fit.frame, fit.theta[None]))[0])


def gradient(fit: Fit, quantity: Quantity, theta: Array | None = None) -> Array:
    """Returns the derivative of a quantity by the internal parameters, shape (parameters,).

    Central differences: internal parameters are of order one, so that one step fits all.
    """
    at = fit.theta if theta is None else theta
    size = at.size
    step = 1e-5 * np.eye(size)
    values = evaluate(quantity, Draws(fit.law, fit.frame, np.concatenate([at + step, at - step])))
    return (values[:size] - values[size:]) / 2e-5
