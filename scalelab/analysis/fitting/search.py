"""Finds the optimum of one fit: starts by variable projection, then minimization of the most promising."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.solver import Problem, minimize, stages
from scalelab.arrays import Array, Index

_MANY_ROWS = 4000
_AGREE = 1e-6
_SPREAD = 3
_FEW = 12


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
    thin, thin_weights = _thinned(problem, weights, seed)
    with np.errstate(all="ignore"):
        candidates = problem.law.starts(thin.u, thin.y)
    candidates = candidates[np.isfinite(candidates).all(axis=1)]
    candidates = np.clip(candidates, problem.lower, problem.upper)
    chosen = _choose(thin.objective(candidates, thin_weights), problem.law.n_starts)
    theta = candidates[chosen]
    theta = _halved(thin, theta, thin_weights)
    penalties = stages(thin.estimator, thin.residuals(theta[:1])[0])
    for penalty in penalties:
        last = penalty is penalties[-1]
        staged = replace(thin, estimator=penalty)
        solution = minimize(staged, theta, thin_weights, max_iter=120 if last else 25, xtol=1e-6, ftol=1e-10)
        theta = solution.theta
    objective = thin.objective(theta, thin_weights)
    best = int(np.argmin(objective))
    agreeing = int((objective <= objective[best] * (1 + _AGREE) + 1e-20 * thin.y.size).sum())
    top = theta[np.argsort(objective, kind="stable")[: 1 if thin is problem else 2]]
    polish = replace(problem, estimator=penalties[-1])
    polished = minimize(polish, top, weights)
    exact = problem.objective(polished.theta, weights)
    winner = int(np.argmin(exact))
    report = Starts(len(candidates), len(theta), agreeing, thin.y.size)
    return polished.theta[winner], float(exact[winner]), report


def _halved(problem: Problem, theta: Array, weights: Array) -> Array:
    """Returns the more promising starts: where there are many, a few cheap steps tell which they are.

    The steps are tried with squares as well as with the wide penalty. Squares have fewer local optima where
    the rows follow the law, the robust penalty where some of them do not.
    """
    if len(theta) <= _FEW:
        return theta
    wide = problem.estimator.smoothed(float(np.median(np.abs(problem.residuals(theta[:1])[0]))))
    square = Estimator.named("log-mse" if problem.estimator.log else "mse")
    keep = max(_FEW, len(theta) // 4)
    found = []
    for penalty in (wide, square) if wide.huberized else (square,):
        solution = minimize(
            replace(problem, estimator=penalty), theta, weights, max_iter=20, xtol=1e-3, ftol=1e-4
        )
        order = np.argsort(solution.objective, kind="stable")
        found.append(solution.theta[order[: keep // (2 if wide.huberized else 1)]])
    return np.concatenate(found)


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


def _thinned(problem: Problem, weights: Array, seed: int) -> tuple[Problem, Array]:
    n = problem.y.size
    if n <= _MANY_ROWS:
        return problem, weights
    rows = np.sort(np.random.default_rng(seed).choice(n, _MANY_ROWS, replace=False))
    # The ends of every axis decide the shape of a law, so they are always kept.
    ends = [f(column) for column in problem.u for f in (np.argmin, np.argmax)]
    rows = np.union1d(rows, ends)
    u = tuple(column[rows] for column in problem.u)
    return replace(problem, u=u, y=problem.y[rows]), weights[rows]
