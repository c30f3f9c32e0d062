"""How good held-out predictions are, with intervals from resampled units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.trees.validation import HeldOut
from scalelab.arrays import Array

if TYPE_CHECKING:
    import pandas as pd


N_BOOTSTRAP = 500


def score_table(y: Array, held: HeldOut, units: NDArray[np.int64], level: float, seed: int) -> pd.DataFrame:
    """Scores each repeat, means over the repeats, with percentiles over resampled units.

    Args:
        y: What happened, shape (n,).
        held: Held-out predictions.
        units: What is drawn together, shape (n,).
        level: Coverage of the intervals.
        seed: Seed of the resamples.

    Returns:
        `score`, `value`, `lower`, `upper`.
    """
    import pandas as pd
    from scipy.stats import rankdata

    samples, ones = resamples(units, seed), np.ones((1, y.size))
    ranks = rankdata(y)
    rows = []
    for name, score in (
        ("pearson", lambda w: [correlation(y, p, w) for p in held.predicted]),
        ("spearman", lambda w: [correlation(ranks, rankdata(p), w) for p in held.predicted]),
        ("r2", lambda w: [_skill(y, p, m, w) for p, m in zip(held.predicted, held.mean, strict=True)]),
        ("rmse", lambda w: [np.sqrt(_mean((p - y) ** 2, w)) for p in held.predicted]),
    ):
        lower, upper = interval(np.mean(score(samples), axis=0), level)
        rows.append({"score": name, "value": float(np.mean(score(ones))), "lower": lower, "upper": upper})
    return pd.DataFrame(rows)


def mean_rmse(y: Array, held: HeldOut) -> float:
    """Returns the RMSE of predicting the mean of what was learned from."""
    return float(np.sqrt(((held.mean - y) ** 2).mean(axis=1)).mean())


def resamples(units: NDArray[np.int64], seed: int) -> Array:
    """Returns how often each run is drawn in each bootstrap sample of units, shape (samples, runs)."""
    n = int(units.max()) + 1
    counts = np.random.default_rng([seed, n]).multinomial(n, np.full(n, 1.0 / n), size=N_BOOTSTRAP)
    return counts[:, units].astype(float)


def interval(draws: Array, level: float) -> Array:
    """Returns the ends of the middle part of finite draws (draws, ...), shape (2, ...)."""
    known = np.where(np.isfinite(draws), draws, np.nan)
    if not known.size:
        return np.empty((2, *known.shape[1:]))
    return np.nanquantile(known, [0.5 - level / 2, 0.5 + level / 2], axis=0)


def _skill(y: Array, predicted: Array, mean: Array, weights: Array) -> Array:
    """R² against the mean of what was learned from, which a useless model gets 0 for."""
    return 1.0 - _mean((predicted - y) ** 2, weights) / _mean((mean - y) ** 2, weights)


def _mean(values: Array, weights: Array) -> Array:
    """Weighted means of values (n,) for every row of weights (samples, n)."""
    return np.asarray(weights @ values / weights.sum(axis=1))


def correlation(a: Array, b: Array, weights: Array) -> Array:
    """Pearson's correlation of a and b (n,) for every row of weights; 0 where one is constant."""
    a, b = a - a.mean(), b - b.mean()
    mean_a, mean_b = _mean(a, weights), _mean(b, weights)
    covariance = _mean(a * b, weights) - mean_a * mean_b
    scale = np.sqrt((_mean(a * a, weights) - mean_a**2) * (_mean(b * b, weights) - mean_b**2))
    return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
