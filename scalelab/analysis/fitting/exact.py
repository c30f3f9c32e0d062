"""Finds laws that the rows follow exactly.

Rows without noise leave an objective of zero at the end of a valley that may be long, curved and flat: its
steepest and its flattest direction can differ by a factor of 10^8, of which the normal equations of `solver`
see the square. Here steps come from a singular value decomposition of the derivatives themselves, damped as
by Levenberg and Marquardt, and bend with the valley: the acceleration along the geodesic of Transtrum &
Sethna 2012, Improvements to the Levenberg-Marquardt algorithm, arXiv:1201.5885.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.solver import Problem
from scalelab.arrays import Array, Index

_PROBE = 0.1
_BEND = 0.75
_LAM_START, _LAM_FAR, _LAM_LOW, _LAM_HIGH = 1e-3, 1e-10, 1e-30, 1e10
_ROUNDING, _AT_ZERO = 1e-15, 1e-13
_SETTLED, _UNDAMPED = 1e-4, 1e-2
_MOST, _CHECKED, _STRAIGHT = 3000, 5, 10
_NEAR = 1e-4
_CREEPING = 0.98


def exact(problem: Problem, theta: Array, patience: float = 0.25) -> tuple[Array, Array]:
    """Minimizes the sum of squared residuals, unweighted, from a batch of starting points.

    Ends as soon as one of them is at zero but for rounding, and otherwise when all have settled or no longer
    fall as fast as those do that go to zero.

    Args:
        problem: The law and the rows; `y` is one-dimensional. Its penalty only says whether residuals are
            those of logarithms.
        theta: Starting points, shape (batch, parameters).
        patience: To what share of it the sum must fall in five steps to go on.

    Returns:
        Where they ended, shape (batch, parameters), and which of them are at zero, shape (batch,).
    """
    square = Estimator.named("log-mse" if problem.estimator.log else "mse")
    problem = replace(problem, estimator=square)
    # A logarithm is known to the rounding of the value that it was taken of, a value to its own.
    unit = 1.0 if square.log else problem.y_scale * float(np.abs(problem.y).max())
    with np.errstate(all="ignore"):
        return _descend(problem, np.clip(theta, problem.lower, problem.upper), unit, patience)


def _descend(problem: Problem, theta: Array, unit: float, patience: float) -> tuple[Array, Index]:
    r, jac = problem.residuals(theta)
    lam = np.full(len(theta), _LAM_START)
    alive: Index = np.array(np.isfinite(r).all(axis=1) & np.isfinite(jac).all(axis=(1, 2)))
    total = np.where(alive, (r**2).sum(axis=1), np.inf)
    before, near = total.copy(), (_NEAR * unit) ** 2 * r.shape[1]
    for round_ in range(1, _MOST + 1):
        if not alive.any() or np.abs(r[alive]).max(axis=1).min() <= _ROUNDING * unit:
            break
        now = np.flatnonzero(alive)
        # Far from zero the damping allows for the faster equations, and many starts make up for first steps
        # that do not bend, which cost half.
        far = bool(total[now].min() > near)
        bent = round_ > _STRAIGHT or not far
        step = _step(problem, theta[now], r[now], jac[now], lam[now], far, bent)
        trial = np.clip(theta[now] + step, problem.lower, problem.upper)
        r_new, jac_new = problem.residuals(trial)
        total_new = (r_new**2).sum(axis=1)
        better = (total_new <= total[now]) & np.isfinite(jac_new).all(axis=(1, 2))
        settled = np.abs(trial - theta[now]).max(axis=1) < _ROUNDING
        settled |= better & (total[now] - total_new <= _SETTLED * total[now]) & (lam[now] <= _UNDAMPED)
        least = _LAM_FAR if far else _LAM_LOW
        lam[now] = np.where(better, np.maximum(lam[now] / 10.0, least), lam[now] * 4.0)
        taken = now[better]
        theta[taken], r[taken], jac[taken] = trial[better], r_new[better], jac_new[better]
        total[taken] = total_new[better]
        alive[now] = ~settled & (lam[now] < _LAM_HIGH)
        if round_ % _CHECKED == 0 and round_ > _CHECKED:
            alive &= total <= np.where(total > near, patience, _CREEPING) * before
            before = total.copy()
    return theta, np.abs(r).max(axis=1) <= _AT_ZERO * unit


def _step(problem: Problem, theta: Array, r: Array, jac: Array, lam: Array, far: bool, bent: bool) -> Array:
    """Returns the damped steps, zero where they would leave the box, `bent` with their acceleration."""
    slope = np.matmul(jac, r[:, :, None])[:, :, 0]
    free = ~(((theta <= problem.lower) & (slope > 0)) | ((theta >= problem.upper) & (slope < 0)))
    scale = np.sqrt(np.einsum("bpn,bpn->bp", jac, jac))
    scale = np.maximum(scale, 1e-9 * scale.max(axis=1, keepdims=True) + 1e-300)
    part = free / scale
    solve = (_normal if far else _decomposed)(jac * part[:, :, None], lam)
    first: Array = -part * solve(r)
    if not bent:
        return first
    probed, _ = problem.residuals(np.clip(theta + _PROBE * first, problem.lower, problem.upper))
    bend = 2.0 / _PROBE * ((probed - r) / _PROBE - np.matmul(first[:, None, :], jac)[:, 0, :])
    bend = np.where(np.isfinite(bend), bend, 0.0)
    second = -0.5 * part * solve(bend)
    mild = 2.0 * np.linalg.norm(second * scale, axis=1) <= _BEND * np.linalg.norm(first * scale, axis=1)
    step: Array = first + np.where(mild[:, None], second, 0.0)
    return step


def _normal(jac: Array, lam: Array) -> Callable[[Array], Array]:
    """Returns what multiplies by damped pseudoinverses of derivatives of unit length: normal equations."""
    gram = np.matmul(jac, jac.transpose(0, 2, 1))
    diagonal = np.arange(gram.shape[1])
    # Damping that was lowered near zero is too low for these equations, where others are left that are far.
    gram[:, diagonal, diagonal] += np.maximum(lam, _LAM_FAR)[:, None]
    return lambda r: np.asarray(np.linalg.solve(gram, np.matmul(jac, r[:, :, None]))[:, :, 0])


def _decomposed(jac: Array, lam: Array) -> Callable[[Array], Array]:
    """Returns what multiplies by damped pseudoinverses of derivatives of unit length: singular values."""
    left, values, right = np.linalg.svd(jac, full_matrices=False)
    inverse = np.matmul(left * (values / (values**2 + lam[:, None]))[:, None, :], right)
    return lambda r: np.asarray(np.matmul(inverse, r[:, :, None])[:, :, 0])
