"""What `scalelab next` shows: what is known, the runs to make, and what came of those that were made."""

from __future__ import annotations

from collections.abc import Sequence

from scalelab.amounts import counted
from scalelab.analysis.families.chosen import NextRuns, Step
from scalelab.analysis.runs.selection import symbol
from scalelab.report.names import family_names, said_once
from scalelab.report.numbers import interval, percent, short
from scalelab.report.parts import Table
from scalelab.report.sections.laws import backtest_cell


def next_tables(found: NextRuns) -> tuple[Table, Table]:
    """Returns what is known of the answer now, and the runs to make, in order."""
    name = family_names([one.family for one in found.known])
    known = [
        {
            "family": name(one.family),
            "runs": str(one.n_runs),
            f"answer [{percent(found.level)}]": interval(one.answer) if one.answer else "none yet",
            "width": _width(one.width),
            "misfit of the form": percent(one.misfit),
            "backtest": "" if one.backtest is None else backtest_cell(one.backtest),
        }
        for one in found.known
    ]
    notes = [(name(one.family), words) for one in found.known for words in (one.refusal, one.doubt) if words]
    spent, runs = 0.0, []
    for one in found.runs:
        spent += one.train_flops
        runs.append(
            {
                "family": name(one.family),
                **{symbol(axis): short(value) for axis, value in one.at.items()},
                "run": one.trial or f"row {one.row + 1}",
                "kind": "repeat" if one.repeat else "new",
                "FLOPs": short(one.train_flops),
                "together": short(spent),
                "width expected": _width(one.width),
            }
        )
    title, those = f"Now: {found.question}", counted(found.n_candidates, "candidates")
    return (
        Table.of(title, known, numbers=slice(1, None), notes=said_once(dict.fromkeys(notes))),
        Table.of(f"Runs to make, of {those}", runs, numbers=slice(1, None)),
    )


def made_table(steps: Sequence[Step]) -> Table:
    """Returns the runs that were made, with the width that was expected and the one that came."""
    rows = [
        {
            "run": step.run.trial,
            "FLOPs": short(step.run.train_flops),
            "together": short(step.spent),
            "width expected": _width(step.expected),
            "width that came": _width(step.width),
        }
        for step in steps
    ]
    return Table.of("Runs made", rows, numbers=slice(1, None))


def _width(width: float | None) -> str:
    return "" if width is None else percent(width)
