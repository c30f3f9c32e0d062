"""What a law may miss, as a random field over the scales: near runs are off alike, far ones each for itself.

No law is right. What it misses shows in its residuals: where those of near runs agree, part of their variance
is misfit and no number of runs at one place averages it away. A Gaussian kernel over the logarithms of the
axes says how misfit at one scale goes with that at another; the share of the variance and the length of the
kernel are not chosen but averaged, with the probability that the residuals give each (Kennedy & O'Hagan 2001,
Bayesian calibration of computer models). Where other forms of the law are considered, what they predict
beside the first is one more such field.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from scalelab.analysis.next.belief import Belief
from scalelab.arrays import Array

SHARES = (0.0, 0.2, 0.5, 0.8)
"""Parts of a run's variance around the law that are misfit."""
LENGTHS = (0.15, 0.4, 1.0)
"""Lengths of the kernel, in ranges of each axis."""

_SPREADS = (0.5, 0.7, 1.0, 1.4, 2.0)
_FEWEST = 3
_JITTER = 1e-9


@dataclass(frozen=True, eq=False)
class Misfit:
    """The covariance of what a law misses.

    Attributes:
        variance: Variance of a run around the law.
        own: The part of it that is each run's own.
        weights: By share and length, how probable they are.
        distances: Squared distances between all points over squared ranges, shape (points, points).
        beside: What other forms predict beside the first, shape (forms, points), and their weights.
    """

    variance: float
    own: float
    weights: dict[tuple[float, float], float]
    distances: Array
    beside: tuple[Array, Array]

    @classmethod
    def of(cls, belief: Belief, points: tuple[Array, ...], n: int, others: dict[Belief, float]) -> Misfit:
        """Weighs shares and lengths by the residuals of a belief.

        Args:
            belief: The first form.
            points: All scales, axis by axis: first the n rows of the belief, then candidates and targets.
            n: How many rows there are.
            others: Other forms with their weights, on the same rows.
        """
        u = np.stack([np.log(column) if belief.law.log_axes else column for column in points])
        span = np.maximum(np.ptp(u, axis=1), _JITTER)
        distances = np.sum(((u[:, :, None] - u[:, None, :]) / span[:, None, None]) ** 2, axis=0)
        weights = _weights(belief, distances[:n, :n])
        own = belief.noise**2 * sum((1.0 - share) * weight for (share, _), weight in weights.items())
        first = belief.scores_at(points)
        gaps = [other.scores_at(points) - first for other in others]
        beside = np.stack(gaps) if gaps else np.zeros((0, first.size))
        return cls(belief.noise**2, own, weights, distances, (beside, np.array(list(others.values()))))

    @property
    def share(self) -> float:
        """The part of a run's variance around the law that is misfit."""
        return 1.0 - self.own / self.variance

    def covariance(self) -> Array:
        """Returns the covariance of what the law misses between all points, shape (points, points)."""
        total = np.zeros_like(self.distances)
        for (share, length), weight in self.weights.items():
            if share and weight > _JITTER:
                total += self.variance * weight * share * np.exp(-0.5 * self.distances / length**2)
        gaps, weights = self.beside
        return total + (gaps.T * weights) @ gaps


def _weights(belief: Belief, distances: Array) -> dict[tuple[float, float], float]:
    """Returns how probable each share and length is; before there are residuals, all shares alike."""
    grid = [(share, length) for share in SHARES for length in (LENGTHS if share else LENGTHS[-1:])]
    prior = np.array([1.0 if not share else 1.0 / len(LENGTHS) for share, _ in grid]) / len(SHARES)
    n = len(distances)
    if n < _FEWEST:
        return dict(zip(grid, prior.tolist(), strict=True))
    off = belief.slopes @ (belief.theta - belief.center) - belief.residuals
    of_law = (belief.slopes * belief.width**2) @ belief.slopes.T
    found = np.array([
        np.logaddexp.reduce([
            _density(off, of_law + (spread * belief.noise) ** 2 * _mixed(distances, share, length))
            for spread in _SPREADS
        ])
        for share, length in grid
    ])  # fmt: skip
    weights = prior * np.exp(found - found.max())
    return dict(zip(grid, (weights / weights.sum()).tolist(), strict=True))


def _mixed(distances: Array, share: float, length: float) -> Array:
    alone = (1.0 - share + _JITTER) * np.eye(len(distances))
    return alone + share * np.exp(-0.5 * distances / length**2) if share else alone


def _density(off: Array, covariance: Array) -> float:
    """Returns the logarithm of the normal density of residuals, up to a constant."""
    root = np.linalg.cholesky(covariance)
    z = solve_triangular(root, off, lower=True)
    return float(-0.5 * z @ z - np.sum(np.log(np.diag(root))))
