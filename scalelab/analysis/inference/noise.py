"""How noisy one run is: from repeats where there are any, else from what the law leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from scalelab.analysis.fitting.draws import Draws
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.inference.simulator import ENOUGH_REPEATS, places, simulator
from scalelab.arrays import Array, Index

_LACK = 0.05


@dataclass(frozen=True)
class Noise:
    """The standard deviation of one run around the law, in the space of the fit's residuals.

    Attributes:
        sigma: Standard deviation, for a row of weight one.
        dof: Degrees of freedom behind it.
        source: `repeats` (runs at the same scale that differ by their seed) or `residuals`.
        lack_of_fit: What the residuals of the means of repeats say of the variance of one run, over what the
            repeats do; far above one, the law misses something. None without repeats.
        missed: Standard deviation of what the law misses at a scale beside that noise, where the lack of fit
            is sure (F test, p < .05); else zero, as without repeats, whose residuals have it.
    """

    sigma: float
    dof: int
    source: str
    lack_of_fit: float | None = None
    missed: float = 0.0

    @property
    def elsewhere(self) -> float:
        """Standard deviation of a run at another scale, which the law misses too."""
        return float(np.hypot(self.sigma, self.missed))


def noise(fit: Point) -> Noise:
    """Estimates the noise of one run.

    Repeats, rows at exactly the same scale, give the pure error, if there are five degrees of freedom of it.
    Otherwise the residuals are taken, which also contain what the law misses. Copies of a row count once.
    """
    kept = distinct(fit)
    n, p = len(fit.table), fit.theta.size
    dof = max(kept.size - p, 1)
    # What remains was enlarged for the parameters as if copies were rows of their own.
    squares = float(np.sum(simulator(fit).noise[kept] ** 2)) * (n - p) / n
    overall = float(np.sqrt(squares / dof))
    table = fit.table.rows(kept)
    place = places(table.columns)
    scales = int(place.max()) + 1
    free = kept.size - scales
    if free < ENOUGH_REPEATS:
        return Noise(overall, dof, "residuals")
    y = fit.estimator.score(table.y)
    means = np.bincount(place, table.weights * y) / np.bincount(place, table.weights)
    within = float(np.sum(table.weights * (y - means[place]) ** 2))
    pure, of_law = within / free, max(scales - p, 1)
    ratio = max(squares - within, 0.0) / of_law / max(pure, 1e-300)
    repeats = simulator(fit).repeats
    missed = 0.0
    if repeats is not None and special.fdtrc(of_law, free, ratio) < _LACK:
        missed = float(np.sqrt(np.mean(repeats.shared**2)))
    return Noise(float(np.sqrt(pure)), free, "repeats", ratio, missed)


def distinct(fit: Point) -> Index:
    """Returns the first row of each set of copies, by number.

    Rows of the same scales and outcome, to twelve digits, are copies where no row is without one, or where no
    runs at one scale differ. Otherwise they are repeats that happen to agree, as where a metric counts.
    """
    table = fit.table
    outcome = np.array([float(f"{value:.12g}") for value in table.y])
    scales = np.stack(table.columns, axis=1)
    _, first, counts = np.unique(
        np.column_stack([scales, outcome]), axis=0, return_index=True, return_counts=True
    )
    if counts.min() > 1 or first.size == int(places(table.columns).max()) + 1:
        return np.sort(first)
    return np.arange(len(table))


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
    extra = own.elsewhere * np.random.default_rng(fit.seed).standard_t(own.dof, values.shape)
    return values * np.exp(extra) if fit.estimator.log else values + extra
