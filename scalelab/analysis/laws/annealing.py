"""The law of whole learning curves, in which the decay of the learning rate counts by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.starts import solve_linear
from scalelab.arrays import Array
from scalelab.errors import FitError
from scalelab.law import MAX_EXPONENT, Frame, Law, stack


class Annealing(Law):
    """`L = L0 + A * S1^-alpha - C * S2` (Tissue et al. 2024, eq. 1).

    S1 is the sum of the learning rates up to a step, S2 that of their decay, weighted by momentum:
    `scalelab.annealing_axes` makes both from the rates. While the rate is constant the curve is a power law;
    its decay lowers the loss further, which a law of steps alone takes for a steeper slope. S2 is zero before
    the decay, so that axes enter as they are, in units of the mean of S1 and the spread of S2.

    Internal parameters: L0, log A, alpha, C, each in those units. Bounds: L0 >= 0, alpha in [0, 10], C >= 0.

    >>> import scalelab
    >>> rates = [0.01] * 60 + [0.01 * (40 - step) / 40 for step in range(40)]
    >>> s1, s2 = scalelab.annealing_axes(rates)
    >>> loss = [0.8 + 0.3 * a**-0.5 - 0.4 * b for a, b in zip(s1, s2)]
    >>> fit = scalelab.fit_law("annealing", {"S1": s1, "S2": s2}, loss)
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'L0': 0.8, 'A': 0.3, 'alpha': 0.5, 'C': 0.4}
    """

    name = "annealing"
    equation = "L = L0 + A * S1^-alpha - C * S2"
    paper = "Tissue et al. 2024, Scaling Law with Learning Rate Annealing, arXiv:2408.11029, eq. 1"
    axes = ("S1", "S2")
    params = ("L0", "A", "alpha", "C")
    exponents = ("alpha",)
    coefficients = ("A",)
    log_axes = False
    irreducible = None

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        log_sum = np.log(np.maximum(u[0], 1e-300))
        term = np.exp(np.minimum(theta[:, 1:2] - theta[:, 2:3] * log_sum, 700.0))
        value = theta[:, :1] + term - theta[:, 3:] * u[1]
        return value, stack([np.ones_like(term), term, -log_sum * term, -u[1] + np.zeros_like(term)])

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        if (u[0] <= 0).any():
            raise FitError(f"S1 must be positive, row {int(np.argmin(u[0]))} is not; leave out step zero")
        top = float(y.max())
        return np.array([0.0, -50.0, 0.0, 0.0]), np.array([top, 50.0, MAX_EXPONENT, 10.0 * top])

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        rates = np.geomspace(0.03, 4.0, 24)
        terms = u[0] ** -rates[:, None]
        ones = np.ones_like(terms)
        basis = np.stack([ones, terms, -ones * u[1]], axis=1)
        offset, height, gain = solve_linear(basis, y, y**-2.0).T
        return np.column_stack([offset, np.log(np.maximum(height, 1e-4 * y.min())), rates, gain])

    @override
    def frame(self, frame: Frame) -> Frame:
        return replace(frame, centers=(0.0, 0.0), units=(frame.centers[0], frame.units[1]))

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        mean, spread = frame.units
        height = np.exp(theta[..., 1] + theta[..., 2] * np.log(mean))
        return np.stack([theta[..., 0], height, theta[..., 2], theta[..., 3] / spread], axis=-1)
