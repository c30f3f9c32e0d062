"""A law whose data exponent depends on model size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.starts import mesh, solve_offset
from scalelab.arrays import Array
from scalelab.law import MAX_EXPONENT, Frame, Law, stack

_TURN = 1.0


class Interaction(Law):
    """`L(N, D) = E + A * N^-alpha + B * N^c * D^-(beta + kappa * log N)`: data are worth more to some sizes.

    The factor and the exponent of the data term depend on N, as they do in Farseer (Li et al. 2025), which
    spends nine parameters on that; here the logarithm of the term has one product of log N and log D beside
    the straight lines, which is what every smooth dependence is near the data, and stays the same law in any
    units. With c = kappa = 0 it is `chinchilla`. Far beyond the data the exponent may change its sign:
    beta and c are what holds at N = 1 and D = 1, so look at `beta + kappa * log N` at the sizes you mean.

    Internal parameters: E, log A, log B, alpha, beta, c, kappa, all at the center of the data. Bounds: E >=
    0, alpha and the central beta in [0, 10], the central c in [-10, 10], kappa in [-1, 1].

    >>> import scalelab
    >>> grid = [(n, d) for n in (1e6, 1e7, 1e8, 1e9) for d in (1e8, 1e9, 1e10)]
    >>> x = {"n_params": [n for n, _ in grid], "n_examples": [d for _, d in grid]}
    >>> law = scalelab.get_law("interaction")
    >>> truth = {"E": 0.5, "A": 50, "B": 40, "alpha": 0.3, "beta": 0.5, "c": 0.4, "kappa": -0.015}
    >>> fit = scalelab.fit_law("interaction", x, law.predict(truth, x))
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'E': 0.5, 'A': 50.0, 'B': 40.0, 'alpha': 0.3, 'beta': 0.5, 'c': 0.4, 'kappa': -0.015}
    """

    name = "interaction"
    equation = "L = E + A * N^-alpha + B * N^c * D^-(beta + kappa * log N)"
    paper = (
        "after Li et al. 2025, Predictable Scale Part II: Farseer, arXiv:2506.10972, to first order in log N"
    )
    n_starts = 24
    axes = ("n_params", "n_examples")
    params = ("E", "A", "B", "alpha", "beta", "c", "kappa")
    exponents = ("alpha",)
    coefficients = ("A", "B")
    irreducible = "E"
    in_auto = True

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        log_a, log_b, alpha, beta, c, kappa = (theta[:, i : i + 1] for i in range(1, 7))
        both = u[0] * u[1]
        size = np.exp(log_a - alpha * u[0])
        data = np.exp(np.minimum(log_b + c * u[0] - beta * u[1] - kappa * both, 300.0))
        rows = [np.ones_like(size), size, data, -u[0] * size, -u[1] * data, u[0] * data, -both * data]
        return theta[:, :1] + size + data, stack(rows)

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        lower = [0.0, -50.0, -50.0, 0.0, 0.0, -MAX_EXPONENT, -_TURN]
        upper = [float(y.max()), 50.0, 50.0, MAX_EXPONENT, MAX_EXPONENT, MAX_EXPONENT, _TURN]
        return np.array(lower), np.array(upper)

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        rates = np.geomspace(0.06, 1.5, 6)
        # What turns the exponent by a third of itself over the sizes at hand is a large interaction.
        turn = 0.3 / max(float(np.std(u[0])), 0.1)
        nodes = mesh(rates, rates, [-0.3, 0.0, 0.3], [-turn, 0.0, turn])
        nodes[:, 3] *= nodes[:, 1]
        alpha, beta, c, kappa = (nodes[:, i : i + 1] for i in range(4))
        terms = np.stack([-alpha * u[0], c * u[0] - (beta + kappa * u[0]) * u[1]], axis=1)
        offset, coefficients = solve_offset(np.exp(np.clip(terms, -100.0, 100.0)), y)
        return np.column_stack([offset, np.log(coefficients), nodes])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        scale, (size, data) = frame.y_scale, frame.centers
        alpha, beta, c, kappa = (theta[..., i] for i in range(3, 7))
        factor = theta[..., 2] - c * size + beta * data - kappa * size * data
        out = [scale * theta[..., 0], scale * np.exp(theta[..., 1] + alpha * size), scale * np.exp(factor)]
        return np.stack([*out, alpha, beta - kappa * size, c + kappa * data, kappa], axis=-1)
