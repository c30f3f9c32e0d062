"""Problems in which a quantity is pulled to a value: for `scalelab.analysis.inference.profile`.

Most quantities (an exponent, the logarithm of a coefficient, the irreducible loss of a sum of powers) are
straight in the internal parameters: what they are and how they move follows from one set of slopes. Only the
others are evaluated, with differences by every parameter, in each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import NamedTuple, Self

import numpy as np
from typing_extensions import override

from scalelab.analysis.fitting.draws import Draws, Quantity, evaluate
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.fitting.solver import Problem
from scalelab.arrays import Array, Index
from scalelab.law import Frame

_STEP = 1e-5
_PROBES, _FAR, _STRAIGHT = 16, 10.0, 1e-11


class Tangents(NamedTuple):
    """Some quantities of a fit, and which of them are straight in its internal parameters.

    Attributes:
        quantities: The quantities.
        straight: Which are straight, shape (quantities,).
        at_zero: Their values where all parameters are zero, shape (quantities,); 0 of the others.
        slopes: Their derivatives, shape (quantities, parameters); 0 of the others.
    """

    quantities: tuple[Quantity, ...]
    straight: Index
    at_zero: Array
    slopes: Array

    @classmethod
    def of(cls, fit: Point, quantities: Sequence[Quantity]) -> Tangents:
        """Returns the quantities of a fit; straight is what is so at points all over the law's box."""
        size, problem = fit.theta.size, fit.problem
        low, high = np.maximum(problem.lower, fit.theta - _FAR), np.minimum(problem.upper, fit.theta + _FAR)
        probes = low + (high - low) * np.random.default_rng(0).random((_PROBES, size))
        moved = np.concatenate([fit.theta[None], fit.theta + np.eye(size), probes])
        found = cls(
            tuple(quantities), np.zeros(len(quantities), dtype=bool), np.zeros(len(quantities)),
            np.zeros((len(quantities), size)),
        )  # fmt: skip
        with np.errstate(all="ignore"):
            for number, quantity in enumerate(quantities):
                values = evaluate(quantity, fit.draws(moved))
                slopes = values[1 : 1 + size] - values[0]
                at_zero = values[0] - slopes @ fit.theta
                off = np.abs(values[1 + size :] - at_zero - probes @ slopes)
                if (off <= _STRAIGHT * (1.0 + np.abs(values).max())).all():
                    found.straight[number] = True
                    found.at_zero[number], found.slopes[number] = at_zero, slopes
        return found

    def evaluated(self, draws: Draws, which: Index) -> Array:
        """Returns for each parameter vector the value of its own quantity, shape (batch,)."""
        if not which.size or (which == which[0]).all():
            return evaluate(self.quantities[which[0]], draws) if which.size else np.empty(0)
        values = np.empty(len(draws))
        for number in np.unique(which):
            own = which == number
            values[own] = evaluate(self.quantities[number], Draws(draws.law, draws.frame, draws.theta[own]))
        return values


_NONE = Tangents((), np.zeros(0, dtype=bool), np.zeros(0), np.zeros((0, 0)))


@dataclass(frozen=True, eq=False)
class Pinned(Problem):
    """A problem with one more row, a spring that pulls a quantity to a value for each of the batch.

    The row's residual is kept small, so that every penalty treats it as a square; its weight makes up for
    that.

    Attributes:
        frame: The change of units, for the quantities.
        tangents: What may be pinned.
        which: Which of them is, shape (batch,).
        targets: To which values, shape (batch,).
        units: What the distance to the target is divided by, shape (batch,).
    """

    frame: Frame = field(default_factory=lambda: Frame.identity(0))
    tangents: Tangents = field(default_factory=lambda: _NONE)
    which: Index = field(default_factory=lambda: np.zeros(0, dtype=int))
    targets: Array = field(default_factory=lambda: np.zeros(0))
    units: Array = field(default_factory=lambda: np.zeros(0))

    @override
    def chosen(self, rows: Index) -> Self:
        which, targets, units = self.which[rows], self.targets[rows], self.units[rows]
        return replace(super().chosen(rows), which=which, targets=targets, units=units)

    @override
    def compared(
        self, theta: Array, u: tuple[Array, ...], target: Array, place: Index | None = None
    ) -> tuple[Array, Array]:
        r, jac = super().compared(theta, u, target, place)
        at_zero, slopes, bent = self._own
        values = at_zero + np.einsum("bp,bp->b", theta, slopes)
        if bent.size:
            slopes = slopes.copy()
            values[bent], slopes[bent] = self._bent(theta[bent], self.which[bent])
        out = np.empty((len(theta), r.shape[1] + 1)), np.empty((*jac.shape[:2], jac.shape[2] + 1))
        out[0][:, :-1], out[0][:, -1] = r, (values - self.targets) / self.units
        out[1][:, :, :-1], out[1][:, :, -1] = jac, slopes / self.units[:, None]
        return out

    @cached_property
    def _own(self) -> tuple[Array, Array, Index]:
        """Values at zero and slopes of what is pinned for each of the batch, and where it is not straight."""
        found, which = self.tangents, self.which
        return found.at_zero[which], found.slopes[which], np.flatnonzero(~found.straight[which])

    def _bent(self, theta: Array, which: Index) -> tuple[Array, Array]:
        """Returns values (batch,) and derivatives (batch, parameters) of quantities that are not straight."""
        size = theta.shape[1]
        moves = _moves(size)
        around = Draws(self.law, self.frame, (theta[:, None, :] + moves).reshape(-1, size))
        values = self.tangents.evaluated(around, which.repeat(len(moves))).reshape(len(theta), -1)
        return values[:, 0], (values[:, 1 : 1 + size] - values[:, 1 + size :]) / (2 * _STEP)


@cache
def _moves(size: int) -> Array:
    """Returns no step, and steps up and then down along each parameter, (1 + 2 * parameters, parameters)."""
    return _STEP * np.concatenate([np.zeros((1, size)), np.eye(size), -np.eye(size)])
