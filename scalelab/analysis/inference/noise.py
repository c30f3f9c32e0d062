"""How noisy one run is: from repeats where there are any, else from what the law leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.analysis.fitting.draws import Draws
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.inference.bootstrap import simulator
from scalelab.arrays import Array, Index

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
    Otherwise the residuals are taken, which also contain what the law misses. Copies of a row count once.
    """
    kept = distinct(fit)
    n, p = len(fit.table), fit.theta.size
    dof = max(kept.size - p, 1)
    # What remains was enlarged for the parameters as if copies were rows of their own.
    share = (n - p) / n * kept.size / dof
    overall = float(np.sqrt(np.mean(simulator(fit).noise[kept] ** 2) * share))
    table = fit.table.rows(kept)
    place = _places(np.stack(table.columns, axis=1))
    free = kept.size - int(place.max()) - 1
    if free < _ENOUGH:
        return Noise(overall, dof, "residuals")
    y = fit.estimator.score(table.y)
    means = np.bincount(place, table.weights * y) / np.bincount(place, table.weights)
    pure = float(np.sqrt(np.sum(table.weights * (y - means[place]) ** 2) / free))
    return Noise(pure, free, "repeats", (overall / pure) ** 2)


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
    if counts.min() > 1 or first.size == int(_places(scales).max()) + 1:
        return np.sort(first)
    return np.arange(len(table))


def _places(scales: Array) -> Index:
    """Returns a number for the scales of each row, shape (n,)."""
    return np.unique(scales, axis=0, return_inverse=True)[1].ravel()


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
