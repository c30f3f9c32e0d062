"""Two families of plentiful rows under shared parameters: Wald's test, and the estimates under it.

In large samples the estimates of a family are normal around the truth; those of two families that share some
parameters are then the ones nearest to both, in closed form (minimum distance, Chamberlain 1982).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from scalelab.analysis.fitting.point import Point
from scalelab.analysis.inference.covariance import covariance, witnesses
from scalelab.analysis.inference.quantities import log_of
from scalelab.arrays import Array

_DRAWS = 1000


class Restricted(NamedTuple):
    """Two families under shared parameters.

    Attributes:
        statistic: Wald's, chi-squared with `dof` degrees of freedom where they share them.
        dof: How many shared parameters the rows of both determine.
        p: The chance of a larger one, by an F distribution.
        first: Parameters of the first family if they do, then draws of them; coefficients as logarithms;
            shape (1 + draws, parameters).
        second: The same of the second family.
    """

    statistic: float
    dof: int
    p: float
    first: Array
    second: Array


def restricted(a: Point, b: Point, shared: Sequence[str]) -> Restricted:
    """Returns two families of one law under shared parameters.

    Args:
        a: The first, of plentiful rows.
        b: The second.
        shared: Names of the parameters.
    """
    (left, spread_left), (right, spread_right) = _estimates(a), _estimates(b)
    size = left.size
    own = [a.law.params.index(name) for name in shared]
    spread = np.zeros((2 * size, 2 * size))
    spread[:size, :size], spread[size:, size:] = spread_left, spread_right
    apart = left[own] - right[own]
    # The covariance of the difference with both families' estimates.
    moves = np.concatenate([spread_left[:, own], -spread_right[:, own]])
    inverse = np.linalg.pinv(spread_left[np.ix_(own, own)] + spread_right[np.ix_(own, own)], hermitian=True)
    dof = max(int(np.linalg.matrix_rank(inverse, hermitian=True)), 1)
    statistic = float(apart @ inverse @ apart)
    center = np.concatenate([left, right]) - moves @ inverse @ apart
    left_over = spread - moves @ inverse @ moves.T
    rng = np.random.default_rng(a.seed)
    # The symmetric root: an eigenvector has no sign, and draws must not hang on the one that LAPACK gives.
    values, vectors = np.linalg.eigh(left_over)
    root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    draws = center + rng.standard_normal((_DRAWS, center.size)) @ root
    both = np.concatenate([center[None], draws])
    free = witnesses(a) + witnesses(b) - 2 * size
    p = float(special.fdtrc(dof, free, statistic / dof))
    return Restricted(statistic, dof, p, both[:, :size], both[:, size:])


def _estimates(fit: Point) -> tuple[Array, Array]:
    """Returns the public parameters of a fit, coefficients as logarithms, and their covariance."""
    law = fit.law
    quantities = [log_of(name) if name in law.coefficients else name for name in law.params]
    slopes = np.stack([fit.gradient(quantity) for quantity in quantities])
    return np.array([fit.estimate(one) for one in quantities]), slopes @ covariance(fit) @ slopes.T
