"""Alabdulmohsin's M3: a power law that saturates at large scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit
from typing_extensions import override

from scalelab.analysis.laws.starts import solve_linear
from scalelab.arrays import Array
from scalelab.law import MAX_EXPONENT, Frame, Law, stack


class M3(Law):
    """`L(x) = beta * (1/x + gamma)^c` (Alabdulmohsin et al. 2022, section 3, M3).

    A power law of exponent c at small scale that levels off at `beta * gamma^c` where x passes 1/gamma.
    Internal parameters: log beta, c, log gamma, each at the center of the data. Bounds: c in [0, 10], and the
    turning point 1/gamma within e^12 of the data on either side, beyond which the data cannot tell.

    >>> import scalelab
    >>> x = [1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8]
    >>> fit = scalelab.fit_law("m3", x, [90 * (1 / n + 1e-7) ** 0.3 for n in x])
    >>> {name: round(value, 9) for name, value in fit.params.items()}
    {'beta': 90.0, 'c': 0.3, 'gamma': 1e-07}
    """

    name = "m3"
    equation = "L = beta * (1/x + gamma)^c"
    paper = (
        "Alabdulmohsin et al. 2022, Revisiting Neural Scaling Laws in Language and Vision, arXiv:2209.06640"
    )
    axes = ("x",)
    params = ("beta", "c", "gamma")
    exponents = ("c",)
    coefficients = ("beta", "gamma")
    in_auto = True

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        shifted = np.logaddexp(-u[0], theta[:, 2:3])
        value = np.exp(theta[:, :1] + theta[:, 1:2] * shifted)
        share = expit(theta[:, 2:3] + u[0])
        return value, stack([value, shifted * value, theta[:, 1:2] * share * value])

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        lowest, highest = float(-u[0].max()) - 12.0, float(-u[0].min()) + 12.0
        return np.array([-60.0, 0.0, lowest]), np.array([60.0, MAX_EXPONENT, highest])

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        gammas = np.linspace(-u[0].max() - 6.0, -u[0].min() + 2.0, 24)
        shifted = np.logaddexp(-u[0][None], gammas[:, None])
        line = solve_linear(np.stack([np.ones_like(shifted), shifted], axis=1), np.log(y))
        return np.column_stack([line, gammas])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        scale = frame.y_scale * np.exp(theta[..., 0] + theta[..., 1] * frame.centers[0])
        return np.stack([scale, theta[..., 1], np.exp(theta[..., 2] - frame.centers[0])], axis=-1)
