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

    >>> import scalelab
    >>> x = {"n_params": [1e6, 1e7, 1e8, 1e9, 1e6, 1e9], "n_layers": [2, 4, 4, 8, 8, 2]}
    >>> y = [90 * n**-0.2 * k**-0.1 for n, k in zip(*x.values())]
    >>> fit = scalelab.fit_law("loglog", x, y)
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'A': 90.0, 'alpha_n_params': 0.2, 'alpha_n_layers': 0.1}
    """

    name = "loglog"
    equation = "log L = log A - sum_i alpha_i * log x_i"
    paper = "MacKinnon & White 1985, Some heteroskedasticity-consistent covariance matrix estimators (HC3)"
    coefficients = ("A",)
    estimator = "log-mse"

    def __init__(self, axes: tuple[str, ...] = ("...",)) -> None:
        """Makes the law for the axes of these names; by default for any."""
        self.axes = axes
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
    def covariance(self, u: Sequence[Array], y: Array) -> Array:
        from statsmodels.api import OLS

        design = np.stack([np.ones_like(u[0]), *(-column for column in u)], axis=1)
        return np.asarray(OLS(np.log(y), design).fit(cov_type="HC3").cov_params())
