"""The link from a loss to a bounded metric."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit
from typing_extensions import override

from scalelab.analysis.laws.starts import mesh, solve_linear
from scalelab.arrays import Array
from scalelab.errors import FitError
from scalelab.law import Frame, Law, stack


class SigmoidLink(Law):
    """`metric = low + (high - low) / (1 + exp(k * (loss - middle)))` (Grattafiori et al. 2024, 3.2.1).

    A metric that rises and is bounded (accuracy, challenge metric) is not a loss: fit the law to the loss,
    this link from loss to metric, and chain them with `scalelab.chain`. The ends are known more often than
    the runs can show them: `high`, what a perfect model reaches, is one unless told otherwise (zero for an
    error rate), and `low` may be given, such as the accuracy of guessing. What is given stands in the
    equation and is no parameter. A ceiling to be estimated is asked for as `SigmoidLink(high=None)`; runs far
    below it cannot find it.

    Internal parameters: those of low and high that are free, k in standard deviations of the loss, middle in
    the same units. Bounds: free ends between one range of the metric below and above what was seen, k in
    [0.01, 100]. Residuals are those of the metric itself, so that estimators of log residuals are replaced by
    their linear twins.

    >>> import math, scalelab
    >>> loss = [1.0, 1.4, 1.8, 2.2, 2.6, 3.0, 3.4]
    >>> accuracy = [0.1 + 0.9 / (1 + math.exp(3 * (one - 2))) for one in loss]
    >>> fit = scalelab.fit_law("sigmoid", {"loss": loss}, accuracy)
    >>> {name: round(value, 3) for name, value in fit.params.items()}
    {'low': 0.1, 'k': 3.0, 'middle': 2.0}
    >>> scalelab.fit_law(scalelab.SigmoidLink(low=0.1), {"loss": loss}, accuracy).law.equation
    'metric = 0.1 + (1 - 0.1) / (1 + exp(k * (loss - middle)))'
    """

    name = "sigmoid"
    paper = "Grattafiori et al. 2024, The Llama 3 Herd of Models, arXiv:2407.21783, section 3.2.1"
    axes = ("x",)
    log_axes = False
    positive = False
    link = True
    n_starts = 24

    def __init__(self, low: float | None = None, high: float | None = 1.0) -> None:
        """Makes the link with ends that are known, or `None` where they are to be estimated.

        Args:
            low: What the metric falls to at the highest losses, such as that of guessing.
            high: What it reaches at the lowest losses.

        Raises:
            FitError: The ends are the same, or not finite.
        """
        ends = {"low": low, "high": high}
        known = {name: float(value) for name, value in ends.items() if value is not None}
        if not np.isfinite(list(known.values())).all() or (len(known) == 2 and low == high):
            raise FitError(f"the ends of a sigmoid must be two different finite numbers, got {low}, {high}")
        self.fixed = known
        self.params = (*(name for name in ends if name not in known), "k", "middle")
        bottom, top = (f"{known[name]:.6g}" if name in known else name for name in ends)
        self.equation = f"metric = {bottom} + ({top} - {bottom}) / (1 + exp(k * (loss - middle)))"

    def _ends(self, theta: Array) -> list[Array]:
        """Returns low and high of each parameter vector, each of shape (batch, 1)."""
        free = iter(range(theta.shape[1]))
        return [
            np.full((len(theta), 1), self.fixed[name]) if name in self.fixed else theta[:, next(free), None]
            for name in ("low", "high")
        ]

    @override
    def value_jac(self, theta: Array, u: Sequence[Array]) -> tuple[Array, Array]:
        low, high = self._ends(theta)
        rate, middle = theta[:, -2, None], theta[:, -1, None]
        share = expit(-rate * (u[0] - middle))
        slope = (high - low) * share * (1.0 - share)
        rows = {"low": 1.0 - share, "high": share, "k": -slope * (u[0] - middle), "middle": slope * rate}
        return low + (high - low) * share, stack([rows[name] for name in self.params])

    @override
    def bounds(self, u: Sequence[Array], y: Array) -> tuple[Array, Array]:
        self._refuse_beyond(u[0], y)
        low, high = float(y.min()), float(y.max())
        span = high - low
        reach = 3.0 * float(np.ptp(u[0]))
        middle = (float(u[0].min()) - reach, float(u[0].max()) + reach)
        ends = (low - span, high + span)
        box = {"low": ends, "high": ends, "k": (0.01, 100.0), "middle": middle}
        lower, upper = zip(*(box[name] for name in self.params), strict=True)
        return np.array(lower), np.array(upper)

    def _refuse_beyond(self, loss: Array, y: Array) -> None:
        """Raises where runs do better than the given best value."""
        high = self.fixed.get("high")
        rises = float(np.mean((loss - loss.mean()) * (y - y.mean()))) > 0
        best = float(y.min() if rises else y.max())
        if high is not None and (best < high if rises else best > high):
            raise FitError(
                f"the metric reaches {best:.6g}, beyond {high:.6g}, the best that this link knows of; "
                "give the value of a perfect model as SigmoidLink(high=...), or high=None to estimate it"
            )

    @override
    def starts(self, u: Sequence[Array], y: Array) -> Array:
        nodes = mesh([0.3, 0.8, 2.0, 5.0, 15.0], np.linspace(u[0].min() - 0.5, u[0].max() + 0.5, 9))
        share = expit(-nodes[:, :1] * (u[0] - nodes[:, 1:]))
        parts = {"low": 1.0 - share, "high": share}
        known = sum((parts[name] * value for name, value in self.fixed.items()), np.zeros_like(share))
        free = [parts[name] for name in self.params[:-2]]
        if not free:
            return nodes
        return np.column_stack([solve_linear(np.stack(free, axis=1), y - known), nodes])

    @override
    def public(self, theta: Array, frame: Frame) -> Array:
        unit, center = frame.units[0], frame.centers[0]
        out = [*np.moveaxis(theta[..., :-2], -1, 0), theta[..., -2] / unit, center + unit * theta[..., -1]]
        return np.stack(out, axis=-1)
