"""What `scalelab advise` shows: what a budget buys in each family, and how far the approaches agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scalelab.analysis.estimate import Estimate, Refusal
from scalelab.analysis.families.advice import FRONTIER, Advice, FamilyAdvice
from scalelab.analysis.families.allocation import FamilyOptimum
from scalelab.analysis.runs.designs import Family
from scalelab.report.names import family_names
from scalelab.report.numbers import interval, percent, plain, short
from scalelab.report.sections.predict import backtest_cell, beyond_words, no_backtest, refusals, together
from scalelab.report.terminal import Table


def advice_tables(advice: Advice) -> list[Table]:
    """Returns what a budget buys, and for families whose runs split compute the three approaches."""
    families = [one.family for one in advice.families]
    name = family_names([*families, *(one.subject["family"] for one in advice.refused)])
    first = advice.families[0]
    title = f"Best use of {short(advice.budget, 'FLOP')} of training: {name(first.family)}"
    if len(families) > 1:
        title += f", the best in {percent(first.share)} of refits"
    columns = (
        "family", "best in", f"parameters N [{percent(advice.level)}]", "examples seen", "seen / N",
        "loss of a run", "beyond the runs", "backtest",
    )  # fmt: skip
    rows = tuple(
        (
            name(one.family),
            percent(one.share),
            shorts(one.n_params),
            shorts(one.n_seen),
            interval(one.per_param),
            interval(one.loss),
            beyond_words({"train_flops": one.beyond}),
            backtest_cell(one.backtest),
        )
        for one in advice.families
    )
    notes = together([note for one in advice.families for note in _notes(one, name(one.family))])
    notes += refusals(advice.refused, name)
    numeric = frozenset(columns[1:])
    tables = [Table(title, columns, rows, numeric, tuple(notes), ("best in", "seen / N"))]
    optima = [one.optimum for one in advice.families if isinstance(one.optimum, FamilyOptimum)]
    budgets = {one.family: one.sizes for one in advice.families}
    if optima:
        tables.append(optimum_table(optima, name, sizes=budgets, budget=advice.budget))
    return tables


def _notes(one: FamilyAdvice, name: str) -> list[str]:
    law = f"{one.fit.law.name}, {one.fit.law.equation}, {one.points.selection}"
    kind = " on the frontier" if one.basis == FRONTIER else ""
    notes = [f"{name}: law{kind}: {law}"]
    if one.backtest.errors:
        times = plain(max(one.backtest.reach))
        notes.append(
            f"{name}: backtest is the RMS log error of the same law, asked for up to {times} times the scale "
            "it had seen"
        )
    else:
        notes.append(f"{name}: no backtest: {no_backtest(one.backtest)}")
    return notes + [f"{name}: warning: {line}" for line in one.warnings]


def optimum_table(
    optima: Sequence[FamilyOptimum | Refusal],
    name: Callable[[Family], str],
    *,
    sizes: dict[Family, dict[str, float]] | None = None,
    budget: float | None = None,
) -> Table:
    """Returns the three approaches to the compute-optimal size, a row each.

    Args:
        optima: What is known of each family.
        name: What a family is called.
        sizes: By family and approach, the size that it says at a budget.
        budget: That budget.
    """
    found = [one for one in optima if isinstance(one, FamilyOptimum)]
    columns = ["family", "approach", "a of N ∝ C^a", "b of D ∝ C^b", "optima"]
    if budget is not None:
        columns.append(f"N at {short(budget, 'FLOP')}")
    rows, notes = [], []
    for one in found:
        for approach in one.found.approaches.values():
            low, high = approach.lower, approach.upper
            row = [
                name(one.family),
                approach.approach,
                interval(Estimate.of(approach.exponent, low, high)),
                interval(Estimate.of(1 - approach.exponent, 1 - high, 1 - low)),
                str(len(approach.flops)),
            ]
            if budget is not None:
                row.append(short((sizes or {}).get(one.family, {}).get(approach.approach)))
            rows.append(tuple(row))
        notes += [
            f"{name(one.family)}: {approach} refused: {why}" for approach, why in one.found.missing.items()
        ]
        if budget is None:
            notes += [f"{name(one.family)}: warning: {line}" for line in one.warnings]
            notes.append(f"{name(one.family)}: C = {one.flops_per:.3g}·N·D, {one.points.selection}")
    notes = [*together(notes), *refusals(optima, name)]
    title = "Compute-optimal size, three approaches" if rows else "Compute-optimal size"
    return Table(title, tuple(columns), tuple(rows), frozenset(columns[2:]), tuple(notes), ("optima",))


def shorts(estimate: Estimate) -> str:
    """Returns a large number with its interval, thousands as prefixes."""
    if estimate.lower is None or estimate.upper is None:
        return short(estimate.value)
    return f"{short(estimate.value)} [{short(estimate.lower)}, {short(estimate.upper)}]"
