"""Finds the optimum of one fit: starts by variable projection, then minimization of the most promising."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scalelab.analysis.fitting.estimators import Estimator
from scalelab.analysis.fitting.exact import exact
from scalelab.analysis.fitting.solver import Effort, Problem, Solution, minimize, stages
from scalelab.arrays import Array, Index

_MANY_ROWS, _PROBED = 4000, 40
_AGREE = 1e-6
_SPREAD = 3
_FEW, _RAW, _AHEAD = 12, 1, 3
_SAME, _BEHIND, _LEADING = 1e-2, 2.0, 48
_FEW_ROWS, _CLOSE, _ROUNDS, _MOST_ROUNDS, _MORE = 16, 1e-3, 4, 80, 128
_SOME_PARAMETERS, _MANY_PARAMETERS = 6, 8
_FIRST: Effort = {"max_iter": 15, "xtol": 1e-3, "ftol": 1e-3, "behind": _BEHIND}
_NEXT: Effort = {"max_iter": 25, "xtol": 1e-6, "ftol": 1e-10, "behind": _BEHIND}
_ON: Effort = {"max_iter": 40, "xtol": 1e-6, "ftol": 1e-10, "behind": _BEHIND}


@dataclass(frozen=True)
class Starts:
    """How the search went.

    It ends as soon as a start comes to an objective of zero; only those that did count then.

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
    reached = thin.objective(candidates, thin_weights)
    theta = candidates[_choose(reached, problem.law.n_starts)]
    ends, stands, zero = _zero(problem, candidates, theta, reached, weights, seed)
    if zero.any():
        # Nothing is below zero, whatever the penalty and the weights.
        objective = problem.objective(ends, weights)
        best = int(np.argmin(objective))
        report = Starts(len(candidates), int(zero.sum()), int(zero.sum()), min(problem.y.size, _PROBED))
        return ends[best], float(objective[best]), report
    begun, stands = _halved(thin, theta, ends, stands, thin_weights)
    theta, counts, last = _staged(thin, begun, stands, thin_weights)
    objective = thin.objective(theta, thin_weights)
    best = int(np.argmin(objective))
    same = objective <= objective[best] * (1 + _AGREE) + 1e-20 * thin.y.size
    top = theta[np.argsort(objective, kind="stable")[: 1 if thin is problem else 2]]
    polished = minimize(replace(problem, estimator=last), top, weights)
    final = problem.objective(polished.theta, weights)
    winner = int(np.argmin(final))
    report = Starts(len(candidates), int(stands.sum()), int(counts[same].sum()), thin.y.size)
    return polished.theta[winner], float(final[winner]), report


def _zero(
    problem: Problem, candidates: Array, theta: Array, reached: Array, weights: Array, seed: int
) -> tuple[Array, Index, Index]:
    """Looks for a law that the rows follow exactly.

    A part of many rows tells whether there is one. Of few rows a law may come as near as noise would, from
    another optimum than that at zero: where it does, more starts are tried, all over and around the ends.

    Returns:
        Where squares led the starts, for how many starts each of these ends stands, and which are at zero.
    """
    if len(theta) == 1:
        # A form with one start is linear, and its start the optimum of squares.
        return theta, np.ones(1, dtype=int), np.zeros(1, dtype=bool)
    probed, probed_weights = _thinned(problem, weights, seed, _PROBED)
    size = problem.lower.size
    few, many = len(problem.y) <= _FEW_ROWS, size > _MANY_PARAMETERS
    started = theta
    if few:
        # Of many parameters there are many optima that are not at zero, and steps of few rows cost little.
        tried = size**2 if size <= _SOME_PARAMETERS else size**3 // 3
        started = candidates[_choose(reached, max(len(theta), tried))]
    found, zero = exact(probed, started, 0.6 if many else 0.25)
    if (few or many) and not zero.any():
        found, zero = _more(probed, probed_weights, candidates, found, seed, longer=few and many)
    if zero.any():
        if probed is not problem:
            found, zero = exact(problem, found[zero][:1])
        return found, np.ones(len(found), dtype=int), zero
    stands: Index = np.ones(len(found), dtype=int)
    if few:
        least = _square(problem).objective(found, weights)
        order = np.argsort(least, kind="stable")[:_LEADING]
        found, stands = _grouped(found[order], least[order], stands[order])
    found, stands = found[: len(theta)], stands[: len(theta)]
    return found, stands, np.zeros(len(found), dtype=bool)


def _more(
    problem: Problem, weights: Array, candidates: Array, found: Array, seed: int, *, longer: bool
) -> tuple[Array, Index]:
    """Looks on for a law that the rows follow exactly, as long as the best end comes near one.

    Args:
        problem: The law and its rows.
        weights: Weights of the rows.
        candidates: Starts to take more from.
        found: Where starts ended.
        seed: Of the starts that are drawn.
        longer: Whether an end that is only near is worth all rounds.

    Returns:
        Ends, the best first, and which of them are at zero.
    """
    square = _square(problem)
    unit = 1.0 if problem.estimator.log else problem.y_scale * float(np.abs(problem.y).max())
    rng, freedom = np.random.default_rng(seed), len(problem.y) - problem.lower.size
    least, zero = square.objective(found, weights), np.zeros(len(found), dtype=bool)
    for round_ in range(_MOST_ROUNDS):
        order = np.argsort(least, kind="stable")
        found, least, zero = found[order], least[order], zero[order]
        near = _CLOSE if round_ < _ROUNDS or longer else 0.1 * _CLOSE
        # With one degree of freedom noise comes as near often.
        if round_ == 0 and problem.lower.size > _SOME_PARAMETERS and (freedom > 1 or longer):
            near = 2.0 * _CLOSE
        if zero.any() or least[0] > freedom * (near * unit) ** 2:
            break
        begun = candidates[rng.permutation(len(candidates))[:_MORE]]
        if round_:
            begun = _around(found[:8] if round_ % 2 else _apart(found, least, begun), rng)
        ends, at_zero = exact(problem, begun, patience=0.5)
        found, zero = np.concatenate([found, ends]), np.concatenate([zero, at_zero])
        least = np.concatenate([least, square.objective(ends, weights)])
    return found, zero


def _apart(found: Array, least: Array, begun: Array) -> Array:
    """Returns the best ends of different objectives, and as many starts.

    Ends of one objective are one optimum, however far apart a flat valley leaves them; where the best of all
    are, a better one may lie near others, or anywhere.
    """
    apart = np.unique(np.round(np.log(least + 1e-300), 2), return_index=True)[1][:8]
    return np.concatenate([found[apart], begun[: len(apart)]])


def _around(places: Array, rng: np.random.Generator) -> Array:
    """Returns `_MORE` starts that lie around some places, near and far."""
    around = places[np.arange(_MORE) % len(places)]
    reach = 10.0 ** rng.uniform(-1.5, 0.0, (_MORE, 1))
    return around + reach * rng.standard_normal(around.shape) * (1.0 + np.abs(around))


def _square(problem: Problem) -> Problem:
    """Returns the problem with squares for a penalty."""
    return replace(problem, estimator=Estimator.named("log-mse" if problem.estimator.log else "mse"))


def _staged(problem: Problem, theta: Array, counts: Index, weights: Array) -> tuple[Array, Index, Estimator]:
    """Minimizes through the stages of the penalty, from starts of which each stands for as many as counted.

    Returns:
        Where the starts ended, for how many starts each of these stands, and the last stage.
    """
    best = int(np.argmin(problem.objective(theta, weights)))
    penalties = stages(problem.estimator, problem.residuals(theta[[best]])[0])
    for index, penalty in enumerate(penalties):
        first = index == 0 and len(penalties) > 1
        if len(theta) == 1 and penalty is penalties[-1] and problem.y.size < _MANY_ROWS:
            # Nothing is left to choose from, and the polish goes on from here.
            return theta, counts, penalty
        solution = minimize(
            replace(problem, estimator=penalty), theta, weights, **(_FIRST if first else _NEXT)
        )
        theta = solution.theta
        if first:
            theta, counts = _distinct(solution, counts)
    # Who is far behind after so many steps would not win; waiting for all takes most of the time.
    ahead = np.argsort(solution.objective, kind="stable")[:_AHEAD]
    near = solution.objective[ahead] <= _BEHIND * solution.objective[ahead[0]]
    ahead = ahead[near & ~solution.converged[ahead]]
    if ahead.size:
        theta[ahead] = minimize(replace(problem, estimator=penalties[-1]), theta[ahead], weights, **_ON).theta
    return theta, counts, penalties[-1]


def _distinct(solution: Solution, counts: Index) -> tuple[Array, Index]:
    """Returns one of each group of ends that lie together, and for how many starts each of them stands.

    Left out are those so far behind the best that no narrower penalty would bring them to the front.
    """
    order = np.argsort(solution.objective, kind="stable")
    order = order[solution.objective[order] <= _BEHIND * solution.objective[order[0]]]
    return _grouped(solution.theta[order], solution.objective[order], counts[order])


def _grouped(theta: Array, objective: Array, counts: Index) -> tuple[Array, Index]:
    """Returns the first of each group of ends that lie together, and the sum of their counts."""
    leader = _leader(theta, objective)
    kept = np.unique(leader)
    return theta[kept], np.bincount(leader, counts, len(theta)).astype(int)[kept]


def _leader(theta: Array, objective: Array) -> Index:
    """Returns the first of those that lie together with each end; ends are in the order of the objective."""
    near = np.abs(theta[:, None] - theta[None]).max(axis=2) <= _SAME * (1.0 + np.abs(theta).max(axis=1))
    near &= np.abs(objective[:, None] - objective) <= _SAME * objective[:, None]
    leader: Index = near.argmax(axis=1)
    return leader


def _halved(
    problem: Problem, theta: Array, ends: Array, stands: Index, weights: Array
) -> tuple[Array, Index]:
    """Returns the more promising starts of the robust penalty, from the starts and where squares led them.

    Squares have fewer local optima where the rows follow the law, the robust penalty where some of them do
    not. Where there are many starts, a few cheap steps with a wide penalty tell which they are.

    Returns:
        Starts, and for how many each of them stands.
    """
    if not problem.estimator.huberized:
        return ends, stands
    if len(theta) <= _FEW:
        more = theta[:_RAW]
    else:
        wide = problem.estimator.smoothed(float(np.median(np.abs(problem.residuals(theta[:1])[0]))))
        half = max(_FEW, len(theta) // 4) // 2
        found = minimize(replace(problem, estimator=wide), theta, weights, max_iter=12, xtol=1e-3, ftol=1e-3)
        more = found.theta[np.argsort(found.objective, kind="stable")[:half]]
        best = np.argsort(_square(problem).objective(ends, weights), kind="stable")[:half]
        ends, stands = ends[best], stands[best]
    return np.concatenate([more, ends]), np.concatenate([np.ones(len(more), dtype=int), stands])


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
