"""What each of a row of budgets buys: what `scalelab advise` says of it, as sentence, rows and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from scalelab.analysis.families.advice import SPLIT, Advice
from scalelab.analysis.runs.designs import Family, family_of
from scalelab.report.names import family_names, said_once
from scalelab.report.numbers import interval, percent, plain, short, short_interval
from scalelab.report.parts import Section, Stop, Table
from scalelab.report.sections.advise import (
    advice_notes,
    advice_tables,
    data_words,
    left_out,
    share_notes,
    standing,
)
from scalelab.report.sections.predict import parts_note

if TYPE_CHECKING:
    from scalelab.analysis.analyze import Analysis

_BUDGET = "training budget"
_NUMBERS = ("examples seen", "seen / N", "loss of a run")


def with_budgets(answer: Section, analysis: Analysis) -> Section:
    """Returns the answer with what budgets buy, a table for each dataset on which that can be said."""
    several = len(analysis.ahead) > 1
    tables, stops = [], []
    notes: list[str] = []
    for one in analysis.ahead:
        bought = analysis.bought[one.dataset]
        if bought:
            title = f"What a training budget buys in each family, with {percent(analysis.level)} intervals"
            more = [f"beyond that there is no answer: {one.refusal}"] if one.refusal else []
            tables.append(_table(bought, f"{title}: {one.dataset}" if several else title, more))
            stops.append(_stops(bought))
            notes += _left_out(bought)
    return replace(answer, tables=tuple(tables), stops=tuple(stops), notes=(*answer.notes, *notes))


def _table(advice: Sequence[Advice], title: str, more: Sequence[str]) -> Table:
    """Returns what each family would do with each budget, as `scalelab advise` has it; notes hold for all."""
    # The level of the intervals stands in the title; at some budgets a number may have none.
    rows = [
        {
            _BUDGET: short(one.budget, "FLOP"),
            **dict(zip(map(_without_level, table.columns), row, strict=True)),
        }
        for one in advice
        for table in advice_tables(one)[:1]
        for row in table.rows
    ]
    notes = (*said_once(_common(advice)), *share_notes(advice[-1]), *more)
    table = Table.of(title, rows, numbers=slice(0), notes=notes, folded=True)
    return replace(table, numeric=frozenset({_BUDGET, *_NUMBERS}))


def _without_level(head: str) -> str:
    return head.partition(" [")[0]


def _stops(advice: Sequence[Advice]) -> tuple[Stop, ...]:
    """Returns a sentence for each budget, with what is noted of it and not of all."""
    name, common = _names(advice), _common(advice)
    return tuple(
        Stop(
            f"{one.budget!r}".removesuffix(".0"),
            _words(one, name),
            tuple(said_once(note for note in _notes(one, name) if note not in common)),
        )
        for one in advice
    )


def _left_out(advice: Sequence[Advice]) -> Iterator[str]:
    """Yields which families no budget has an answer for, and why."""
    name = _names(advice)
    every = [{family_of(one): one for one in each.refused} for each in advice]
    if words := left_out(
        [one for family, one in every[0].items() if all(family in own for own in every)], name
    ):
        yield f"Left out of every budget: {words}."


def _names(advice: Iterable[Advice]) -> Callable[[Family], str]:
    """Returns how families are called, as `scalelab advise` calls them."""
    families = [
        family
        for one in advice
        for family in (*(found.family for found in one.families), *map(family_of, one.refused))
    ]
    return family_names(families)


def _common(advice: Sequence[Advice]) -> list[tuple[str, str]]:
    """Returns what is noted of a family at every budget: its name and the words."""
    name = _names(advice)
    every = [list(_notes(one, name)) for one in advice]
    return [note for note in every[0] if all(note in own for own in every)]


def _notes(one: Advice, name: Callable[[Family], str]) -> Iterator[tuple[str, str]]:
    """Yields what there is to know of each family; what makes its interval wide, of the best one alone."""
    parts = {parts_note(found.parts) for found in one.families[1:]}
    for family, words in advice_notes(one):
        if family == one.families[0].family or words not in parts:
            yield name(family), words


def _words(one: Advice, name: Callable[[Family], str]) -> str:
    """Returns what a budget buys in a sentence, with interval, reach, and what else is open."""
    best = one.families[0]
    reach = f"{plain(best.beyond)}× the largest run" if best.beyond > 1.0 else "within the runs"
    others = f"left out: {len(one.refused)}, see below" if one.refused else ""
    said = "; ".join(filter(None, (standing(one), others)))
    rank = f" ({said})" if said else ""
    split = "" if best.basis == SPLIT else ", split as these runs split theirs"
    return (
        f"{short(one.budget, 'FLOP')}, {reach}: {name(best.family)}{rank} with "
        f"{short_interval(best.n_params)} parameters and {short_interval(best.n_seen)} examples seen{split}"
        f"{data_words(best)}; "
        f"loss of a run {interval(best.loss)}"
    )
