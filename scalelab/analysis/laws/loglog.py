"""The plain baseline: a straight line in logarithms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.starts import solve_linear
from scalelab.arrays import Array
from scalelab.law import Frame, Law, stack


class LogLog(Law):
    """`log L = log A - sum_i alpha_i log x_i` by ordinary least squares, with HC3 standard errors.

    The regression of most papers, kept as the baseline: any number of axes, no irreducible loss, and always
    the estimator `log-mse`. Standard errors are those of `statsmodels` OLS with HC3 (MacKinnon & White
    1985), which stay right where the noise changes with scale. Internal parameters: log A at the center,
    the exponents. Exponents are not bounded: the baseline may say that the loss rises.
    """

    name = "loglog"
    equation = "log L = log A - sum_i alpha_i * log x_i"
    paper = "MacKinnon & White 1985, Some heteroskedasticity-consistent covariance matrix estimators (HC3)"
    axes = ("...",)
    coefficients = ("A",)

    def __init__(self, axes: tuple[str, ...] = ("x",)) -> None:
        """Makes the law for the axes of these names."""
        self.exponents = ("alpha",) if len(axes) == 1 else tuple(f"alpha_{axis}" for axis in axes)
        self.params = ("A", *self.exponents)

    @override
    def specialize(self, axes: tuple[str, ...]) -> Law:
        return LogLog(axes)

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        power = theta[:, :1] - sum(theta[:, i + 1, None] * column for i, column in enumerate(u))
        value = np.exp(np.clip(power, -700.0, 700.0))
        return value, stack([value, *(-column * value for column in u)])

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        top = np.full(len(u) + 1, 1e3)
        return -top, top

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        return solve_linear(np.stack([np.ones_like(u[0]), *(-column for column in u)])[None], np.log(y))

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        power = theta[..., 0] + sum(theta[..., i + 1] * center for i, center in enumerate(frame.centers))
        return np.concatenate([(frame.y_scale * np.exp(power))[..., None], theta[..., 1:]], axis=-1)

    @override
    def internal(self, params: Array) -> Array:
        return np.concatenate([np.log(params[..., :1]), params[..., 1:]], axis=-1)

    def covariance(self, u: Sequence[Array], y: Array) -> Array:
        """Returns the HC3 covariance of the internal parameters, shape (parameters, parameters).

        Args:
            u: Axes in internal coordinates, each of shape (n,).
            y: Scaled outcomes, shape (n,).
        """
        from statsmodels.api import OLS

        design = np.stack([np.ones_like(u[0]), *(-column for column in u)], axis=1)
        return np.asarray(OLS(np.log(y), design).fit(cov_type="HC3").cov_params())
