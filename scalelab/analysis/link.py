"""From a law of the loss to a law of a bounded metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.analysis.bootstrap import check_level
from scalelab.analysis.fit import Fit, Prediction
from scalelab.errors import FitError

_REFITS = 1000


@dataclass(frozen=True, eq=False)
class Chain:
    """A law of the loss followed by the link from loss to metric.

    Attributes:
        loss: fit of a law of the loss against scale.
        link: fit of the law ``sigmoid`` of the metric against the loss, on the same or other runs.
    """

    loss: Fit
    link: Fit

    def predict(self, x: Any, level: float | None = None) -> Any:
        """Predicts the metric at given scales.

        Args:
            x: scales, as the law of the loss takes them.
            level: coverage of the interval, default none. It combines 1,000 refits of the law with as many
                of the link, drawn independently of each other.

        Returns:
            Without a level an array of shape (n,), with it a :class:`~scalelab.analysis.fit.Prediction`.
        """
        axis = self.link.table.axes[0]
        mean = self.link.predict({axis: self.loss.predict(x)})
        if level is None:
            return mean
        check_level(level)
        losses = self.loss.bootstrap(_REFITS).draws.at(self.loss.inward(x))
        links = self.link.bootstrap(_REFITS, seed=self.link.seed + 1).draws
        n = min(len(losses), len(links))
        centre, unit = self.link.frame.centres[0], self.link.frame.units[0]
        values = np.empty((n, losses.shape[1]))
        for i in range(n):
            u = ((losses[i] - centre) / unit,)
            values[i] = links.law.value_jac(links.theta[i : i + 1], u)[0][0]
        lower, upper = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        return Prediction(mean, lower, upper)


def chain(loss: Fit, link: Fit) -> Chain:
    """Chains a law of the loss with a link to a bounded metric.

    Raises:
        FitError: the second fit is not one of the law ``sigmoid``, or the first one is.
    """
    if link.law.name != "sigmoid" or loss.law.name == "sigmoid":
        raise FitError("chain a fit of a law of the loss with a fit of the law 'sigmoid', in this order")
    return Chain(loss, link)
