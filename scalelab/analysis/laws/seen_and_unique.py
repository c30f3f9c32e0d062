"""A law of repeated data in three powers: of size, of the examples there are, of the examples seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.powers import SumOfPowers
from scalelab.arrays import Array
from scalelab.law import Frame


class SeenAndUnique(SumOfPowers):
    """`L(N, U, epochs) = E + A * N^-alpha + B * U^-beta + C * D^-gamma`, `D = U * epochs`.

    The three terms of Bryant & Liu 2026, without the ceiling that theirs has: parameters, unique examples
    and examples seen, each with an exponent of its own. Passes over the same data help through D alone, and
    never cost. `data-constrained` says instead how fast their worth decays; `auto` weighs the two.

    Internal parameters: E, log A, log B, log C (each at the center of the data), alpha, beta, gamma. Bounds:
    E >= 0, exponents in [0, 10].

    >>> import itertools, scalelab
    >>> sizes, examples, epochs = (1e6, 1e7, 1e8), (1e8, 1e9, 1e10), (1, 4, 16)
    >>> x = dict(zip(("n_params", "n_examples", "epochs"), zip(*itertools.product(sizes, examples, epochs))))
    >>> y = [1.8 + 400 * n**-0.4 + 50 * u**-0.2 + 9e4 * (u * e) ** -0.6 for n, u, e in zip(*x.values())]
    >>> fit = scalelab.fit_law("seen-and-unique", x, y)
    >>> {name: round(value, 3) for name, value in fit.params.items() if name != "C"}
    {'E': 1.8, 'A': 400.0, 'B': 50.0, 'alpha': 0.4, 'beta': 0.2, 'gamma': 0.6}
    """

    name = "seen-and-unique"
    equation = "L = E + A * N^-alpha + B * U^-beta + C * D^-gamma, D = U * epochs"
    paper = "Bryant & Liu 2026, Practical Scaling Laws, arXiv:2605.09189"
    n_starts = 24
    axes = ("n_params", "n_examples", "epochs")
    params = ("E", "A", "B", "C", "alpha", "beta", "gamma")
    exponents = ("alpha", "beta", "gamma")
    coefficients = ("A", "B", "C")
    irreducible = "E"
    in_auto = True
    rates = np.geomspace(0.05, 1.8, 6)

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        return super().value_jac(theta, _seen(u))

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        return super().starts(_seen(u), y)

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        size, unique, epochs = frame.centers
        return super().public(theta, Frame((size, unique, unique + epochs), frame.units, frame.y_scale))


def _seen(u: Sequence[Array]) -> list[Array]:
    """Returns the logarithms of size, of unique examples and of examples seen."""
    return [u[0], u[1], u[1] + u[2]]
