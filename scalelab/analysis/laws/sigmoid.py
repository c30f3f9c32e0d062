"""The link from a loss to a bounded metric."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from scalelab.analysis.laws.starts import mesh, solve_linear
from scalelab.arrays import Array
from scalelab.law import Frame, Law, sigmoid, stack


class SigmoidLink(Law):
    """`metric = low + (high - low) / (1 + exp(k * (loss - middle)))` (Grattafiori et al. 2024, 3.2.1).

    A metric that rises and is bounded (accuracy, challenge metric) is not a loss: fit the law to the loss,
    this link from loss to metric, and chain them with `scalelab.analysis.fits.chain.chain`. Internal
    parameters: low, high, k in standard deviations of the loss, middle in the same units. Bounds: low and
    high between one range of the metric below and above what was seen, k in [0.01, 100]. Residuals are
    those of the metric itself, so that estimators of log residuals are replaced by their linear twins.

    >>> import math, scalelab
    >>> loss = [1.0, 1.4, 1.8, 2.2, 2.6, 3.0, 3.4]
    >>> accuracy = [0.1 + 0.8 / (1 + math.exp(3 * (one - 2))) for one in loss]
    >>> fit = scalelab.fit_law("sigmoid", {"loss": loss}, accuracy)
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'low': 0.1, 'high': 0.9, 'k': 3.0, 'middle': 2.0}
    """

    name = "sigmoid"
    equation = "metric = low + (high - low) / (1 + exp(k * (loss - middle)))"
    paper = "Grattafiori et al. 2024, The Llama 3 Herd of Models, arXiv:2407.21783, section 3.2.1"
    axes = ("x",)
    params = ("low", "high", "k", "middle")
    log_axes = False
    positive = False
    link = True
    n_starts = 24

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        low, high, rate, middle = (theta[:, i : i + 1] for i in range(4))
        share = sigmoid(-rate * (u[0] - middle))
        slope = (high - low) * share * (1.0 - share)
        return low + (high - low) * share, stack([1.0 - share, share, -slope * (u[0] - middle), slope * rate])

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        low, high = float(y.min()), float(y.max())
        span = high - low
        reach = 3.0 * float(np.ptp(u[0]))
        lower = np.array([low - span, low, 0.01, float(u[0].min()) - reach])
        return lower, np.array([high, high + span, 100.0, float(u[0].max()) + reach])

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        nodes = mesh([0.3, 0.8, 2.0, 5.0, 15.0], np.linspace(u[0].min() - 0.5, u[0].max() + 0.5, 9))
        share = sigmoid(-nodes[:, :1] * (u[0] - nodes[:, 1:]))
        ends = solve_linear(np.stack([1.0 - share, share], axis=1), y)
        return np.column_stack([ends, nodes])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        unit, center = frame.units[0], frame.centers[0]
        out = [theta[..., 0], theta[..., 1], theta[..., 2] / unit, center + unit * theta[..., 3]]
        return np.stack(out, axis=-1)
