"""The loss around its best learning rate and batch, both power laws of scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.starts import mesh, solve_linear, solve_offset
from scalelab.arrays import Array, Index
from scalelab.errors import FitError
from scalelab.law import MAX_EXPONENT, Frame, Law, stack

SCALES = {"n_params": ("A", "alpha", "N"), "n_examples": ("B", "beta", "D")}
"""Coefficient, exponent and symbol of the axes of scale."""
_SHARP = {"lr": "h", "batch_size": "g"}
_STEEPEST = 5.0
_USUAL_POWERS = {"n_params": (-0.7, -0.35, 0.0), "n_examples": (0.0, 0.3)}
_USUAL_SHARPNESS = (0.02, 0.1)
_SHARPNESS = (1e-6, 20.0)


class StepLaw(Law):
    """`L = (E + A*N^-alpha + B*D^-beta) * (1 + h*log(lr/lr_opt)^2)`, `lr_opt = c*N^a*D^b` (Li et al. 2025).

    With `batch_size` the penalty has a second term, `g*log(batch_size/batch_size_opt)^2` with
    `batch_size_opt = d*D^e`: the best batch depends on the data alone (Li et al. 2025, eq. 1). An axis of
    scale that the runs do not vary is left out. The penalty is a parabola, right near the optimum only:
    `scalelab.fit_learning_rate` leaves out the runs that are far from it.

    Internal parameters: E, log A, log B, alpha, beta, then for each of learning rate and batch the logarithm
    of the optimum at the center of the data, its exponents, and the logarithm of h or g. Bounds: E >= 0,
    alpha and beta in [0, 10], optima as far beyond those tried as these span, exponents of optima in [-5, 5],
    h and g in [1e-6, 20].

    >>> import itertools, scalelab
    >>> sizes, examples, rates = (1e7, 1e8, 1e9), (1e9, 1e10, 1e11), (2e-4, 5e-4, 1e-3, 2e-3, 5e-3)
    >>> x = dict(zip(("n_params", "n_examples", "lr"), zip(*itertools.product(sizes, examples, rates))))
    >>> truth = {"E": 1.8, "A": 500, "B": 2000, "alpha": 0.35, "beta": 0.37}
    >>> truth |= {"c": 1.79, "a": -0.713, "b": 0.307, "h": 0.02}
    >>> law = scalelab.get_law("step-law")
    >>> fit = scalelab.fit_law("step-law", x, law.predict(truth, x))
    >>> {name: round(value, 3) for name, value in fit.params.items() if name in "cabh"}
    {'c': 1.79, 'a': -0.713, 'b': 0.307, 'h': 0.02}
    """

    name = "step-law"
    paper = "Li et al. 2025, Predictable Scale: Part I, Step Law, arXiv:2503.04715, eq. 1"
    irreducible = "E"
    n_starts = 12

    def __init__(self, axes: tuple[str, ...] = ("n_params", "n_examples", "lr")) -> None:
        """Makes the law for these axes.

        Args:
            axes: `n_params`, `n_examples` or both, then `lr`, and `batch_size` where it varies.

        Raises:
            FitError: The axes are others.
        """
        scales = tuple(axis for axis in axes if axis in SCALES)
        if not scales or axes not in ((*scales, "lr"), (*scales, "lr", "batch_size")):
            raise FitError(
                "the law 'step-law' has the axes n_params, n_examples or both, then lr, and batch_size at "
                f"will; got {', '.join(axes)}"
            )
        heights, rates, symbols = zip(*(SCALES[axis] for axis in scales), strict=True)
        powers = {axis: {"n_params": "a", "n_examples": "b"}[axis] for axis in scales}
        self.axes, self._scales = axes, len(scales)
        self.optima = {"lr": ("c", powers)}
        if axes[-1] == "batch_size":
            self.optima["batch_size"] = ("d", {"n_examples": "e"} if "n_examples" in scales else {})
        names, penalty, optima = ["E", *heights, *rates], "1", ""
        for setting, (factor, own) in self.optima.items():
            names += [factor, *own.values(), _SHARP[setting]]
            penalty += f" + {_SHARP[setting]}*log({setting}/{setting}_opt)^2"
            moved = "".join(f"*{SCALES[axis][2]}^{power}" for axis, power in own.items())
            optima += f", {setting}_opt = {factor}{moved}"
        base = " + ".join(["E", *(f"{h}*{s}^-{r}" for h, r, s in zip(heights, rates, symbols, strict=True))])
        self.params = tuple(names)
        self.equation = f"L = ({base}) * ({penalty}){optima}"
        self.exponents = (*rates, *(power for _, own in self.optima.values() for power in own.values()))
        self.coefficients = tuple(name for name in names if name not in ("E", *self.exponents))

    def _settings(self) -> list[tuple[int, int, list[int]]]:
        """Returns for each setting its axis, its first parameter and the scales that move its optimum."""
        out, at = [], 1 + 2 * self._scales
        for setting, (_, powers) in self.optima.items():
            out.append((self.axes.index(setting), at, [self.axes.index(axis) for axis in powers]))
            at += 2 + len(powers)
        return out

    def _penalty(self, theta: Array, u: Sequence[Array]) -> tuple[Array, list[tuple[Array, Array]]]:
        """Returns what multiplies the base, and for each setting how far off it is and its sharpness."""
        penalty, parts = np.ones((len(theta), u[0].size)), []
        for axis, at, places in self._settings():
            off = u[axis] - theta[:, at, None]
            for number, place in enumerate(places):
                off = off - theta[:, at + 1 + number, None] * u[place]
            sharp = np.exp(theta[:, at + 1 + len(places), None])
            penalty = penalty + sharp * off**2
            parts.append((off, sharp))
        return penalty, parts

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        k = self._scales
        terms = [np.exp(theta[:, 1 + i, None] - theta[:, 1 + k + i, None] * u[i]) for i in range(k)]
        base = theta[:, :1] + sum(terms)
        penalty, parts = self._penalty(theta, u)
        rows: list[Array] = []
        for (_, _, places), (off, sharp) in zip(self._settings(), parts, strict=True):
            by_center = -2.0 * sharp * off * base
            rows += [by_center, *(by_center * u[place] for place in places), sharp * off**2 * base]
        slopes = [-u[i] * terms[i] * penalty for i in range(k)]
        return base * penalty, stack([penalty, *(term * penalty for term in terms), *slopes, *rows])

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        k = self._scales
        low, high = [0.0, *[-50.0] * k, *[0.0] * k], [float(y.max()), *[50.0] * k, *[MAX_EXPONENT] * k]
        for axis, _, places in self._settings():
            least, most = float(u[axis].min()), float(u[axis].max())
            low += [2 * least - most, *[-_STEEPEST] * len(places), np.log(_SHARPNESS[0])]
            high += [2 * most - least, *[_STEEPEST] * len(places), np.log(_SHARPNESS[1])]
        return np.array(low), np.array(high)

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        k = self._scales
        _, cell, count = np.unique(np.stack(u[:k], axis=1), axis=0, return_inverse=True, return_counts=True)
        if count.max() > 1:
            optima, rates = self._optima(u, y, cell.ravel(), count)[None], np.geomspace(0.05, 1.5, 6)
        else:
            optima, rates = self._usual_optima(u), np.geomspace(0.1, 1.2, 4)
        nodes = mesh(*[rates] * k)
        theta = np.column_stack(
            [
                np.zeros((len(nodes) * len(optima), 1 + k)),
                np.repeat(nodes, len(optima), axis=0),
                np.tile(optima, (len(nodes), 1)),
            ]
        )
        penalty, _ = self._penalty(theta, u)
        powers = np.exp(-theta[:, 1 + k : 1 + 2 * k, None] * np.stack(u[:k]))
        theta[:, 0], heights = solve_offset(powers, y / penalty)
        theta[:, 1 : 1 + k] = np.log(heights)
        return theta

    def _usual_optima(self, u: Sequence[Array]) -> Array:
        """Returns usual optima and sharpness, for runs of which no two have the same scale."""
        parts: list[Sequence[float] | Array] = []
        for axis, _, places in self._settings():
            usual = [_USUAL_POWERS[self.axes[place]] for place in places]
            parts += [np.quantile(u[axis], [0.25, 0.5, 0.75]), *usual, np.log(_USUAL_SHARPNESS)]
        return mesh(*parts)

    def _optima(self, u: Sequence[Array], y: Array, cell: Index, count: Index) -> Array:
        """Returns where to start with the optima and their sharpness, shape (parameters of them,).

        Among runs of one scale the logarithm of the loss, less its mean there, is linear in the square of a
        setting and in its products with the scales, so that least squares have the optimum in closed form.

        Args:
            u: Axes.
            y: Outcomes.
            cell: Which scale each run has.
            count: How many runs each scale has.
        """

        def within(column: Array) -> Array:
            return column - (np.bincount(cell, column) / count)[cell]

        basis = [
            within(part)
            for axis, _, places in self._settings()
            for part in (u[axis] ** 2, u[axis], *(u[axis] * u[place] for place in places))
        ]
        solved = solve_linear(np.stack(basis)[None], within(np.log(y)))[0]
        out: list[float] = []
        for axis, _, places in self._settings():
            sharp, *rest = solved[: 2 + len(places)]
            solved = solved[2 + len(places) :]
            if not sharp > _SHARPNESS[0]:
                # No parabola with a minimum: start flat, in the middle.
                out += [float(np.mean(u[axis])), *[0.0] * len(places), np.log(0.01)]
                continue
            out += [*(-0.5 * one / sharp for one in rest), float(np.log(sharp))]
        return np.array(out)

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        k, center = self._scales, frame.centers
        out = [frame.y_scale * theta[..., 0]]
        out += [
            frame.y_scale * np.exp(theta[..., 1 + i] + theta[..., 1 + k + i] * center[i]) for i in range(k)
        ]
        out += [theta[..., 1 + k + i] for i in range(k)]
        for axis, at, places in self._settings():
            powers = [theta[..., at + 1 + number] for number in range(len(places))]
            moved = sum(power * center[place] for power, place in zip(powers, places, strict=True))
            out += [np.exp(theta[..., at] + center[axis] - moved), *powers]
            out.append(np.exp(theta[..., at + 1 + len(places)]))
        return np.stack(out, axis=-1)
