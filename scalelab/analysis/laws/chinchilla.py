"""The law of model size and data of Hoffmann et al."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.starts import mesh, solve_offset
from scalelab.arrays import Array
from scalelab.law import MAX_EXPONENT, Frame, Law


class Chinchilla(Law):
    """`L(N, D) = E + A * N^-alpha + B * D^-beta` (Hoffmann et al. 2022, eq. 2; Besiroglu et al. 2024).

    Internal parameters: E, log A, log B (each at the center of the data), alpha, beta. Bounds: E >= 0, both
    exponents in [0, 10].
    """

    name = "chinchilla"
    equation = "L = E + A * N^-alpha + B * D^-beta"
    paper = "Hoffmann et al. 2022, Training Compute-Optimal Large Language Models, arXiv:2203.15556, eq. 2"
    axes = ("n_params", "n_examples")
    params = ("E", "A", "B", "alpha", "beta")
    exponents = ("alpha", "beta")
    coefficients = ("A", "B")

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        size = np.exp(theta[:, 1:2] - theta[:, 3:4] * u[0])
        data = np.exp(theta[:, 2:3] - theta[:, 4:5] * u[1])
        jac = np.empty((theta.shape[0], 5, u[0].size))
        jac[:, 0], jac[:, 1], jac[:, 2] = 1.0, size, data
        np.multiply(size, -u[0], out=jac[:, 3])
        np.multiply(data, -u[1], out=jac[:, 4])
        return theta[:, :1] + size + data, jac

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        top = float(y.max())
        return np.array([0.0, -50.0, -50.0, 0.0, 0.0]), np.array(
            [top, 50.0, 50.0, MAX_EXPONENT, MAX_EXPONENT]
        )

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        nodes = mesh(np.geomspace(0.05, 2.5, 9), np.geomspace(0.05, 2.5, 9))
        terms = np.exp(-nodes[:, :, None] * np.stack([u[0], u[1]])[None])
        offset, coefficients = solve_offset(terms, y)
        return np.column_stack([offset, np.log(coefficients), nodes])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        scale, center = frame.y_scale, frame.centers
        size = scale * np.exp(theta[..., 1] + theta[..., 3] * center[0])
        data = scale * np.exp(theta[..., 2] + theta[..., 4] * center[1])
        return np.stack([scale * theta[..., 0], size, data, theta[..., 3], theta[..., 4]], axis=-1)

    @override
    def internal(self, params: Array) -> Array:
        out = [params[..., 0], np.log(params[..., 1]), np.log(params[..., 2]), params[..., 3], params[..., 4]]
        return np.stack(out, axis=-1)
