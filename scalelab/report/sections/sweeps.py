"""Sweeps: the loss over the values of a tuned option, size by size, and where each is least."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from scalelab.analysis.analyze import Analysis
from scalelab.analysis.runs.designs import Family
from scalelab.analysis.runs.sweeps import Sweep
from scalelab.report.names import family_names, grouped, of_studies, said_once, studies_of
from scalelab.report.numbers import Shown, percent, plain, short
from scalelab.report.outcomes import WORDS, axis_label
from scalelab.report.parts import MAX_PANELS, Figure, Line, Panel, Series, Table, array, same_in_all
from scalelab.report.runs import Runs, runs_of
from scalelab.report.sections.topic import Topic, figure

_SHOWN = 12
_ENDS = {None: "yes", "low": "no, at the lower end", "high": "no, at the upper end"}
_NOTE = (
    "loss: at the minimum of a parabola through the best value and its neighbours, which laws take; error: "
    "its relative standard error, from seeds and from the parabola's shape"
)
_ALONE = "no value near the best was run with two seeds: errors lack that noise"


def _lines(analysis: Analysis) -> Iterator[str]:
    for (family, option), own in grouped(analysis.sweeps, lambda one: (_family(one), one.option)).items():
        where = of_studies(sorted({name for one in own for name in one.studies}), " in ")
        at_end = sum(one.end is not None for one in own)
        best = [one.best for one in own]
        bracketed = (
            f"{len(own) - at_end} of {len(own)} sizes bracketed" if at_end else "bracketed at every size"
        )
        yield (
            f"Tuned {option} of {family.optimizer} for {family.architecture} on {family.dataset}{where}: "
            f"{bracketed}, best at {' to '.join(dict.fromkeys(map(plain, (min(best), max(best)))))}."
            f"{_of_laws(analysis, family, option)}"
        )


def _of_laws(analysis: Analysis, family: Family, option: str) -> str:
    """Returns that the points of a family's laws are not those of its sweeps, where that is so."""
    points = [law.points.rows for law in analysis.fitted if law.family == family]
    swept = [bool((rows["swept"] == option).any()) for rows in points if "swept" in rows]
    if not points or any(swept):
        return ""
    whose = of_studies(sorted({name for rows in points for name in studies_of(rows)}), " of ")
    return f" Its laws rest on better runs{whose}, which are not of these sweeps."


def _family(sweep: Sweep) -> Family:
    return Family(sweep.dataset, sweep.architecture, sweep.optimizer)


def _tables(analysis: Analysis, whole: bool) -> Iterator[Table]:
    if not analysis.sweeps:
        return
    name = family_names(map(_family, analysis.sweeps))
    shown = analysis.sweeps if whole else analysis.sweeps[:_SHOWN]
    n_all = len(analysis.sweeps)
    rows = [
        {
            "family": name(_family(sweep)),
            "parameters": short(sweep.n_params),
            "examples": short(sweep.n_examples),
            "steps": short(sweep.n_steps),
            "option": sweep.option,
            "tried": " to ".join(plain(float(value)) for value in sweep.rows["value"].iloc[[0, -1]]),
            "values": str(len(sweep.rows)),
            "best": plain(sweep.best),
            "loss": plain(sweep.loss, 4),
            "error": ("> " if sweep.noise is None else "") + percent(sweep.error),
            "bracketed": _ENDS[sweep.end],
        }
        for sweep in shown
    ]
    alone = [name(_family(sweep)) for sweep in analysis.sweeps if sweep.noise is None]
    notes = [_NOTE, *said_once((family, _ALONE) for family in alone)]
    notes += [f"{len(rows)} of {n_all} sweeps shown"] if len(rows) < n_all else []
    title = f"Tuned options, by the {WORDS[analysis.on]}loss"
    if whole:
        rows, same = same_in_all(rows, ("examples", "steps", "option"))
        notes += same
    yield Table.of(title, rows, numbers=slice(1, -1), notes=notes, optional=("examples", "values", "steps"))
    if whole:
        yield from _tried(analysis)


def _tried(analysis: Analysis) -> Iterator[Table]:
    """Yields the values that each family tried, where all tuned the same option."""
    if len({sweep.option for sweep in analysis.sweeps}) != 1:
        return
    name = family_names(map(_family, analysis.sweeps))
    several = len({sweep.n_examples for sweep in analysis.sweeps}) > 1
    said = [] if several else [f"all with {short(analysis.sweeps[0].n_examples)} examples"]
    said.append("±: standard deviation between seeds, with how many seeds there are")
    by_size = sorted(analysis.sweeps, key=lambda sweep: (sweep.n_examples, sweep.n_params))
    for family, sweeps in grouped(by_size, _family).items():
        rows = (
            {
                "parameters": short(sweep.n_params),
                **({"examples": short(sweep.n_examples)} if several else {}),
                sweep.option: plain(row["value"]),
                "loss": _with_spread(row),
            }
            for sweep in sweeps
            for row in sweep.rows.to_dict("records")
        )
        trials = [trial for sweep in sweeps for trial in sweep.rows["first_run"]]
        runs = map(runs_of(analysis).of, trials)
        title = f"All values that were tried: {name(family)}"
        yield Table.of(title, rows, numbers=slice(0, None), folded=True, runs=runs, notes=said)


def _with_spread(row: Mapping[Hashable, Any]) -> str:
    """Returns the mean loss of a value that was tried, with its spread where there are several seeds."""
    loss = plain(row["loss"], 4)
    if not loss:
        return "diverged"
    n_seeds = int(row["n_runs"])
    if n_seeds < 2:
        return loss
    text = f"{loss} ± {plain(row['loss_std'], 2)} ({n_seeds})"
    return Shown.of(text, row["loss"], more={"standard deviation": row["loss_std"], "seeds": n_seeds})


def _figures(analysis: Analysis, dataset: str, suffix: str) -> Iterator[Figure]:
    """Yields a figure for each architecture: the loss over the values, a panel for each optimizer."""
    runs = runs_of(analysis)
    own = [sweep for sweep in analysis.sweeps if sweep.dataset == dataset and sweep.n_params > 0]
    for number, (architecture, sweeps) in enumerate(grouped(own, lambda one: one.architecture).items()):
        panels = [
            Panel(
                optimizer,
                option,
                axis_label("loss", analysis.on),
                tuple(_series(one, runs) for one in of_one),
            )
            for (optimizer, option), of_one in grouped(
                sweeps, lambda one: (one.optimizer, one.option)
            ).items()
        ]
        end = suffix + (f"-{number + 1}" if number else "")
        yield figure("sweeps", end, panels[:MAX_PANELS], architecture=architecture, dataset=dataset)


def _series(sweep: Sweep, runs: Runs) -> Series:
    known = sweep.rows.dropna(subset=["loss"])
    points = array(known, "value", "loss", "loss_std")
    return Series(
        points=points,
        line=Line(array(known, "value", "loss")),
        level=sweep.n_params,
        runs=runs.of_rows(known),
    )


TOPIC = Topic("sweeps", "Tuned options", answer=_lines, tables=_tables, figures=_figures)
