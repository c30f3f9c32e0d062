"""Broken neural scaling laws: power laws that change their slope."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit
from typing_extensions import override

from scalelab.analysis.laws.starts import mesh, solve_linear
from scalelab.arrays import Array
from scalelab.law import Frame, Law, softplus, stack

_STEEPEST = 60.0
_WIDEST = 4.0


class Bnsl(Law):
    """`L(x) = E + b * x^-c0 * prod_i (1 + (x/d_i)^(1/f_i))^(-c_i f_i)` (Caballero et al. 2023, eq. 1).

    On log-log axes a chain of straight lines: slope -c0 up to the break d_1, -(c0 + c_1) after it, and so on;
    f_i is the width of a bend in e-folds of x.

    Internal parameters: E, log b, the slopes of the segments, then position and log width of each break.
    Bounds: E >= 0, slopes in [-10, 60] but the last at least 0 (a law that ends by rising is not a basis for
    extrapolation), breaks between the second lowest and one e-fold above the highest point, widths
    between 1/50 of an e-fold and 4 e-folds.

    >>> import scalelab
    >>> x = [1e3, 1e4, 1e5, 3e5, 1e6, 3e6, 1e7, 1e8, 1e9]
    >>> y = [0.3 + 5 * n**-0.1 * (1 + (n / 1e6) ** 2) ** -0.15 for n in x]
    >>> fit = scalelab.fit_law("bnsl", x, y)
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'E': 0.3, 'b': 5.0, 'c0': 0.1, 'c1': 0.3, 'd1': 1000000.0, 'f1': 0.5}
    """

    name = "bnsl"
    equation = "L = E + b * x^-c0 * prod_i (1 + (x/d_i)^(1/f_i))^(-c_i*f_i)"
    paper = "Caballero et al. 2023, Broken Neural Scaling Laws, arXiv:2210.14891, eq. 1"
    n_starts = 32
    axes = ("x",)
    irreducible = "E"
    in_auto = True

    def __init__(self, n_breaks: int = 1) -> None:
        """Makes the law with `n_breaks` breaks, one or two."""
        self.n_breaks = n_breaks
        names = ["E", "b", "c0"]
        for index in range(1, n_breaks + 1):
            names += [f"c{index}", f"d{index}", f"f{index}"]
        self.params = tuple(names)
        self.coefficients = ("b", *(f"{kind}{index}" for index in range(1, n_breaks + 1) for kind in "df"))
        self.exponents = tuple(f"c{index}" for index in range(n_breaks + 1))

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        k = self.n_breaks
        slopes = theta[:, 2 : 3 + k]
        power = theta[:, 1:2] - slopes[:, :1] * u[0]
        by_slope = [np.broadcast_to(-u[0], power.shape)]
        by_place, by_width = [], []
        for i in range(k):
            place, width = theta[:, 3 + k + i, None], np.exp(theta[:, 3 + 2 * k + i, None])
            change = slopes[:, i + 1, None] - slopes[:, i, None]
            z = (u[0] - place) / width
            bend, share = width * softplus(z), expit(z)
            power = power - change * bend
            by_slope[i] = by_slope[i] + bend
            by_slope.append(-bend)
            by_place.append(change * share)
            by_width.append(-change * (bend - width * z * share))
        term = np.exp(np.minimum(power, 300.0))
        rows = [np.ones_like(term), term] + [term * row for row in by_slope + by_place + by_width]
        return theta[:, :1] + term, stack(rows)

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        k = self.n_breaks
        ordered = np.unique(u[0])
        low = [0.0, -300.0] + [-10.0] * k + [0.0]
        high = [float(y.max()), 300.0] + [_STEEPEST] * (k + 1)
        low += [float(ordered[min(1, ordered.size - 1)])] * k + [np.log(0.02)] * k
        high += [float(ordered[-1]) + 1.0] * k + [np.log(_WIDEST)] * k
        return np.array(low), np.array(high)

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        k = self.n_breaks
        # After a break the loss may come within a part in a thousand of E before the data end.
        floors = [0.0, 0.6, 0.9, 0.99, 0.9995] if k == 1 else [0.0, 0.7, 0.95, 0.993, 0.9995]
        widths = [0.05, 0.2, 0.6, 1.5] if k == 1 else [0.1, 0.3, 0.9]
        places = np.quantile(u[0], np.linspace(0.1, 0.95, 9 if k == 1 else 7))
        nodes = mesh(floors, *[places] * k, *[widths] * k)
        if k == 2:
            nodes = nodes[nodes[:, 1] < nodes[:, 2]]
        offset = nodes[:, 0] * y.min()
        columns = [np.ones((len(nodes), u[0].size)), np.broadcast_to(-u[0], (len(nodes), u[0].size))]
        for i in range(k):
            width = nodes[:, 1 + k + i, None]
            columns.append(-width * softplus((u[0] - nodes[:, 1 + i, None]) / width))
        rest = y - offset[:, None]
        line = solve_linear(np.stack(columns, axis=1), np.log(rest), (rest / y) ** 2)
        slopes = np.cumsum(line[:, 1:], axis=1)
        return np.column_stack([offset, line[:, 0], slopes, nodes[:, 1 : 1 + k], np.log(nodes[:, 1 + k :])])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        k, center = self.n_breaks, frame.centers[0]
        slopes = theta[..., 2 : 3 + k]
        out = [frame.y_scale * theta[..., 0]]
        out.append(frame.y_scale * np.exp(theta[..., 1] + slopes[..., 0] * center))
        out.append(slopes[..., 0])
        for i in range(k):
            out.append(slopes[..., i + 1] - slopes[..., i])
            out.append(np.exp(theta[..., 3 + k + i] + center))
            out.append(np.exp(theta[..., 3 + 2 * k + i]))
        return np.stack(out, axis=-1)

    @override
    def internal(self, params: Array) -> Array:
        k = self.n_breaks
        steps = np.stack([params[..., 2]] + [params[..., 3 + 3 * i] for i in range(k)], axis=-1)
        out = [params[..., 0], np.log(params[..., 1]), *list(np.moveaxis(np.cumsum(steps, axis=-1), -1, 0))]
        out += [np.log(params[..., 4 + 3 * i]) for i in range(k)]
        out += [np.log(params[..., 5 + 3 * i]) for i in range(k)]
        return np.stack(out, axis=-1)


class Bnsl2(Bnsl):
    """The same law with two breaks; nine parameters, so at least ten distinct scales.

    >>> import scalelab
    >>> x = [10 ** (2 + i / 4) for i in range(33)]
    >>> bends = [(1 + (n / 1e4) ** 2) ** -0.2 * (1 + (n / 1e7) ** 2) ** 0.1 for n in x]
    >>> fit = scalelab.fit_law("bnsl2", x, [0.3 + 5 * n**-0.1 * bend for n, bend in zip(x, bends)])
    >>> {name: round(value, 3) for name, value in fit.params.items() if name != "d2"}
    {'E': 0.3, 'b': 5.0, 'c0': 0.1, 'c1': 0.4, 'd1': 10000.0, 'f1': 0.5, 'c2': -0.2, 'f2': 0.5}
    """

    name = "bnsl2"
    n_starts = 240
    in_auto = False

    def __init__(self) -> None:
        """Makes the law with two breaks."""
        super().__init__(2)
