"""Finds the optimum of one fit: starts by variable projection, then minimization of the most promising."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np

from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.exact import exact
from scalelab.analysis.fitting.solver import Problem, Solution, minimize, stages
from scalelab.arrays import Array, Index


class _Effort(TypedDict):
    max_iter: int
    xtol: float
    ftol: float


_MANY_ROWS, _PROBED = 4000, 40
_AGREE = 1e-6
_SPREAD = 3
_FEW, _RAW = 12, 2
_SAME = 1e-2
_FIRST: _Effort = {"max_iter": 15, "xtol": 1e-3, "ftol": 1e-3}
_NEXT: _Effort = {"max_iter": 25, "xtol": 1e-6, "ftol": 1e-10}
_LAST: _Effort = {"max_iter": 120, "xtol": 1e-6, "ftol": 1e-10}


@dataclass(frozen=True)
class Starts:
    """How the search went.

    Attributes:
        considered: Nodes of the grid over the parameters in which the law is not linear.
        refined: How many of them were minimized.
        agreeing: How many of those ended at the best objective, within one part in a million.
        rows: How many rows the refinement used; more than 4,000 are thinned before the last polish.
    """

    considered: int
    refined: int
    agreeing: int
    rows: int


def search(problem: Problem, weights: Array, seed: int) -> tuple[Array, float, Starts]:
    """Minimizes from many starting points and polishes the best.

    Args:
        problem: What to minimize; its `y` is one-dimensional.
        weights: Weights of the rows, shape (n,).
        seed: Decides the thinning of tables of more than 4,000 rows.

    Returns:
        Internal parameters of shape (parameters,), the summed objective, and the report.
    """
    thin, thin_weights = _thinned(problem, weights, seed, _MANY_ROWS)
    with np.errstate(all="ignore"):
        candidates = problem.law.starts(thin.u, thin.y)
    candidates = candidates[np.isfinite(candidates).all(axis=1)]
    candidates = np.clip(candidates, problem.lower, problem.upper)
    chosen = _choose(thin.objective(candidates, thin_weights), problem.law.n_starts)
    theta = candidates[chosen]
    probed, _ = _thinned(problem, weights, seed, _PROBED)
    ends, zero = exact(probed, theta)
    if zero.any() and probed is not problem:
        ends, zero = exact(problem, ends[zero][:1])
    if zero.any():
        # Nothing is below zero, whatever the penalty and the weights.
        objective = problem.objective(ends, weights)
        best = int(np.argmin(objective))
        report = Starts(len(candidates), len(theta), int(zero.sum()), probed.y.size)
        return ends[best], float(objective[best]), report
    theta, counts, last = _staged(thin, _halved(thin, theta, ends, thin_weights), thin_weights)
    objective = thin.objective(theta, thin_weights)
    best = int(np.argmin(objective))
    same = objective <= objective[best] * (1 + _AGREE) + 1e-20 * thin.y.size
    top = theta[np.argsort(objective, kind="stable")[: 1 if thin is problem else 2]]
    polished = minimize(replace(problem, estimator=last), top, weights)
    final = problem.objective(polished.theta, weights)
    winner = int(np.argmin(final))
    report = Starts(len(candidates), int(counts.sum()), int(counts[same].sum()), thin.y.size)
    return polished.theta[winner], float(final[winner]), report


def _staged(problem: Problem, theta: Array, weights: Array) -> tuple[Array, Index, Estimator]:
    """Minimizes through the stages of the penalty.

    Returns:
        Where the starts ended, for how many starts each of these stands, and the last stage.
    """
    best = int(np.argmin(problem.objective(theta, weights)))
    penalties = stages(problem.estimator, problem.residuals(theta[[best]])[0])
    counts: Index = np.ones(len(theta), dtype=int)
    for index, penalty in enumerate(penalties):
        effort = _LAST if penalty is penalties[-1] else _NEXT if index else _FIRST
        solution = minimize(replace(problem, estimator=penalty), theta, weights, **effort)
        theta = solution.theta
        if index == 0 and effort is not _LAST:
            theta, counts = _distinct(solution, counts)
    return theta, counts, penalties[-1]


def _distinct(solution: Solution, counts: Index) -> tuple[Array, Index]:
    """Returns one of each group of ends that lie together, and for how many starts each of them stands."""
    order = np.argsort(solution.objective, kind="stable")
    theta, objective = solution.theta[order], solution.objective[order]
    near = np.abs(theta[:, None] - theta[None]).max(axis=2) <= _SAME * (1.0 + np.abs(theta).max(axis=1))
    near &= np.abs(objective[:, None] - objective) <= _SAME * objective[:, None]
    leader = near.argmax(axis=1)
    kept = np.unique(leader)
    return theta[kept], np.array([counts[order][leader == one].sum() for one in kept])


def _halved(problem: Problem, theta: Array, ends: Array, weights: Array) -> Array:
    """Returns the more promising starts of the robust penalty, from the starts and where squares led them.

    Squares have fewer local optima where the rows follow the law, the robust penalty where some of them do
    not. Where there are many starts, a few cheap steps with a wide penalty tell which they are.
    """
    if not problem.estimator.huberized:
        return ends
    if len(theta) <= _FEW:
        return np.concatenate([ends, theta[:_RAW]])
    wide = problem.estimator.smoothed(float(np.median(np.abs(problem.residuals(theta[:1])[0]))))
    half = max(_FEW, len(theta) // 4) // 2
    solution = minimize(replace(problem, estimator=wide), theta, weights, max_iter=12, xtol=1e-3, ftol=1e-3)
    robust = solution.theta[np.argsort(solution.objective, kind="stable")[:half]]
    square = replace(problem, estimator=Estimator.named("log-mse" if problem.estimator.log else "mse"))
    return np.concatenate([robust, ends[np.argsort(square.objective(ends, weights), kind="stable")[:half]]])


def _choose(objective: Array, n_starts: int) -> Index:
    """Returns indices of the best candidates, and of a few that are worse, for other valleys."""
    order = np.argsort(objective, kind="stable")
    order = order[np.isfinite(objective[order])]
    if len(order) <= n_starts:
        return order if len(order) else np.zeros(1, dtype=int)
    n_spread = n_starts // _SPREAD
    head = order[: n_starts - n_spread]
    tail = order[n_starts - n_spread :]
    picks = np.linspace(0, len(tail) // 2, n_spread, dtype=int)
    return np.concatenate([head, tail[np.unique(picks)]])


def _thinned(problem: Problem, weights: Array, seed: int, most: int) -> tuple[Problem, Array]:
    n = problem.y.size
    if n <= most:
        return problem, weights
    rows = np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
    # The ends of every axis decide the shape of a law, so they are always kept.
    ends = [f(column) for column in problem.u for f in (np.argmin, np.argmax)]
    rows = np.union1d(rows, ends)
    u = tuple(column[rows] for column in problem.u)
    return replace(problem, u=u, y=problem.y[rows]), weights[rows]
