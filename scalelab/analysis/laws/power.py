"""The power law without an irreducible loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.starts import solve_linear
from scalelab.arrays import Array
from scalelab.law import MAX_EXPONENT, Frame, Law, stack


class Power(Law):
    """`L(x) = A * x^-alpha` (M1 of Alabdulmohsin et al. 2022; Hestness et al. 2017).

    Internal parameters: log A at the center of the data, alpha. Bounds: alpha in [0, 10].
    """

    name = "power"
    equation = "L = A * x^-alpha"
    paper = "Hestness et al. 2017, Deep Learning Scaling is Predictable, Empirically, arXiv:1712.00409"
    axes = ("x",)
    params = ("A", "alpha")
    exponents = ("alpha",)
    coefficients = ("A",)

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        value = np.exp(theta[:, :1] - theta[:, 1:2] * u[0])
        return value, stack([value, -u[0] * value])

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        return np.array([-50.0, 0.0]), np.array([50.0, MAX_EXPONENT])

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        basis = np.stack([np.ones_like(u[0]), -u[0]])[None]
        line = solve_linear(basis, np.log(y))[0]
        # The line of log-log least squares is the optimum up to the choice of the estimator.
        return np.stack([line, [line[0], 0.5 * line[1]], [line[0], 2.0 * line[1]]])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        scale = frame.y_scale * np.exp(theta[..., 0] + theta[..., 1] * frame.centers[0])
        return np.stack([scale, theta[..., 1]], axis=-1)

    @override
    def internal(self, params: Array) -> Array:
        return np.stack([np.log(params[..., 0]), params[..., 1]], axis=-1)
