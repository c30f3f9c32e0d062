"""The law of model size and data of Hoffmann et al."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.powers import SumOfPowers
from scalelab.arrays import Array
from scalelab.law import Frame


class Chinchilla(SumOfPowers):
    """`L(N, D) = E + A * N^-alpha + B * D^-beta` (Hoffmann et al. 2022, eq. 2; Besiroglu et al. 2024).

    Internal parameters: E, log A, log B (each at the center of the data), alpha, beta. Bounds: E >= 0, both
    exponents in [0, 10].

    >>> import scalelab
    >>> grid = [(n, d) for n in (1e7, 1e8, 1e9, 1e10) for d in (1e9, 1e10, 1e11)]
    >>> x = {"n_params": [n for n, _ in grid], "n_examples": [d for _, d in grid]}
    >>> fit = scalelab.fit_law("chinchilla", x, [1.8 + 480 * n**-0.35 + 2100 * d**-0.37 for n, d in grid])
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'E': 1.8, 'A': 480.0, 'B': 2100.0, 'alpha': 0.35, 'beta': 0.37}
    """

    name = "chinchilla"
    equation = "L = E + A * N^-alpha + B * D^-beta"
    paper = "Hoffmann et al. 2022, Training Compute-Optimal Large Language Models, arXiv:2203.15556, eq. 2"
    axes = ("n_params", "n_examples")
    params = ("E", "A", "B", "alpha", "beta")
    exponents = ("alpha", "beta")
    coefficients = ("A", "B")
    irreducible = "E"
    in_auto = True
    rates = np.geomspace(0.05, 2.5, 9)

    @override
    def optimal_split(self, theta: Array, frame: Frame) -> tuple[Array, Array]:
        # Hoffmann et al. 2022, eq. 4.
        alpha, beta = theta[:, 3], theta[:, 4]
        log_a, log_b = theta[:, 1] + alpha * frame.centers[0], theta[:, 2] + beta * frame.centers[1]
        share = beta / (alpha + beta)
        return share, (np.log(alpha) + log_a - np.log(beta) - log_b) / (alpha + beta)
