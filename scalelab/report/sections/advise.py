"""What `scalelab advise` shows: what a budget buys in each family, and how far the approaches agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from scalelab.analysis.estimate import Refusal
from scalelab.analysis.families.advice import Advice, FamilyAdvice
from scalelab.analysis.families.allocation import FamilyOptimum
from scalelab.analysis.runs.designs import Family, family_of
from scalelab.report.names import family_names, said_once
from scalelab.report.numbers import interval, percent, short, short_interval
from scalelab.report.parts import Table
from scalelab.report.sections.allocation import optimum_table
from scalelab.report.sections.laws import backtest_cell
from scalelab.report.sections.predict import backtest_note, beyond_words, parts_note

HEADS = {
    "n_params": "parameters N",
    "n_seen": "examples seen",
    "per_param": "seen / N",
    "loss": "loss of a run",
}
"""The heads of what a budget buys, by the attribute of an advice."""
SURE = 0.9
"""In which share of refits a family must be the best one before nobody need say that this is open."""


def advice_tables(advice: Advice) -> list[Table]:
    """Returns what a budget buys, and for families whose runs split compute the three approaches."""
    families = [one.family for one in advice.families]
    name = family_names([*families, *map(family_of, advice.refused)])
    first = advice.families[0]
    title = f"Best use of {short(advice.budget, 'FLOP')} of training: {name(first.family)}"
    rank = standing(advice)
    title += f", {rank}" if rank else ""
    title += f"; left out: {len(advice.refused)}, see refused" if advice.refused else ""
    heads = _heads(advice)
    rows = (
        {
            "family": name(one.family),
            "best in": percent(one.share),
            heads["n_params"]: short_interval(one.n_params),
            heads["n_seen"]: short_interval(one.n_seen),
            heads["per_param"]: interval(one.per_param),
            heads["loss"]: interval(one.loss),
            "beyond the runs": beyond_words({"train_flops": one.beyond}),
            "backtest": backtest_cell(one.backtest),
        }
        for one in advice.families
    )
    notes = said_once((name(family), words) for family, words in advice_notes(advice))
    notes += share_notes(advice)
    tables = [Table.of(title, rows, notes=notes, optional=("best in", heads["per_param"]))]
    optima = [one.optimum for one in advice.families if isinstance(one.optimum, FamilyOptimum)]
    if optima:
        sizes = {one.family: one.sizes for one in advice.families}
        tables.append(optimum_table(optima, name, sizes=sizes, budget=advice.budget))
    return tables


def _heads(advice: Advice) -> dict[str, str]:
    """Returns the heads of the numbers; the first one with an interval below it says their level."""
    bounded = (field for field in HEADS if any(None not in getattr(one, field) for one in advice.families))
    first = next(bounded, "")
    level = f" [{percent(advice.level)}]"
    return {field: head + (level if field == first else "") for field, head in HEADS.items()}


def standing(advice: Advice) -> str:
    """Returns how sure it is that the first family is the best, and of how many; empty of one alone."""
    n = len(advice.families)
    if n + len(advice.refused) == 1:
        return ""
    if n == 1:
        return "the only family with an answer"  # its share of refits would say nothing
    share = advice.families[0].share
    doubt = ", so that which one is best is open" if share < SURE else ""
    return f"the best in {percent(share)} of refits of {n} families{doubt}"


def data_words(one: FamilyAdvice) -> str:
    """Returns that a run takes all training examples that there are, or more; empty where it takes fewer."""
    dataset, there = one.supply.dataset, f"{one.supply.n_available:,.0f}"
    if one.limited:
        return f", with all {there} training examples that {dataset} has"
    if one.lacks_data:
        return f", which needs {short(one.n_examples)} training examples where {dataset} has {there}"
    return ""


def left_out(refused: Iterable[Refusal], name: Callable[[Family], str]) -> str:
    """Returns which families have no answer, and why, in short; empty where all have."""
    return "; ".join(said_once((name(family_of(one)), one.reason.partition(";")[0]) for one in refused))


def share_notes(advice: Advice) -> list[str]:
    """Returns what a share of refits is about, where there are several families."""
    if len(advice.families) < 2:
        return []
    once = all((one.points.rows["n_runs"] == 1).all() for one in advice.families)
    seeds = "; each design was run once, so that it knows of seeds no more than that scatter" if once else ""
    return [
        f"best in: share of refits, to points scattered about their laws, in which this law is lowest{seeds}"
    ]


def advice_notes(advice: Advice) -> Iterator[tuple[Family, str]]:
    """Yields what there is to know of each family's answer, and why others give none."""
    for one in advice.families:
        yield from ((one.family, words) for words in _notes(one))
    yield from ((family_of(one), f"refused: {one.reason}") for one in advice.refused)


def _notes(one: FamilyAdvice) -> Iterator[str]:
    yield f"law of the loss: {one.fit.law.name}, {one.fit.law.equation}, {one.points.selection}"
    if isinstance(one.optimum, FamilyOptimum) and one.optimum.points is not one.points:
        yield f"split: {one.optimum.points.selection}"
    yield backtest_note(one.backtest)
    yield parts_note(one.parts)
    yield from (f"warning: {line}" for line in one.warnings)
