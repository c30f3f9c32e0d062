"""Which runs to make next for an answer: its interval now, the runs that narrow it most, and what to expect.

The interval is that of the answer itself (a prediction, a compute-optimal split, a comparison). How much a
run narrows it is taken from `scalelab.analysis.next`: the ratio of the expected errors after and before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scalelab.analysis.estimate import Estimate, Refusal
from scalelab.analysis.families.allocation import FamilyOptimum, family_optima
from scalelab.analysis.families.chosen import SETTING, Known, NextRun, NextRuns, Question, relative_width
from scalelab.analysis.families.laws import fit_families
from scalelab.analysis.families.pairs import MOST_FAMILIES, compare_families
from scalelab.analysis.families.prediction import forecast
from scalelab.analysis.fitting.data import Table
from scalelab.analysis.fitting.draws import Draws
from scalelab.analysis.inference.average import candidates as auto_forms
from scalelab.analysis.inference.backtest import Backtest
from scalelab.analysis.inference.quantities import allocation_exponent
from scalelab.analysis.laws import get_law
from scalelab.analysis.next.belief import Belief, weighed
from scalelab.analysis.next.choose import RATE, TO_WIDTH, opening, picks, refuse_together
from scalelab.analysis.next.design import Aim, Design, widened
from scalelab.analysis.runs.designs import Family, families, family_of
from scalelab.analysis.runs.selection import GRID_AXES, JOINT, best_of_each
from scalelab.arrays import Array
from scalelab.errors import FitError, InputError
from scalelab.law import Law

if TYPE_CHECKING:
    import pandas as pd

FORMS = {1: "power-offset", 2: "chinchilla", 3: "data-constrained"}
_SAME, _STEP = 1e-9, 1e-5
_DOUBTED = 1.5


class _Side(NamedTuple):
    """One family: its rows, its candidates and its design."""

    known: Known
    rows: Table
    pool: pd.DataFrame
    columns: tuple[Array, ...]
    design: Design
    settings: frozenset[str]


def choose(
    designs: pd.DataFrame,
    candidates: pd.DataFrame,
    question: Question,
    *,
    budget: float,
    stop_width: float | None = None,
    level: float = 0.9,
    most: int = 20,
    estimator: str = "log-huber",
    seed: int = 0,
) -> NextRuns:
    """Chooses the runs that narrow the interval of an answer most for what they cost.

    Args:
        designs: Means over seeds, as `scalelab.analysis.runs.designs.designs` makes them; there may be none.
        candidates: Columns `dataset`, `architecture`, `optimizer`, `trial_id`, `train_flops` and the axes.
            Those whose `SETTING` a better one of the same scale has beaten are left out.
        question: What is to be known.
        budget: FLOPs that the runs may cost together.
        stop_width: The width of the interval over the answer at which it is enough.
        level: Coverage of the intervals.
        most: How many runs to choose at most.
        estimator: What the fits of the answer minimize.
        seed: Seed of everything random.

    Raises:
        FitError: Axes move together in all runs and candidates, or stay where they are.
        InputError: No family has candidates, or a law has other axes.
    """
    how = {"estimator": estimator, "level": level, "seed": seed}
    there = dict(families(designs)) if len(designs) else {}
    offered = dict(families(candidates)) if len(candidates) else {}
    asked = _asked(question, {**there, **offered})
    answers = _answers(question, designs, asked, how) if len(designs) else {}
    sides = [
        _side(
            question,
            family,
            there.get(family),
            offered.get(family, candidates[:0]),
            answers.get(family),
            level,
        )
        for family in asked
    ]
    runs, spent = _chosen(question, sides, budget, stop_width, most)
    considered = sum(len(side.pool) for side in sides)
    found = NextRuns(
        question=question.said, level=level, budget=budget, stop_width=stop_width,
        known=tuple(side.known for side in sides), runs=tuple(runs), n_candidates=considered, end="",
    )  # fmt: skip
    return replace(found, end=_end(found, sides, budget - spent, most))


def _asked(question: Question, known: Mapping[Family, object]) -> list[Family]:
    """Returns the families that a question is about.

    Raises:
        InputError: There is none, or not just the two that are to be compared.
    """
    if question.kind != "compare":
        if not known:
            raise InputError("there is no run and no candidate to choose from")
        return list(known)
    found = [family for family in known if set(question.between) & set(family[1:])]
    named = {name for family in found for name in family[1:] if name in question.between}
    missing = [name for name in question.between if name not in named]
    if missing:
        names = sorted({name for family in known for name in family[1:]})
        raise InputError(f"--question compare: {missing[0]} is not there; there are {', '.join(names)}")
    if any(set(question.between) <= set(family[1:]) for family in found):
        raise InputError(
            f"--question compare: {', '.join(question.between)} are not of one kind; name two architectures "
            "or two optimizers"
        )
    if len(found) != 2 or found[0].dataset != found[1].dataset:
        raise InputError(
            f"--question compare: {', '.join(question.between)} are {len(found)} families; say with "
            "--dataset, --architecture or --optimizer which two"
        )
    return found


_Answer = tuple[Estimate | None, str | None, Backtest | None]


def _answers(
    question: Question, designs: pd.DataFrame, asked: Sequence[Family], how: Mapping[str, object]
) -> dict[Family, _Answer]:
    """Returns the answer of each family as the command that gives it has it, or why there is none."""
    options: dict[str, object] = dict(how)
    found: dict[Family, _Answer] = {}
    if question.kind == "target":
        for one in forecast(designs, question.at, law=question.law, **options):  # type: ignore[arg-type]
            found[family_of(one)] = (
                (None, one.reason, None) if isinstance(one, Refusal) else (one.loss, None, one.backtest)
            )
    elif question.kind == "allocation":
        for own in family_optima(designs, **options):  # type: ignore[arg-type]
            found[family_of(own)] = (None, own.reason, None) if isinstance(own, Refusal) else _split(own)
    else:
        found = dict.fromkeys(asked, _compared(question, _beside(designs, *asked), options))
    return found


def _split(own: FamilyOptimum) -> _Answer:
    approach = own.found.approaches.get("parametric")
    if approach is None:
        return None, own.found.missing.get("parametric", "the runs give no joint law"), None
    fit = own.split
    answer = Estimate(approach.exponent, approach.lower, approach.upper)
    return answer, None, None if fit is None else fit.backtest


def _beside(designs: pd.DataFrame, first: Family, second: Family) -> pd.DataFrame:
    """Returns the designs that the comparison of two families needs.

    Those of the families that they are compared among, by whose order refits are seeded: the answer is that
    of `analyze` to the last digit. Of more than are compared pair by pair it needs the two alone.
    """
    held = 1 if first.architecture == second.architecture else 2
    group = [
        (own, rows)
        for own, rows in families(designs)
        if own.dataset == first.dataset and own[held] == first[held]
    ]
    if len(group) > MOST_FAMILIES:
        group = [(own, rows) for own, rows in group if own in (first, second)]
    return designs.loc[[row for _, rows in group for row in rows.index]]


def _compared(question: Question, designs: pd.DataFrame, options: Mapping[str, object]) -> _Answer:
    laws = fit_families(designs, axes=("train_flops", JOINT), **options)  # type: ignore[arg-type]
    optima = family_optima(designs, laws=laws, **options)  # type: ignore[arg-type]
    reason = "the two have no law of compute of the same kind yet"
    for group in compare_families(laws, optima, float(str(options["level"]))):
        if isinstance(group, Refusal):
            reason = group.reason
            continue
        if group.axis != "train_flops":
            continue
        for pair in group.pairs:
            if {pair.first, pair.second} == set(question.between):
                return pair.multiplier, None, None
    return None, reason, None


def _side(
    question: Question,
    family: Family,
    rows: pd.DataFrame | None,
    pool: pd.DataFrame,
    answer: _Answer | None,
    level: float,
) -> _Side:
    axes = tuple(question.at) if question.kind == "target" else GRID_AXES
    rows, pool = _best(rows, pool, axes)
    table, scales = _table(rows, axes), [pool[axis].to_numpy(dtype=float) for axis in axes]
    usable = np.isfinite(scales).all(axis=0) & np.isfinite(pool["train_flops"].to_numpy(dtype=float))
    pool, columns = pool[usable], tuple(column[usable] for column in scales)
    both = {axis: np.concatenate(parts) for axis, *parts in zip(axes, table.columns, columns, strict=True)}
    if not both[axes[0]].size:
        raise FitError(f"{' '.join(family)}: no run and no candidate has {' and '.join(axes)}")
    refuse_together(both)
    first, others = _forms(question, axes, table)
    target = tuple(np.array([value]) for value in question.at.values())
    if question.kind != "target":
        target = tuple(np.array([column.max()]) for column in both.values())
    around = tuple(np.concatenate([own, end]) for own, end in zip(both.values(), target, strict=True))
    belief = Belief.of(first, table, around)
    beside = weighed(belief, [Belief.of(law, table, around) for law in others], len(table))
    slopes = _of_split(belief) if question.kind == "allocation" else None
    design = Design.of(belief, table, columns, Aim(target, slopes), beside)
    value, refusal, backtest = answer or (None, "there are no runs yet", None)
    # Of a multiplier along compute this error is in other units.
    if value is not None and question.kind != "compare":
        value = widened(value, design, level, of_run=question.kind == "target")
    known = Known(
        family=family, n_runs=len(table), answer=value, refusal=refusal, backtest=backtest,
        misfit=design.share, doubt=_doubt(value, backtest),
    )  # fmt: skip
    settings = frozenset() if rows is None or SETTING not in rows else frozenset(rows[SETTING])
    return _Side(known, table, pool, columns, design, settings)


def _best(
    rows: pd.DataFrame | None, pool: pd.DataFrame, axes: tuple[str, ...]
) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """Returns the best design of each scale, as a law has it, and the candidates that repeat no other."""
    if rows is None:
        return None, pool
    whole = rows[np.isfinite(rows[list(axes)].to_numpy(dtype=float)).all(axis=1)].dropna(subset=["loss"])
    if SETTING not in whole or SETTING not in pool:
        return best_of_each(whole, axes), pool
    best = best_of_each(whole, axes, keep=(SETTING,))
    beaten = set(whole[SETTING]) - set(best[SETTING]) - {""}
    return best, pool[~pool[SETTING].isin(beaten)]


def _table(rows: pd.DataFrame | None, axes: tuple[str, ...]) -> Table:
    """Returns the single runs of designs: what they have at an axis, and their losses."""
    if rows is None:
        return Table(axes, (np.zeros(0),) * len(axes), np.zeros(0), np.zeros(0))
    losses = [np.atleast_1d(own) for own in rows["losses"]]
    counts = [len(own) for own in losses]
    y = np.concatenate([*losses, np.zeros(0)])
    columns = tuple(np.repeat(rows[axis].to_numpy(dtype=float), counts) for axis in axes)
    return Table(axes, columns, y, np.ones(y.size))


def _forms(question: Question, axes: tuple[str, ...], table: Table) -> tuple[Law, list[Law]]:
    """Returns the form that answers, and others that the runs might follow."""
    usual = question.law in (None, "auto")
    if usual and len(axes) not in FORMS:
        raise InputError("say with --law which form has these axes")
    law = get_law(FORMS[len(axes)] if usual or question.law is None else question.law)
    if not law.takes(axes):
        raise InputError(f"law {law.name!r} has the axes {', '.join(law.axes)}, not {', '.join(axes)}")
    y = table.y if len(table) else np.ones(1)
    others: list[Law] = []
    if usual and question.kind == "target":
        others = [form.specialize(axes) for form in auto_forms(axes) if form.name != law.name]
    return law.suited(axes, y), others


def _of_split(belief: Belief) -> Array:
    """Returns the derivatives of the exponent of the compute-optimal size, shape (1, parameters)."""
    steps = _STEP * np.eye(belief.theta.size)
    ends = np.maximum(np.concatenate([belief.theta + steps, belief.theta - steps]), belief.theta - 1.0)
    values = allocation_exponent(Draws(belief.law, belief.frame, ends))
    slopes: Array = (values[: len(steps)] - values[len(steps) :]) / (2 * _STEP)
    return slopes[None]


def _doubt(answer: Estimate | None, backtest: Backtest | None) -> str | None:
    """Says where a form missed held-out runs by more than its interval allows for."""
    width = relative_width(answer)
    if width is None or backtest is None or not backtest.errors:
        return None
    if backtest.rmse <= _DOUBTED * width / 2:
        return None
    return (
        f"the law missed the held-out larger runs by {backtest.rmse:.2g} in the logarithm, beyond the half "
        f"width {width / 2:.2g} of its interval; compare forms with --law before more is spent"
    )


def _chosen(
    question: Question, sides: Sequence[_Side], budget: float, stop: float | None, most: int
) -> tuple[list[NextRun], float]:
    """Returns the runs to make and what they cost."""
    designs = [side.design for side in sides]
    noise = [side.design.belief.noise**2 if question.kind == "target" else 0.0 for side in sides]
    before = [side.design.error for side in sides]
    costs = [side.pool["train_flops"].to_numpy(dtype=float) for side in sides]
    widths = [side.known.width for side in sides]
    if stop is not None and all(width is not None and width <= stop for width in widths):
        return [], 0.0
    enough = _enough(before, noise, widths, stop)
    taken = [
        opening(side.design, side.rows, side.columns, cost) for side, cost in zip(sides, costs, strict=True)
    ]
    spent = 0.0
    runs: list[NextRun] = []
    first = [(float(costs[side][one]), side, one) for side, order in enumerate(taken) for one in order]
    for cost, side, candidate in sorted(first):
        if spent + cost <= budget and len(runs) < most:
            designs[side].add(candidate)
            spent += cost
            runs.append(_run(sides[side], candidate, runs, widths[side], before[side], noise[side]))
    free = [np.ones(len(side.pool), dtype=bool) for side in sides]
    for flags, order in zip(free, taken, strict=True):
        flags[order] = False
    rate = RATE if stop is None else TO_WIDTH
    left, more = budget - spent, most - len(runs)
    for pick in picks(designs, costs, left, free=free, most=more, enough=enough, rate=rate):
        own = sides[pick.side]
        runs.append(
            _run(own, pick.candidate, runs, widths[pick.side], before[pick.side], noise[pick.side], pick.own)
        )
        spent += float(costs[pick.side][pick.candidate])
    return runs, spent


def _enough(
    before: Sequence[float], noise: Sequence[float], widths: Sequence[float | None], stop: float | None
) -> float:
    """Returns the error at which all intervals together are expected to be narrow enough."""
    if stop is None or None in widths:
        return 0.0
    ratios = [(stop / width) ** 2 for width in widths if width]
    ends = [(own + one) * ratio - one for own, one, ratio in zip(before, noise, ratios, strict=True)]
    return max(sum(min(end, own) for end, own in zip(ends, before, strict=True)), 0.0)


def _run(
    side: _Side,
    candidate: int,
    chosen: Sequence[NextRun],
    width: float | None,
    before: float,
    noise: float,
    after: float | None = None,
) -> NextRun:
    """Returns a run to make, after those that are chosen before it."""
    after = side.design.error if after is None else after
    row, axes = side.pool.iloc[candidate], side.rows.axes
    at = {axis: float(column[candidate]) for axis, column in zip(axes, side.columns, strict=True)}
    before_it = [one for one in chosen if one.family == side.known.family]
    setting = row.get(SETTING)
    if setting:  # another setting at the same scale is no repeat
        repeat = setting in side.settings or setting in {side.pool.at[one.row, SETTING] for one in before_it}
    else:
        same = [np.abs(own / at[axis] - 1) < _SAME for axis, own in zip(axes, side.rows.columns, strict=True)]
        repeat = bool(np.logical_and.reduce(same).any()) or at in [one.at for one in before_it]
    ratio = math.sqrt(max(after + noise, 0.0) / max(before + noise, 1e-300))
    return NextRun(
        family=side.known.family,
        at=at,
        train_flops=float(row["train_flops"]),
        trial=str(row.get("trial_id") or ""),
        row=int(side.pool.index[candidate]),
        repeat=repeat,
        width=None if width is None else width * ratio,
    )


def _end(found: NextRuns, sides: Sequence[_Side], left: float, most: int) -> str:
    """Says why there are no more runs."""
    if found.reached:
        return f"the interval is as narrow as asked ({found.width:.1%} of the answer)"
    if not found.n_candidates:
        return "every candidate is done; give the study more points, or --candidates"
    cheapest = min(float(side.pool["train_flops"].min()) for side in sides if len(side.pool))
    expected = [one.width for one in found.runs]
    last = [one for one in expected[-len(sides) :] if one is not None]
    if found.stop_width is not None and last and max(last) <= found.stop_width:
        return "these are expected to be enough"
    if len(found.runs) >= most:
        return f"these are the first {most}; more once they are done"
    if left < cheapest:
        none = f"candidate: the cheapest takes {cheapest:.3g} FLOPs"
        return f"the budget has room for no {'other candidate' if found.runs else none}"
    return "no other affordable run helps" if found.runs else "no affordable run helps"
