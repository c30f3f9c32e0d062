"""What makes each figure and each table of a report again, and on which data the laws stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from scalelab.analysis.runs.designs import family_of
from scalelab.report.names import family_names, law_symbol
from scalelab.report.parts import Section, Table

if TYPE_CHECKING:
    from scalelab.analysis.analyze import Analysis

_DIGITS = 16


def with_commands(sections: Sequence[Section], command: str) -> tuple[Section, ...]:
    """Returns a report whose last section has the commands that make its figures and tables again.

    Args:
        sections: The report.
        command: What makes the analysis again.
    """
    figures = [figure for section in sections for figure in section.figures]
    rows = [
        {"figure": one.title, "file": f"{one.name}.svg", "command": f"{command} --figures DIR"}
        for one in figures
    ]
    notes = (f"tables: {command} --tables DIR", f"this page: {command} --html FILE")
    table = Table.of("What makes each figure again", rows, numbers=slice(0), notes=notes, folded=True)
    *others, last = sections
    return (*others, replace(last, tables=(*last.tables, table)))


def data_tables(analysis: Analysis) -> Iterator[Table]:
    """Yields the fingerprints of the datasets and the hashes of the points that laws were fitted to."""
    runs = analysis.runs
    if "fingerprint" in runs.columns and runs["fingerprint"].notna().any():
        known = runs.dropna(subset=["fingerprint"])[["dataset_label", "fingerprint"]].drop_duplicates()
        rows = ({"dataset": name, "fingerprint": str(mark)} for name, mark in known.itertuples(index=False))
        note = "hash of the content that was trained on; a trial of other content is another trial"
        yield Table.of("Content of the datasets", rows, numbers=slice(0), notes=[note], folded=True)
    name = family_names(map(family_of, analysis.laws))
    fits = [
        {"family": name(law.family), "law": law_symbol(law), "hash": law.best.data_hash[:_DIGITS]}
        for law in analysis.fitted
    ]
    if fits:
        note = "hash of scales, losses and weights: two reports with the same one fitted the same points"
        yield Table.of("Points of the laws", fits, numbers=slice(0), notes=[note], folded=True)
