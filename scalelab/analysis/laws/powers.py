"""Sums of power laws: what `power`, `power-offset` and `chinchilla` have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.starts import mesh, solve_offset
from scalelab.arrays import Array
from scalelab.law import MAX_EXPONENT, Frame, Law


class SumOfPowers(Law):
    """`L = E + sum_i A_i * x_i^-alpha_i`, with an irreducible loss E or without.

    Internal parameters: E (enters as itself, so that a law without irreducible loss is an ordinary point of
    the box), every log A_i at the center of the data, every alpha_i. Bounds: E >= 0, alpha_i in [0, 10].

    Class attributes:
        rates: Values of each alpha_i to start from.
    """

    rates: ClassVar[Array]

    @property
    def _parts(self) -> tuple[int, int]:
        """How many parameters stand before the coefficients, and before the exponents."""
        first = 0 if self.irreducible is None else 1
        return first, first + len(self.axes)

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        first, middle = self._parts
        terms = [
            np.exp(theta[:, first + i, None] - theta[:, middle + i, None] * column)
            for i, column in enumerate(u)
        ]
        jac = np.empty((len(theta), theta.shape[1], terms[0].shape[1]))
        jac[:, :first] = 1.0
        for i, (term, column) in enumerate(zip(terms, u, strict=True)):
            jac[:, first + i] = term
            np.multiply(term, -column, out=jac[:, middle + i])
        value = theta[:, :1] + terms[0] if first else terms[0]
        for term in terms[1:]:
            value = value + term
        return value, jac

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        first, k = self._parts[0], len(self.axes)
        lower = [0.0] * first + [-50.0] * k + [0.0] * k
        upper = [float(y.max())] * first + [50.0] * k + [MAX_EXPONENT] * k
        return np.array(lower), np.array(upper)

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        nodes = mesh(*[self.rates] * len(u))
        offset, coefficients = solve_offset(np.exp(-nodes[:, :, None] * np.stack(u)), y)
        return np.column_stack([offset, np.log(coefficients), nodes])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        first, middle = self._parts
        exponents = theta[..., middle:]
        heights = np.exp(theta[..., first:middle] + exponents * np.array(frame.centers))
        parts = [frame.y_scale * theta[..., :first], frame.y_scale * heights, exponents]
        return np.concatenate(parts, axis=-1)

    @override
    def internal(self, params: Array) -> Array:
        first, middle = self._parts
        parts = [params[..., :first], np.log(params[..., first:middle]), params[..., middle:]]
        return np.concatenate(parts, axis=-1)
