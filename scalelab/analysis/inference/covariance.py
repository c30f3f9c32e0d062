"""The covariance of the estimates: fast, and right where a law is nearly linear in its parameters."""

from __future__ import annotations

import numpy as np

from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.point import Point
from scalelab.analysis.inference.bootstrap import refuse_one_group
from scalelab.analysis.inference.simulator import places, simulator
from scalelab.arrays import Array, Index

PLENTY_ROWS, PLENTY_SCALES = 300, 60
"""More rows than that, at no fewer scales, are spread as the normal approximation of their scores says."""


def plentiful(fit: Point) -> bool:
    """Whether a fit has rows enough for limits of large samples: see `PLENTY_ROWS`.

    Not where outcomes bring errors of their own or the axis has one: what these do to a law is simulated.
    """
    return fit.keep("plentiful", lambda: _plentiful(fit))


def _plentiful(fit: Point) -> bool:
    table = fit.table
    if (
        len(table) <= PLENTY_ROWS
        or table.errors is not None
        or table.groups is not None
        or fit.law.axis_error
    ):
        return False
    return int(places(table.columns).max()) + 1 >= PLENTY_SCALES


def covariance(fit: Point, *, bounded: bool = True) -> Array:
    """Returns the covariance of the internal parameters, shape (parameters, parameters).

    The sandwich of M-estimation (Huber 1967) around the Gauss-Newton Hessian,
    `H^-1 (sum of squared scores) H^-1 * n / (n - p)`, with scores summed within groups where there are
    any, and of plentiful rows within scales that have repeats: what a law misses at a scale all of its rows
    share. The mean second derivative of a narrow Huber penalty, which few residuals decide, is taken from the
    share of residuals within a bandwidth (Powell 1991). Parameters at a bound get no variance. A law may have
    a covariance of its own instead, such as HC3 of `loglog`.

    Raises:
        FitError: All rows are in one group.
    """
    refuse_one_group(fit)
    return fit.keep(("covariance", bounded), lambda: _covariance(fit, bounded))


def _covariance(fit: Point, bounded: bool) -> Array:
    if fit.table.groups is None and np.ptp(fit.table.weights) == 0:
        own = fit.law.covariance(fit.problem.u, fit.problem.y)
        if own is not None:
            return own
    inverse, meat = _sandwich(fit, bounded, fit.estimator)
    n, p = len(fit.table), fit.theta.size
    found = float(np.mean(fit.residuals**2 * fit.table.weights)) * n / max(n - p, 1)
    return inverse @ meat @ inverse * max(1.0, fit.error**2 / max(found, 1e-300))


def cost_of_error(fit: Point, slope: Array, penalty: Estimator) -> float:
    """Returns what the objective rises by, to second order, one standard error from the estimate.

    Args:
        fit: The fit.
        slope: Derivatives of a quantity by the internal parameters, shape (parameters,).
        penalty: What the objective is of, the fit's own or a smoother one.
    """
    for bounded in (True, False):  # at a bound the estimate cannot move to first order; further away it can
        inverse, meat = _sandwich(fit, bounded, penalty)
        moved = float(slope @ inverse @ slope)
        if moved > 0:
            return 0.5 * float(slope @ inverse @ meat @ inverse @ slope) / moved
    return np.inf


def witnesses(fit: Point) -> int:
    """Returns how many independent parts the rows have: groups, scales of plentiful repeats, or rows."""
    clusters = _clusters(fit)
    return len(fit.table) if clusters is None else int(clusters.max()) + 1


def _clusters(fit: Point) -> Index | None:
    """Returns the number of the part of each row that is independent of the others; `None` for rows."""
    if fit.table.groups is not None:
        return fit.table.groups
    repeats = simulator(fit).repeats if plentiful(fit) else None
    return None if repeats is None else repeats.place


def _sandwich(fit: Point, bounded: bool, penalty: Estimator) -> tuple[Array, Array]:
    """Returns the inverse of the Hessian and the covariance of the scores, zero where a bound holds."""
    return fit.keep(("sandwich", bounded, penalty), lambda: _sandwiched(fit, bounded, penalty))


def _sandwiched(fit: Point, bounded: bool, penalty: Estimator) -> tuple[Array, Array]:
    problem, n, p = fit.problem, len(fit.table), fit.theta.size
    residuals, jac = problem.residuals(fit.theta[None])
    rows, weights, clusters = jac[0].T, fit.table.weights, _clusters(fit)
    first, _, _ = penalty.derivatives(residuals[0])
    free = (fit.theta > problem.lower) & (fit.theta < problem.upper)
    free |= not bounded
    rows = rows[:, free]
    if clusters is None:
        # Residuals are taken as exchangeable: more stable in small samples than their own squares row by row.
        alike = first * np.sqrt(weights)
        scores = np.mean(alike**2) * (rows * weights[:, None]).T @ rows
    else:
        sums = np.zeros((int(clusters.max()) + 1, rows.shape[1]))
        np.add.at(sums, clusters, rows * (weights * first)[:, None])
        scores = sums.T @ sums
    information = (rows * weights[:, None]).T @ rows
    unweighted = np.linalg.pinv(information, hermitian=True)
    enlarged = n / max(n - p, 1)
    if clusters is not None and fit.table.groups is None:
        # The rows of a scale share derivatives: HC3 of one row each, since corners of a grid weigh much.
        held = np.einsum("np,pq,nq->n", rows, unweighted, rows) * weights
        sums /= np.maximum(1.0 - np.bincount(clusters, held), 1.0 / n)[:, None]
        scores, enlarged = sums.T @ sums, 1.0
    inverse, meat = np.zeros((p, p)), np.zeros((p, p))
    inverse[np.ix_(free, free)] = unweighted / mean_curvature(fit, penalty)
    meat[np.ix_(free, free)] = scores * enlarged
    return inverse, meat


def mean_curvature(fit: Point, penalty: Estimator) -> float:
    """Returns the mean second derivative of a penalty over the residuals, smoothed where it is narrow."""
    r = fit.residuals
    if penalty.kind == "square":
        return 2.0
    n = r.size
    quartiles = np.subtract(*np.quantile(r, [0.75, 0.25])) / 1.349
    width = 1.06 * min(float(np.std(r)), float(quartiles) or np.inf) * n**-0.2
    # An absolute penalty has the second derivative 2 * (density at zero); a narrow Huber one delta times
    # that.
    narrow = penalty.delta if penalty.kind != "absolute" else 0.0
    reach = max(width, narrow, 1e-300)
    inside = max(float(np.mean(np.abs(r) <= reach)), 1.0 / n)
    steepness = 1.0 if penalty.kind == "absolute" else penalty.delta
    mean_side = 0.5 if penalty.kind == "asymmetric" else 1.0
    return float(steepness * mean_side * inside / reach)
