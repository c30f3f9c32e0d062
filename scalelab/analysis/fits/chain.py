"""From a law of the loss to a law of what follows from the loss, such as a bounded metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from scalelab.analysis.fits.fit import Fit
from scalelab.analysis.inference.average import AutoFit
from scalelab.analysis.inference.bootstrap import tails
from scalelab.analysis.inference.intervals import Prediction, refits
from scalelab.analysis.inference.noise import sampled, with_noise
from scalelab.analysis.inference.spread import DOF, reach_of_law
from scalelab.arrays import Array
from scalelab.errors import FitError

_REFITS = 1000
_LEAST = 1e-300
_SCALES = ("n_params", "n_examples", "n_tokens", "train_flops", "forward_flops", "epochs")
"""Axes that are no loss, so that a law along them cannot stand second in a chain."""


@dataclass(frozen=True, eq=False)
class Chain:
    """A law of the loss followed by a link from the loss to a metric, or to another loss.

    Attributes:
        loss: Fit of a law of the loss against scale, or an average of laws.
        link: Fit of any law of one axis, such as `sigmoid`, of the metric against the loss, on the same or
            other runs.
    """

    loss: Fit | AutoFit[Fit]
    link: Fit

    @overload
    def predict(self, x: Any, level: None = None, *, noise: bool = False) -> Array: ...
    @overload
    def predict(self, x: Any, level: float, *, noise: bool = False) -> Prediction: ...
    def predict(self, x: Any, level: float | None = None, *, noise: bool = False) -> Array | Prediction:
        """Predicts the metric at given scales.

        Args:
            x: Scales, as the law of the loss takes them.
            level: Coverage of the interval, default none. It combines 1,000 refits of the law with as many
                of the link, drawn independently of each other.
            noise: Whether the interval is for a new run, with the noise of its loss and of its metric.

        Returns:
            Without a level an array of shape (n,), with it a `Prediction`.
        """
        axis = self.link.table.axes[0]
        mean = self.link.predict({axis: self.loss.predict(x)})
        if level is None:
            return mean
        shares = tails(level)
        if isinstance(self.loss, Fit):
            losses = _reaching(self.loss, sampled(self.loss, refits(self.loss).draws, x, of_runs=noise), x)
        else:
            losses = self.loss.sample(x, _REFITS, noise=noise)
        links = self.link.bootstrap(_REFITS, seed=self.link.seed + 1).draws
        n = min(len(losses), len(links))
        if self.link.law.log_axes:
            losses = np.maximum(losses, _LEAST)
        values = self.link.draws(links.theta[:n]).at(self.link.frame.inward([losses[:n]]))
        if noise:
            values = with_noise(self.link, values)
        lower, upper = np.quantile(values, shares, axis=0)
        return Prediction(mean, np.minimum(lower, mean), np.maximum(upper, mean))


def _reaching(fit: Fit, losses: Array, x: Any) -> Array:
    """Returns losses of refits, shape (draws, n), with what the backtest adds: one error for all scales."""
    errors = np.random.default_rng(fit.seed).standard_t(DOF, (len(losses), 1)) * reach_of_law(fit, x)
    moved: Array = losses * np.exp(errors) if fit.law.positive else losses + errors
    return moved


def chain(loss: Fit | AutoFit[Fit], link: Fit) -> Chain:
    """Chains a law of the loss with a link to a metric, or to another loss.

    Args:
        loss: Of a law of the loss against scale.
        link: Of any law of one axis, the loss: `sigmoid`, `loss-to-loss`, or one of your own.

    Raises:
        FitError: The first fit is one of a link, or the second is not along a loss.
    """
    scales = set() if link.law.link else {*_SCALES, *loss.table.axes}
    if (isinstance(loss, Fit) and loss.law.link) or len(link.table.axes) > 1 or scales & {*link.table.axes}:
        raise FitError(
            "chain a fit of a law of the loss with a fit along the loss, such as that of the link 'sigmoid', "
            "in this order"
        )
    return Chain(loss, link)
