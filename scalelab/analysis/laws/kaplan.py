"""The law of model size and data of Kaplan et al."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.starts import mesh, solve_linear
from scalelab.arrays import Array
from scalelab.law import Frame, Law, sigmoid, stack

_LEAST, _MOST = 1e-3, 5.0
_STEEP = 100.0


class Kaplan(Law):
    """`L(N, D) = ((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D` (Kaplan et al. 2020, eq. 1.5).

    Internal parameters: log of the loss at the center that each term alone would give (a for N, b for D),
    alpha_N, alpha_D. Bounds: both exponents in [0.001, 5].

    >>> import scalelab
    >>> grid = [(n, d) for n in (1e6, 1e7, 1e8, 1e9) for d in (1e8, 1e9, 1e10)]
    >>> x = {"n_params": [n for n, _ in grid], "n_examples": [d for _, d in grid]}
    >>> y = [((8e13 / n) ** (0.08 / 0.1) + 5e13 / d) ** 0.1 for n, d in grid]
    >>> fit = scalelab.fit_law("kaplan", x, y)
    >>> [f"{name} = {value:.3g}" for name, value in fit.params.items()]
    ['N_c = 8e+13', 'D_c = 5e+13', 'alpha_N = 0.08', 'alpha_D = 0.1']
    """

    name = "kaplan"
    equation = "L = ((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D"
    paper = "Kaplan et al. 2020, Scaling Laws for Neural Language Models, arXiv:2001.08361, eq. 1.5"
    n_starts = 24
    axes = ("n_params", "n_examples")
    params = ("N_c", "D_c", "alpha_N", "alpha_D")
    exponents = ("alpha_N", "alpha_D")
    coefficients = ("N_c", "D_c")
    in_auto = True

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        by_n, by_d = theta[:, 2:3], theta[:, 3:4]
        size = (theta[:, :1] - by_n * u[0]) / by_d
        data = theta[:, 1:2] / by_d - u[1]
        joint = np.logaddexp(size, data)
        value = np.exp(by_d * joint)
        share = sigmoid(size - data)
        by_exponent = joint - share * size - (1.0 - share) * (data + u[1])
        rows = [share, 1.0 - share, -u[0] * share, by_exponent]
        return value, stack([value * row for row in rows])

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        return np.array([-50.0, -50.0, _LEAST, _LEAST]), np.array([50.0, 50.0, _MOST, _MOST])

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        nodes = mesh(np.geomspace(0.02, 2.0, 9), np.geomspace(0.02, 2.0, 9))
        by_n, by_d = nodes[:, :1], nodes[:, 1:]
        # Relative errors of the root count, so that the largest losses do not decide alone.
        root = np.log(y) / by_d
        powers = np.stack([-by_n * u[0] / by_d - root, -u[1] - root], axis=1)
        terms = np.exp(np.clip(powers, -_STEEP, _STEEP))
        coefficients = solve_linear(terms, np.ones_like(root))
        # A term that came out negative starts at a tenth of the other, which is small but can still grow.
        least = 0.1 * np.abs(coefficients).max(axis=1, keepdims=True) + 1e-12
        return np.column_stack([np.log(np.maximum(coefficients, least)) * by_d, nodes])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        unit = np.log(frame.y_scale)
        by_n, by_d = theta[..., 2], theta[..., 3]
        size = np.exp((theta[..., 0] + unit) / by_n + frame.centers[0])
        data = np.exp((theta[..., 1] + unit) / by_d + frame.centers[1])
        return np.stack([size, data, by_n, by_d], axis=-1)

    @override
    def internal(self, params: Array) -> Array:
        by_n, by_d = params[..., 2], params[..., 3]
        return np.stack([by_n * np.log(params[..., 0]), by_d * np.log(params[..., 1]), by_n, by_d], axis=-1)
