"""What `scalelab advise` shows: what a budget buys in each family, and how far the approaches agree."""

from __future__ import annotations

from collections.abc import Iterator

from scalelab.analysis.families.advice import Advice, FamilyAdvice
from scalelab.analysis.families.allocation import FamilyOptimum
from scalelab.report.names import family_names, family_of, said_once
from scalelab.report.numbers import interval, percent, short, short_interval
from scalelab.report.parts import Table
from scalelab.report.sections.allocation import optimum_table
from scalelab.report.sections.laws import backtest_cell
from scalelab.report.sections.predict import backtest_note, beyond_words, parts_note


def advice_tables(advice: Advice) -> list[Table]:
    """Returns what a budget buys, and for families whose runs split compute the three approaches."""
    families = [one.family for one in advice.families]
    name = family_names([*families, *map(family_of, advice.refused)])
    first = advice.families[0]
    title = f"Best use of {short(advice.budget, 'FLOP')} of training: {name(first.family)}"
    if len(families) > 1:
        title += f", the best in {percent(first.share)} of refits"
    rows = (
        {
            "family": name(one.family),
            "best in": percent(one.share),
            f"parameters N [{percent(advice.level)}]": short_interval(one.n_params),
            "examples seen": short_interval(one.n_seen),
            "seen / N": interval(one.per_param),
            "loss of a run": interval(one.loss),
            "beyond the runs": beyond_words({"train_flops": one.beyond}),
            "backtest": backtest_cell(one.backtest),
        }
        for one in advice.families
    )
    notes = [(name(one.family), words) for one in advice.families for words in _notes(one)]
    notes += [(name(family_of(one)), f"refused: {one.reason}") for one in advice.refused]
    tables = [Table.of(title, rows, notes=said_once(notes), optional=("best in", "seen / N"))]
    optima = [one.optimum for one in advice.families if isinstance(one.optimum, FamilyOptimum)]
    if optima:
        sizes = {one.family: one.sizes for one in advice.families}
        tables.append(optimum_table(optima, name, sizes=sizes, budget=advice.budget))
    return tables


def _notes(one: FamilyAdvice) -> Iterator[str]:
    yield f"law of the loss: {one.fit.law.name}, {one.fit.law.equation}, {one.points.selection}"
    if isinstance(one.optimum, FamilyOptimum) and one.optimum.points is not one.points:
        yield f"split: {one.optimum.points.selection}"
    yield backtest_note(one.backtest)
    yield parts_note(one.parts)
    yield from (f"warning: {line}" for line in one.warnings)
