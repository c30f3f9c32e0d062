"""Alabdulmohsin's M4: from random guessing through a power law to an irreducible loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit
from typing_extensions import override

from scalelab.analysis.laws.starts import mesh, solve_linear
from scalelab.arrays import Array
from scalelab.law import MAX_EXPONENT, Frame, Law, softplus, stack

_NEWTON_STEPS = 12


class M4(Law):
    """`(L - E) / (E0 - L)^alpha = beta * x^-c` (Alabdulmohsin et al. 2022, eq. 1, M4), solved for L.

    L falls from E0 (no learning) to E. With `L = E + (E0 - E) * sigmoid(z)` the equation becomes
    `softplus(z) * alpha - softplus(-z) = b - c * u`, whose left side rises with a slope between 1 and
    alpha: Newton's iteration finds z for all points at once, and derivatives follow by the implicit
    function theorem.

    Internal parameters: E, log(E0 - E), b, c, alpha. Bounds: E >= 0, E0 at most about 20 times the highest
    loss, c in [0, 10], alpha in [0.05, 20]; as E0 grows without bound the law becomes `power-offset`.

    With `alpha = 1` the law can be solved by hand: `L = (E + E0 * beta * x^-c) / (1 + beta * x^-c)`.

    >>> import scalelab
    >>> x = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]
    >>> y = [(0.5 + 2.3 * 200 * n**-0.5) / (1 + 200 * n**-0.5) for n in x]
    >>> fit = scalelab.fit_law("m4", x, y)
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'E': 0.5, 'E0': 2.3, 'beta': 200.0, 'c': 0.5, 'alpha': 1.0}
    """

    name = "m4"
    equation = "(L - E) / (E0 - L)^alpha = beta * x^-c"
    paper = "Alabdulmohsin et al. 2022, Revisiting Neural Scaling Laws, arXiv:2209.06640, eq. 1"
    n_starts = 16
    axes = ("x",)
    params = ("E", "E0", "beta", "c", "alpha")
    exponents = ("c",)
    coefficients = ("beta", "alpha")
    irreducible = "E"
    in_auto = True

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        offset, span = theta[:, :1], np.exp(theta[:, 1:2])
        rate, alpha = theta[:, 3:4], theta[:, 4:5]
        level = theta[:, 2:3] - rate * u[0]
        z = _solve(level, alpha)
        share, rest = expit(z), expit(-z)
        by_level = span * share * rest / (rest + alpha * share)
        rows = [np.ones_like(z), span * share, by_level, -u[0] * by_level, -softplus(z) * by_level]
        return offset + span * share, stack(rows)

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        top = float(y.max())
        low = np.array([0.0, np.log(0.05 * (top - y.min()) + 1e-12), -60.0, 0.0, 0.05])
        return low, np.array([top, np.log(20.0 * top), 60.0, MAX_EXPONENT, 20.0])

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        low, top = float(y.min()), float(y.max())
        nodes = mesh([0.0, 0.4, 0.7, 0.9, 0.98], [1.002, 1.05, 1.3, 3.0], [0.2, 0.6, 1.0, 2.0, 5.0])
        offset, ceiling, alpha = nodes[:, 0] * low, nodes[:, 1] * top, nodes[:, 2]
        span = ceiling - offset
        share = np.clip((y - offset[:, None]) / span[:, None], 1e-9, 1.0 - 1e-9)
        z = np.log(share) - np.log1p(-share)
        level = alpha[:, None] * softplus(z) - softplus(-z)
        basis = np.stack([np.ones_like(level), np.broadcast_to(-u[0], level.shape)], axis=1)
        # Weights undo the stretching of z at the ends, where a small error of L is a large one of z.
        line = solve_linear(basis, level, (share * (1 - share) / y) ** 2)
        return np.column_stack([offset, np.log(span), line, alpha])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        scale, alpha = frame.y_scale, theta[..., 4]
        span = scale * np.exp(theta[..., 1])
        offset = scale * theta[..., 0]
        beta = np.exp(theta[..., 2] + theta[..., 3] * frame.centers[0] + (1.0 - alpha) * np.log(span))
        return np.stack([offset, offset + span, beta, theta[..., 3], alpha], axis=-1)

    @override
    def internal(self, params: Array) -> Array:
        span = np.log(params[..., 1] - params[..., 0])
        level = np.log(params[..., 2]) - (1.0 - params[..., 4]) * span
        return np.stack([params[..., 0], span, level, params[..., 3], params[..., 4]], axis=-1)


def _solve(level: Array, alpha: Array) -> Array:
    """Solves `alpha * softplus(z) - softplus(-z) = level` for z by Newton's iteration."""
    # The two asymptotes, z and alpha * z, meet at zero. Started on the side from which the curve's bending
    # drives the iteration monotonically, it cannot overshoot.
    z = np.where(level > 0, level / alpha, level)
    more = alpha - 1.0
    for _ in range(_NEWTON_STEPS):
        # softplus(-z) is softplus(z) - z.
        error = more * softplus(z) + z - level
        z = z - error / (1.0 + more * expit(z))
        if np.abs(error).max() < 1e-13:
            break
    return z
