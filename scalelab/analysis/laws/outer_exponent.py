"""Chinchilla's two terms under a common outer exponent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit
from typing_extensions import override

from scalelab.analysis.laws.powers import split_powers
from scalelab.analysis.laws.starts import mesh, solve_root
from scalelab.arrays import Array
from scalelab.law import MAX_EXPONENT, Frame, Law, stack


class OuterExponent(Law):
    """`L(N, D) = E + (A * N^-alpha + B * D^-beta)^gamma` (Busbridge et al. 2025).

    With gamma = 1 it is `chinchilla`, with `beta = 1` `kaplan-offset`: gamma says how sharply the loss turns
    from being limited by one axis to being limited by the other, and it is the rows near that turn that tell.

    Internal parameters: E, the log of what each term alone would add at the center of the data (gamma log A,
    gamma log B), the exponents that each axis alone would show (gamma alpha, gamma beta), log gamma. Bounds:
    E >= 0, those exponents in [0, 10], gamma in [0.05, 20].

    >>> import scalelab
    >>> grid = [(n, d) for n in (1e7, 1e8, 1e9, 1e10) for d in (1e9, 1e10, 1e11)]
    >>> x = {"n_params": [n for n, _ in grid], "n_examples": [d for _, d in grid]}
    >>> y = [1.8 + (2200 * n**-0.5 + 9800 * d**-0.5) ** 0.6 for n, d in grid]
    >>> fit = scalelab.fit_law("outer-exponent", x, y)
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'E': 1.8, 'A': 2200.0, 'B': 9800.0, 'alpha': 0.5, 'beta': 0.5, 'gamma': 0.6}
    """

    name = "outer-exponent"
    equation = "L = E + (A * N^-alpha + B * D^-beta)^gamma"
    paper = "Busbridge et al. 2025, Distillation Scaling Laws, arXiv:2502.08606"
    n_starts = 24
    axes = ("n_params", "n_examples")
    params = ("E", "A", "B", "alpha", "beta", "gamma")
    exponents = ("alpha", "beta")
    coefficients = ("A", "B", "gamma")
    irreducible = "E"
    in_auto = True

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        gamma = np.exp(theta[:, 5:6])
        size = (theta[:, 1:2] - theta[:, 3:4] * u[0]) / gamma
        data = (theta[:, 2:3] - theta[:, 4:5] * u[1]) / gamma
        joint = np.logaddexp(size, data)
        term = np.exp(gamma * joint)
        share = expit(size - data)
        mixing = gamma * (joint - share * size - (1.0 - share) * data)
        rows = [share, 1.0 - share, -u[0] * share, -u[1] * (1.0 - share), mixing]
        return theta[:, :1] + term, stack([np.ones_like(term), *(term * row for row in rows)])

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        lower = [0.0, -50.0, -50.0, 0.0, 0.0, np.log(0.05)]
        upper = [float(y.max()), 50.0, 50.0, MAX_EXPONENT, MAX_EXPONENT, np.log(20.0)]
        return np.array(lower), np.array(upper)

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        rates = np.geomspace(0.05, 2.0, 7)
        nodes = mesh([0.0, 0.4, 0.7, 0.9, 0.98], rates, rates, [0.3, 0.6, 1.0, 2.0])
        offset, by_n, by_d, gamma = nodes[:, 0] * y.min(), nodes[:, 1:2], nodes[:, 2:3], nodes[:, 3]
        powers = np.stack([-by_n * u[0], -by_d * u[1]], axis=1) / gamma[:, None, None]
        levels = solve_root(powers, gamma, offset, y) * gamma[:, None]
        return np.column_stack([offset, levels, nodes[:, 1:3], np.log(gamma)])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        gamma = np.exp(theta[..., 5:])
        rates = theta[..., 3:5]
        levels = theta[..., 1:3] + rates * np.array(frame.centers) + np.log(frame.y_scale)
        parts = [frame.y_scale * theta[..., :1], np.exp(levels / gamma), rates / gamma, gamma]
        return np.concatenate(parts, axis=-1)

    @override
    def internal(self, params: Array) -> Array:
        gamma = params[..., 5:]
        parts = [params[..., :1], gamma * np.log(params[..., 1:3]), gamma * params[..., 3:5], np.log(gamma)]
        return np.concatenate(parts, axis=-1)

    @override
    def optimal_split(self, theta: Array, frame: Frame) -> tuple[Array, Array]:
        # The loss rises with the sum in the brackets, so that its optimum is that of the sum.
        return split_powers(theta[:, 1:5] / np.exp(theta[:, 5:]), frame)
