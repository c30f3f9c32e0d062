"""Laws between two ends: what a run that knows nothing has, and the irreducible loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from scipy.special import expit
from typing_extensions import override

from scalelab.analysis.laws.powers import split_powers
from scalelab.analysis.laws.starts import mesh, solve_linear
from scalelab.arrays import Array
from scalelab.errors import FitError
from scalelab.law import MAX_EXPONENT, Frame, Law, stack

_STEEPEST = 3.0


class Saturating(Law):
    """`L = E + (L0 - E) * h/(1 + h)`, `h = a * N^-alpha + b * D^-beta` (Bryant & Liu 2026).

    Runs too small to learn anything sit at L0, the loss of the best constant answer, instead of far above
    it as a sum of powers has them; for large runs it is `chinchilla` with `A = (L0 - E) * a`. The paper has
    its terms for N, examples seen and unique examples: here data enter once. Along one axis it is the law
    `mmf` of the plugin `learning-curves`, and `m4` with `alpha = 1`.

    L0 is estimated unless it is given, `Saturating(l0)`: `scalelab.constant_loss` computes it from targets.

    Internal parameters: E and log(L0 - E), or E/L0 where L0 is given; log a and log b at the center of the
    data; alpha and beta. Bounds: E >= 0, L0 at most about 20 times the highest loss, exponents in [0, 10].

    >>> import scalelab
    >>> grid = [(n, d) for n in (1e3, 1e4, 1e5, 1e6) for d in (1e3, 1e4, 1e5)]
    >>> x = {"n_params": [n for n, _ in grid], "n_examples": [d for _, d in grid]}
    >>> h = [90 * n**-0.6 + 150 * d**-0.5 for n, d in grid]
    >>> fit = scalelab.fit_law("saturating", x, [0.1 + 1.5 * one / (1 + one) for one in h])
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'E': 0.1, 'L0': 1.6, 'a': 90.0, 'b': 150.0, 'alpha': 0.6, 'beta': 0.5}
    """

    name = "saturating"
    equation = "L = E + (L0 - E) * h/(1 + h), h = a * N^-alpha + b * D^-beta"
    paper = "Bryant & Liu 2026, Practical Scaling Laws, arXiv:2605.09189"
    n_starts = 24
    axes = ("n_params", "n_examples")
    irreducible = "E"
    levels: ClassVar[tuple[str, ...]] = ("a", "b")
    rates: ClassVar[dict[str, tuple[int, int, float]]] = {"alpha": (0, 0, -1.0), "beta": (1, 1, -1.0)}
    """Of each exponent: of which term of h it is, along which axis, and its sign."""
    nodes: ClassVar[Sequence[Sequence[float]]] = ((0.1, 0.2, 0.35, 0.6, 1.1, 2.0),) * 2
    in_auto = True

    def __init__(self, l0: float | None = None) -> None:
        """Makes the law.

        Args:
            l0: The loss of a run that knows nothing; by default it is estimated.

        Raises:
            FitError: It is not a positive number.
        """
        if l0 is not None and not 0.0 < l0 < np.inf:
            raise FitError(f"law {self.name!r} needs a positive l0, got {l0!r}; leave it out to estimate it")
        self.l0 = l0
        self.params = ("E", *(("L0",) if l0 is None else ()), *self.levels, *self.rates)
        self.exponents = tuple(self.rates)
        self.coefficients = self.levels
        if l0 is not None:
            self.equation = f"{type(self).equation}, L0 = {l0!r}"

    def _parts(self, theta: Array) -> tuple[Array, Array, Array, Array]:
        """Returns E, L0 - E, levels and rates, each of shape (..., its parameters)."""
        k = len(self.levels)
        if self.l0 is None:
            return theta[..., :1], np.exp(theta[..., 1:2]), theta[..., 2 : 2 + k], theta[..., 2 + k :]
        return (
            self.l0 * theta[..., :1],
            self.l0 * (1.0 - theta[..., :1]),
            theta[..., 1 : 1 + k],
            theta[..., 1 + k :],
        )

    def _powers(self, rates: Array, u: Sequence[Array]) -> list[Array]:
        """Returns the logarithm of each term of h without its factor, shape (batch, n)."""
        powers = [np.zeros((len(rates), 1))] * len(self.levels)
        for i, (term, axis, sign) in enumerate(self.rates.values()):
            powers[term] = powers[term] + sign * rates[:, i : i + 1] * u[axis]
        return powers

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        offset, span, levels, rates = self._parts(theta)
        terms = [levels[:, i : i + 1] + power for i, power in enumerate(self._powers(rates, u))]
        log_h = np.logaddexp.reduce(terms)
        share = expit(log_h)
        slope = span * share * expit(-log_h)
        by_term = [slope * np.exp(term - log_h) for term in terms]
        by_rate = [sign * u[axis] * by_term[term] for term, axis, sign in self.rates.values()]
        ends = [np.ones_like(share), span * share] if self.l0 is None else [self.l0 * expit(-log_h)]
        return offset + span * share, stack([*ends, *by_term, *by_rate])

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        top, k, m = float(y.max()), len(self.levels), len(self.rates)
        lower, upper = [0.0, np.log(0.05 * (top - y.min()) + 1e-12)], [top, np.log(20.0 * top)]
        if self.l0 is not None:
            if self.l0 <= y.min():
                raise FitError(
                    f"law {self.name!r} was given an L0 of {self.l0:g}, but no loss is below it (lowest "
                    f"{float(y.min()):.4g}); it is the loss of a run that learned nothing: correct it, "
                    "or leave it out"
                )
            lower, upper = [0.0], [1.0 - 1e-9]
        lower += [-60.0] * k + [0.0] * m
        upper += [60.0] * k + [MAX_EXPONENT] * m
        return np.array(lower), np.array(upper)

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        tops = [1.001, 1.05, 1.4, 4.0] if self.l0 is None else [self.l0 / y.max()]
        nodes = mesh([0.0, 0.5, 0.8, 0.95], tops, *self.nodes)
        offset, rates = nodes[:, :1] * y.min(), nodes[:, 2:]
        span = nodes[:, 1:2] * y.max() - offset
        share = np.clip((y - offset) / span, 1e-9, 0.999)
        terms = np.stack(np.broadcast_arrays(*self._powers(rates, u)), axis=1)
        # Weights undo the stretching of h near L0, where a small error of the loss is a large one of h.
        h = share / (1.0 - share)
        factors = solve_linear(np.exp(terms), h, (span * (1.0 - share) ** 2 / y) ** 2)
        levels = np.log(np.maximum(factors, 0.03 * np.abs(factors).max(axis=1, keepdims=True) + 1e-12))
        ends = [offset, np.log(span)] if self.l0 is None else [offset / self.l0]
        return np.column_stack([*ends, levels, rates])

    @override
    def frame(self, frame: Frame) -> Frame:
        # A given L0 is in the units of the data, so that these are the internal ones too.
        return frame if self.l0 is None else replace(frame, y_scale=1.0)

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        offset, span, levels, rates = self._parts(theta)
        shift = np.zeros((len(self.rates), len(self.levels)))
        for i, (term, axis, sign) in enumerate(self.rates.values()):
            shift[i, term] = -sign * frame.centers[axis]
        ends = [offset, offset + span][: 2 if self.l0 is None else 1]
        parts = [*(frame.y_scale * end for end in ends), np.exp(levels + rates @ shift), rates]
        return np.concatenate(parts, axis=-1)

    @override
    def internal(self, params: Array) -> Array:
        out = super().internal(params)
        if self.l0 is None:
            out[..., 1] = np.log(params[..., 1] - params[..., 0])
        else:
            out[..., 0] /= self.l0
        return out

    @override
    def optimal_split(self, theta: Array, frame: Frame) -> tuple[Array, Array] | None:
        # The loss rises with h, so that its optimum is that of h.
        _, _, levels, rates = self._parts(theta)
        return split_powers(np.concatenate([levels, rates], axis=1), frame)


class SaturatingOverfit(Saturating):
    """The same law with the paper's third term, for over-fitting: `h = ... + c * N^gamma * D^-delta`.

    A model too large for its data is worse than a smaller one; gamma says how fast that grows with N, delta
    how fast data cure it. Nine parameters, so at least ten runs, some of them beyond the turn. Internal
    parameters: as for `saturating`, with log c, gamma and delta. Bounds: gamma and delta in [0, 3], for
    steeper terms take in single runs at the edge of the data.

    >>> import scalelab
    >>> grid = [(n, d) for n in (1e3, 1e4, 1e5, 1e6, 1e7) for d in (1e3, 1e4, 1e5, 1e6)]
    >>> x = {"n_params": [n for n, _ in grid], "n_examples": [d for _, d in grid]}
    >>> h = [90 * n**-0.6 + 150 * d**-0.5 + 2 * n**0.4 * d**-0.8 for n, d in grid]
    >>> fit = scalelab.fit_law("saturating-overfit", x, [0.1 + 1.5 * one / (1 + one) for one in h])
    >>> {name: round(value, 2) for name, value in fit.params.items() if name not in ("a", "b")}
    {'E': 0.1, 'L0': 1.6, 'c': 2.0, 'alpha': 0.6, 'beta': 0.5, 'gamma': 0.4, 'delta': 0.8}
    """

    name = "saturating-overfit"
    equation = "L = E + (L0 - E) * h/(1 + h), h = a * N^-alpha + b * D^-beta + c * N^gamma * D^-delta"
    n_starts = 60
    levels = ("a", "b", "c")
    rates = Saturating.rates | {"gamma": (2, 0, 1.0), "delta": (2, 1, -1.0)}
    nodes = ((0.15, 0.4, 1.0), (0.15, 0.4, 1.0), (0.15, 0.4, 1.0), (0.4, 0.8, 1.6))
    in_auto = False

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        lower, upper = super().bounds(u, y)
        upper[-2:] = _STEEPEST
        return lower, upper

    @override
    def optimal_split(self, theta: Array, frame: Frame) -> None:
        return None
