"""Which family has the lowest loss at a scale of its own, over refits of all their laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scalelab.analysis.fits.fit import Fit
from scalelab.analysis.inference.intervals import refits
from scalelab.analysis.inference.quantities import log_loss_at
from scalelab.analysis.runs.designs import Family
from scalelab.arrays import Array


class Entry(NamedTuple):
    """A family's law, and the scale at which it is asked for."""

    family: Family
    fit: Fit
    at: Mapping[str, float]


def best_shares(entries: Sequence[Entry]) -> list[float]:
    """Returns for each family the share of refits in which its law promises the lowest loss."""
    losses = [_log_losses(*one) for one in entries]
    n = min(len(column) for column in losses)
    winners = np.argmin(np.stack([column[:n] for column in losses]), axis=0)
    return [float(np.mean(winners == i)) for i in range(len(entries))]


def _log_losses(family: Family, fit: Fit, at: Mapping[str, float]) -> Array:
    # Another seed for each family: their noise has nothing in common.
    draws = refits(fit, seed=fit.seed + 1 + sum(map(ord, "".join(family)))).draws
    return log_loss_at(fit, {axis: [at[axis]] for axis in fit.table.axes})(draws)
