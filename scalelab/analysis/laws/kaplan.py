"""The law of model size and data of Kaplan et al., as it is and with an irreducible loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit
from typing_extensions import override

from scalelab.analysis.laws.powers import split_powers
from scalelab.analysis.laws.starts import mesh, solve_root
from scalelab.arrays import Array
from scalelab.law import Frame, Law, stack

_LEAST, _MOST = 1e-3, 5.0
_RATES = np.geomspace(0.02, 2.0, 9)
_FLOORS = (0.0, 0.4, 0.7, 0.9, 0.98)


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
    params: tuple[str, ...] = ("N_c", "D_c", "alpha_N", "alpha_D")
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
        share = expit(size - data)
        by_exponent = joint - share * size - (1.0 - share) * (data + u[1])
        rows = [share, 1.0 - share, -u[0] * share, by_exponent]
        return value, stack([value * row for row in rows])

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        return np.array([-50.0, -50.0, _LEAST, _LEAST]), np.array([50.0, 50.0, _MOST, _MOST])

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        nodes = mesh(_RATES, _RATES)
        return _starts(nodes, np.zeros(len(nodes)), u, y)

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

    @override
    def optimal_split(self, theta: Array, frame: Frame) -> tuple[Array, Array]:
        # The loss rises with the sum in the brackets, whose exponents are alpha_N/alpha_D and one.
        return split_powers(theta / theta[:, 3:], frame)


class KaplanOffset(Kaplan):
    """`L(N, D) = E + ((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D`: `kaplan` that ends at an irreducible loss.

    Kaplan et al. 2020 left E out because their losses were far above it, and expected the law to level off
    (section 6.3). Internal parameters: E, then those of `kaplan`. Bounds: E >= 0, the others as there.

    >>> import scalelab
    >>> grid = [(n, d) for n in (1e6, 1e7, 1e8, 1e9) for d in (1e8, 1e9, 1e10)]
    >>> x = {"n_params": [n for n, _ in grid], "n_examples": [d for _, d in grid]}
    >>> y = [1.5 + ((8e8 / n) ** (0.3 / 0.4) + 5e9 / d) ** 0.4 for n, d in grid]
    >>> fit = scalelab.fit_law("kaplan-offset", x, y)
    >>> [f"{name} = {value:.3g}" for name, value in fit.params.items()]
    ['E = 1.5', 'N_c = 8e+08', 'D_c = 5e+09', 'alpha_N = 0.3', 'alpha_D = 0.4']
    """

    name = "kaplan-offset"
    equation = "L = E + ((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D"
    paper = (
        "Kaplan et al. 2020, Scaling Laws for Neural Language Models, arXiv:2001.08361, eq. 1.5, "
        "with an irreducible loss"
    )
    params = ("E", "N_c", "D_c", "alpha_N", "alpha_D")
    irreducible = "E"

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        value, jac = super().value_jac(theta[:, 1:], u)
        return theta[:, :1] + value, np.concatenate([np.ones_like(jac[:, :1]), jac], axis=1)

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        lower, upper = super().bounds(u, y)
        return np.append(0.0, lower), np.append(float(y.max()), upper)

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        nodes = mesh(_FLOORS, _RATES, _RATES)
        offset = nodes[:, 0] * y.min()
        return np.column_stack([offset, _starts(nodes[:, 1:], offset, u, y)])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        return np.concatenate(
            [frame.y_scale * theta[..., :1], super().public(theta[..., 1:], frame)], axis=-1
        )

    @override
    def internal(self, params: Array) -> Array:
        return np.concatenate([params[..., :1], super().internal(params[..., 1:])], axis=-1)

    @override
    def optimal_split(self, theta: Array, frame: Frame) -> tuple[Array, Array]:
        return super().optimal_split(theta[:, 1:], frame)


def _starts(nodes: Array, offset: Array, u: Sequence[Array], y: Array) -> Array:
    """Returns starts of `kaplan` for exponents `nodes`, shape (nodes, 2), above offsets, shape (nodes,)."""
    by_n, by_d = nodes[:, :1], nodes[:, 1:]
    powers = np.stack(np.broadcast_arrays(-by_n / by_d * u[0], -u[1]), axis=1)
    return np.column_stack([solve_root(powers, by_d[:, 0], offset, y) * by_d, nodes])
