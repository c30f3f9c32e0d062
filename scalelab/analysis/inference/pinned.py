"""Problems in which a quantity is pulled to a value: for `scalelab.analysis.inference.profile`.

Most quantities (an exponent, the logarithm of a coefficient, the irreducible loss of a sum of powers) are
straight in the internal parameters: what they are and how they move follows from one set of slopes. Only the
others are evaluated, with differences by every parameter, in each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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
    def residuals(self, theta: Array, rows: Index | None = None) -> tuple[Array, Array]:
        r, jac = super().residuals(theta, rows)
        which, targets, units = self.which, self.targets, self.units
        if rows is not None:
            which, targets, units = which[rows], targets[rows], units[rows]
        slopes = self.tangents.slopes[which]
        values = self.tangents.at_zero[which] + np.einsum("bp,bp->b", theta, slopes)
        bent = np.flatnonzero(~self.tangents.straight[which])
        if bent.size:
            values[bent], slopes[bent] = self._bent(theta[bent], which[bent])
        out = np.empty((len(theta), r.shape[1] + 1)), np.empty((*jac.shape[:2], jac.shape[2] + 1))
        out[0][:, :-1], out[0][:, -1] = r, (values - targets) / units
        out[1][:, :, :-1], out[1][:, :, -1] = jac, slopes / units[:, None]
        return out

    def _bent(self, theta: Array, which: Index) -> tuple[Array, Array]:
        """Returns values (batch,) and derivatives (batch, parameters) of quantities that are not straight."""
        size = theta.shape[1]
        moves = _STEP * np.concatenate([np.zeros((1, size)), np.eye(size), -np.eye(size)])
        around = Draws(self.law, self.frame, (theta[:, None, :] + moves).reshape(-1, size))
        values = self.tangents.evaluated(around, np.repeat(which, len(moves))).reshape(len(theta), -1)
        return values[:, 0], (values[:, 1 : 1 + size] - values[:, 1 + size :]) / (2 * _STEP)
