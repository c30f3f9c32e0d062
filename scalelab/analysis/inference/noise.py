"""How noisy one run is: from repeats where there are any, else from what the law leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.analysis.fitting.draws import Draws
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.inference.bootstrap import simulator
from scalelab.arrays import Array

_ENOUGH = 5


@dataclass(frozen=True)
class Noise:
    """The standard deviation of one run around the law, in the space of the fit's residuals.

    Attributes:
        sigma: Standard deviation, for a row of weight one.
        dof: Degrees of freedom behind it.
        source: `repeats` (runs at the same scale that differ by their seed) or `residuals`.
        lack_of_fit: Variance of the residuals over that of the repeats; far above one, the law misses
            something that repeats do not show. None without repeats.
    """

    sigma: float
    dof: int
    source: str
    lack_of_fit: float | None = None


def noise(fit: Point) -> Noise:
    """Estimates the noise of one run.

    Repeats, rows at exactly the same scale, give the pure error, if there are five degrees of freedom of it.
    Otherwise the residuals are taken, which also contain what the law misses.
    """
    remaining = simulator(fit).noise
    n, p = len(fit.table), fit.theta.size
    overall = float(np.sqrt(np.mean(remaining**2)))
    _, place = np.unique(np.stack(fit.table.columns, axis=1), axis=0, return_inverse=True)
    place = place.ravel()
    counts = np.bincount(place)
    dof = int((counts - 1).sum())
    if dof < _ENOUGH:
        return Noise(overall, n - p, "residuals")
    y = fit.estimator.score(fit.table.y)
    weights = fit.table.weights
    means = np.bincount(place, weights * y) / np.bincount(place, weights)
    pure = float(np.sqrt(np.sum(weights * (y - means[place]) ** 2) / dof))
    if pure == 0.0:
        # Rows that agree to the last digit are copies, not repeats.
        return Noise(overall, n - p, "residuals")
    return Noise(pure, dof, "repeats", (overall / pure) ** 2)


def sampled(fit: Point, draws: Draws, x: Any, *, of_runs: bool = False) -> Array:
    """Returns predictions of refits at some scales, shape (draws, n).

    Args:
        fit: The fit.
        draws: Its refits.
        x: Scales, as the fit takes them, n of them.
        of_runs: Whether to add the noise of one run to each, drawn with the fit's seed.
    """
    at = draws.at(fit.inward(x))
    return with_noise(fit, at) if of_runs else at


def with_noise(fit: Point, values: Array) -> Array:
    """Returns outcomes, of any shape, each with the noise of one run, drawn with the fit's seed."""
    own = noise(fit)
    extra = own.sigma * np.random.default_rng(fit.seed).standard_t(own.dof, values.shape)
    return values * np.exp(extra) if fit.estimator.log else values + extra
