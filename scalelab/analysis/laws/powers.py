"""Sums of power laws: `power`, `power-offset`, `chinchilla` and `shared-exponent`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.starts import mesh, solve_linear, solve_offset
from scalelab.arrays import Array
from scalelab.law import MAX_EXPONENT, Frame, Law

_TWICE = [0, 1, 2, 3, 3]


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
        jac = np.empty((len(theta), theta.shape[1], u[0].shape[-1]))
        jac[:, :first] = 1.0
        value: Array | float = theta[:, :1] if first else 0.0
        for i, column in enumerate(u):
            term, by_exponent = jac[:, first + i], jac[:, middle + i]
            np.multiply(theta[:, middle + i, None], -column, out=by_exponent)
            np.add(by_exponent, theta[:, first + i, None], out=term)
            np.exp(term, out=term)
            np.multiply(term, -column, out=by_exponent)
            value = value + term
        return np.asarray(value), jac

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


class Power(SumOfPowers):
    """`L(x) = A * x^-alpha` (M1 of Alabdulmohsin et al. 2022; Hestness et al. 2017).

    Internal parameters: log A at the center of the data, alpha. Bounds: alpha in [0, 10].

    >>> import scalelab
    >>> x = [1e5, 3e5, 1e6, 3e6, 1e7, 3e7]
    >>> fit = scalelab.fit_law("power", {"n_params": x}, [40 * n**-0.2 for n in x])
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'A': 40.0, 'alpha': 0.2}
    """

    name = "power"
    equation = "L = A * x^-alpha"
    paper = "Hestness et al. 2017, Deep Learning Scaling is Predictable, Empirically, arXiv:1712.00409"
    axes = ("x",)
    params = ("A", "alpha")
    exponents = ("alpha",)
    coefficients = ("A",)

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        line = solve_linear(np.stack([np.ones_like(u[0]), -u[0]])[None], np.log(y))[0]
        # The line of log-log least squares is the optimum up to the choice of the estimator.
        return np.stack([line, [line[0], 0.5 * line[1]], [line[0], 2.0 * line[1]]])


class PowerOffset(SumOfPowers):
    """`L(x) = E + A * x^-alpha` (M2 of Alabdulmohsin et al. 2022; Henighan et al. 2020, eq. 1.1).

    Internal parameters: E, log A at the center of the data, alpha. Bounds: E >= 0, alpha in [0, 10]. E enters
    linearly, and as itself, so that a law without irreducible loss (E = 0) is an ordinary point of the box.

    >>> import scalelab
    >>> x = [1e5, 3e5, 1e6, 3e6, 1e7, 3e7]
    >>> fit = scalelab.fit_law("power-offset", {"n_params": x}, [1.5 + 300 * n**-0.4 for n in x])
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'E': 1.5, 'A': 300.0, 'alpha': 0.4}
    >>> fit.predict({"n_params": [1e9]}).round(4)
    array([1.5754])
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
    irreducible = "E"
    in_auto = True
    rates = np.geomspace(0.02, 4.0, 24)


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
        return split_powers(theta[:, 1:], frame)


class SharedExponent(SumOfPowers):
    """`L(N, D) = E + A * N^-alpha + B * D^-alpha`: one exponent for both (Gadre et al. 2024, eq. 4).

    The paper writes it along compute `C = 6 N D` and the multiplier `M = D / N`, for runs beyond the
    compute-optimal ones: `L = E + (a * M^eta + b * M^-eta) * C^-eta`. With `N = (C / 6M)^(1/2)` and
    `D = (C M / 6)^(1/2)` these are the same, `eta = alpha / 2`, `a = A * 6^eta`, `b = B * 6^eta`; the axes
    here are N and D, and so are the parameters theirs. Four parameters, for grids of few runs; the best
    D / N is the same for every budget. Internal parameters and bounds: as for `chinchilla`.

    >>> import scalelab
    >>> x = {"n_params": [1e7, 1e7, 1e8, 1e8, 1e9], "n_examples": [1e9, 1e10, 1e9, 1e10, 1e11]}
    >>> y = [1.8 + 210 * n**-0.3 + 340 * d**-0.3 for n, d in zip(*x.values())]
    >>> fit = scalelab.fit_law("shared-exponent", x, y)
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'E': 1.8, 'A': 210.0, 'B': 340.0, 'alpha': 0.3}
    """

    name = "shared-exponent"
    equation = "L = E + A * N^-alpha + B * D^-alpha"
    paper = "Gadre et al. 2024, Language models scale reliably with over-training, arXiv:2403.08540, eq. 4"
    axes = ("n_params", "n_examples")
    params = ("E", "A", "B", "alpha")
    exponents = ("alpha",)
    coefficients = ("A", "B")
    irreducible = "E"
    rates = np.geomspace(0.02, 4.0, 24)
    in_auto = True

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        value, jac = super().value_jac(theta[:, _TWICE], u)
        jac[:, 3] += jac[:, 4]
        return value, jac[:, :4]

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        lower, upper = super().bounds(u, y)
        return lower[:4], upper[:4]

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        offset, coefficients = solve_offset(np.exp(-self.rates[:, None, None] * np.stack(u)), y)
        return np.column_stack([offset, np.log(coefficients), self.rates])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        return super().public(theta[..., _TWICE], frame)[..., :4]

    @override
    def optimal_split(self, theta: Array, frame: Frame) -> tuple[Array, Array]:
        return split_powers(theta[:, _TWICE[1:]], frame)


def split_powers(terms: Array, frame: Frame) -> tuple[Array, Array]:
    """Returns where a budget N * D makes `A * N^-alpha + B * D^-beta` least (Hoffmann et al. 2022, eq. 4).

    Args:
        terms: log A and log B at the center of the frame, alpha, beta; shape (batch, 4).
        frame: The change of units.

    Returns:
        a and log G of `N = G * (N * D)^a`, both of shape (batch,), as `Law.optimal_split` does.
    """
    log_a, log_b, alpha, beta = terms.T
    ratio = log_a + alpha * frame.centers[0] - log_b - beta * frame.centers[1]
    return beta / (alpha + beta), (np.log(alpha) - np.log(beta) + ratio) / (alpha + beta)
