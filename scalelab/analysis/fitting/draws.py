"""Many parameter vectors of one fit, and quantities that follow from them.

A *quantity* is the name of a parameter, or a function that takes `Draws` and returns one number a
draw; whatever has an interval here (bootstrap, covariance, profile) works on quantities, so that a derived
number such as the optimal size at a budget is no harder than a parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scalelab.arrays import Array
from scalelab.errors import FitError, suggest
from scalelab.law import Frame, Law


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
