"""The power law with an irreducible loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.starts import solve_offset
from scalelab.arrays import Array
from scalelab.law import MAX_EXPONENT, Frame, Law, stack


class PowerOffset(Law):
    """`L(x) = E + A * x^-alpha` (M2 of Alabdulmohsin et al. 2022; Henighan et al. 2020, eq. 1.1).

    Internal parameters: E, log A at the center of the data, alpha. Bounds: E >= 0, alpha in [0, 10]. E enters
    linearly, and as itself, so that a law without irreducible loss (E = 0) is an ordinary point of the box.
    """

    name = "power-offset"
    equation = "L = E + A * x^-alpha"
    paper = (
        "Henighan et al. 2020, Scaling Laws for Autoregressive Generative Modeling, arXiv:2010.14701, eq. 1.1"
    )
    axes = ("x",)
    params = ("E", "A", "alpha")
    exponents = ("alpha",)
    coefficients = ("A",)

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        term = np.exp(theta[:, 1:2] - theta[:, 2:3] * u[0])
        return theta[:, :1] + term, stack([np.ones_like(term), term, -u[0] * term])

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        return np.array([0.0, -50.0, 0.0]), np.array([float(y.max()), 50.0, MAX_EXPONENT])

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        alphas = np.geomspace(0.02, 4.0, 24)
        offset, coefficients = solve_offset(np.exp(-alphas[:, None, None] * u[0]), y)
        return np.stack([offset, np.log(coefficients[:, 0]), alphas], axis=1)

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        scale = frame.y_scale * np.exp(theta[..., 1] + theta[..., 2] * frame.centers[0])
        return np.stack([frame.y_scale * theta[..., 0], scale, theta[..., 2]], axis=-1)

    @override
    def internal(self, params: Array) -> Array:
        return np.stack([params[..., 0], np.log(params[..., 1]), params[..., 2]], axis=-1)
