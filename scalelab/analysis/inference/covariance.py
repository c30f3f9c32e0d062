"""The covariance of the estimates: fast, and right where a law is nearly linear in its parameters."""

from __future__ import annotations

import numpy as np

from scalelab.analysis.fitting.point import Point
from scalelab.analysis.inference.bootstrap import refuse_one_group
from scalelab.arrays import Array


def covariance(fit: Point, *, bounded: bool = True) -> Array:
    """Returns the covariance of the internal parameters, shape (parameters, parameters).

    The sandwich of M-estimation (Huber 1967) around the Gauss-Newton Hessian,
    `H^-1 (sum of squared scores) H^-1 * n / (n - p)`, with scores summed within groups where there are
    any. The mean second derivative of a narrow Huber penalty, which few residuals decide, is taken from the
    share of residuals within a bandwidth (Powell 1991). Parameters at a bound get no variance. A law may have
    a covariance of its own instead, such as HC3 of `loglog`.

    Raises:
        FitError: All rows are in one group.
    """
    refuse_one_group(fit)
    if fit.table.groups is None and np.ptp(fit.table.weights) == 0:
        own = fit.law.covariance(fit.problem.u, fit.problem.y)
        if own is not None:
            return own
    problem, n, p = fit.problem, len(fit.table), fit.theta.size
    residuals, jac = problem.residuals(fit.theta[None])
    r, rows = residuals[0], jac[0].T
    weights = fit.table.weights
    first, _, _ = fit.estimator.derivatives(r)
    free = (fit.theta > problem.lower) & (fit.theta < problem.upper)
    free |= not bounded
    rows = rows[:, free]
    scores = rows * (weights * first)[:, None]
    if fit.table.groups is None:
        # Residuals are taken as exchangeable: more stable in small samples than their own squares row by row.
        alike = first * np.sqrt(weights)
        meat = np.mean(alike**2) * (rows * weights[:, None]).T @ rows
    else:
        sums = np.zeros((int(fit.table.groups.max()) + 1, rows.shape[1]))
        np.add.at(sums, fit.table.groups, scores)
        meat = sums.T @ sums
    bread = mean_curvature(fit) * (rows * weights[:, None]).T @ rows
    inverse = np.linalg.pinv(bread, hermitian=True)
    out = np.zeros((p, p))
    out[np.ix_(free, free)] = inverse @ meat @ inverse * n / max(n - p, 1)
    found = float(np.mean(r**2 * weights)) * n / max(n - p, 1)
    return out * max(1.0, fit.error**2 / max(found, 1e-300))


def mean_curvature(fit: Point) -> float:
    """Returns the mean second derivative of the penalty over the residuals, smoothed where it is narrow."""
    r, penalty = fit.residuals, fit.estimator
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
