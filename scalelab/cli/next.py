"""`scalelab next`: the runs that make an answer surer at the least cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scalelab.amounts import amount, counted
from scalelab.cli import options as opt
from scalelab.cli.context import pairs, print_json, say, tell
from scalelab.errors import InputError

if TYPE_CHECKING:
    from scalelab.analysis.families.chosen import NextRuns
    from scalelab.api.choose import AskedOfNext


def next_(
    ctx: typer.Context,
    study: opt.NextStudy,
    budget: opt.NextBudget,
    target: opt.NextTarget = None,
    question: opt.NextQuestion = None,
    stop_width: opt.StopWidth = None,
    candidates: opt.Candidates = None,
    most: opt.MostRuns = 20,
    auto: opt.AutoNext = False,
    workers: opt.Workers = 1,
    store: opt.Store = opt.DEFAULT_STORE,
    dataset: opt.Dataset = None,
    architecture: opt.Architecture = None,
    optimizer: opt.Optimizer = None,
    law: opt.PredictLaw = None,
    level: opt.Level = 0.9,
    write: opt.WriteNext = None,
    plugins_dir: opt.PluginsDir = None,
    json: opt.Json = False,
) -> None:
    """Choose the runs of a study that narrow the interval of an answer most for their FLOPs.

    Shows the width of the interval now, what each run costs and the width to expect after it. The runs can
    be written as a study; with --auto they are made one after the other, each chosen by what came.
    """
    import scalelab
    from scalelab.report.sections.next_runs import made_table, next_tables

    if auto and (write is not None or candidates is not None):
        raise InputError("--auto makes the runs itself; it goes with neither --write nor --candidates")
    if write is not None and candidates is not None:
        raise InputError("--write needs a study to train; a table of candidates says none")
    catalog = ctx.obj.catalog(plugins_dir)
    asked = _asked(target, question, law, stop_width)
    asked |= {"most": most, "level": level, "candidates": candidates, "catalog": catalog}
    asked |= {"dataset": dataset, "architecture": architecture, "optimizer": optimizer}
    cost = amount(budget, "--budget")
    steps = []
    if auto:
        for step in scalelab.make_next(study, store, cost, workers=workers, **asked):
            steps.append(step)
            say(f"run {len(steps)}: {step.spent:.3g} FLOPs spent, {_came(step.expected, step.width)}")
    # Of a budget that is spent to the last FLOP nothing is left to choose with, but the answer is shown.
    left = max(cost - (steps[-1].spent if steps else 0.0), 1e-9 * cost)
    found = scalelab.next_runs(study, store, left, **asked)
    if write is not None:
        scalelab.write_next(found, study, write, catalog=catalog)
    if json:
        print_json("next", {"next": found, "made": steps})
        return
    ctx.obj.show(*next_tables(found))
    if steps:
        ctx.obj.show(made_table(steps))
    _say_next(found, study, store, write)


def _asked(target: str | None, question: str | None, law: str | None, stop: str | None) -> AskedOfNext:
    form = "AXIS=NUMBER,…, such as n_params=1e8,n_examples=1e9"
    parts = [one for one in (target or "").split(",") if one.strip()]
    at = {axis: amount(value, f"--target {axis}") for axis, value in pairs("--target", parts, form).items()}
    width = None
    if stop is not None:
        number = amount(stop.strip().removesuffix("%"), "--stop-width")
        width = number / 100 if stop.strip().endswith("%") else number
        if width == number >= 1:
            raise InputError(f"--stop-width {stop!r}: write {stop}%, or a part of the answer, such as 0.05")
    return {"target": at or None, "question": question, "law": law, "stop_width": width}


def _came(expected: float | None, width: float | None) -> str:
    words = "no interval yet" if width is None else f"width {width:.1%}"
    return words if expected is None else f"{words} ({expected:.1%} was expected)"


def _say_next(found: NextRuns, study: str, store: Path, write: Path | None) -> None:
    for one in found.known:
        if one.doubt:
            say(f"{' '.join(one.family)}: {one.doubt}")
    tell(found.end)
    if write is not None:
        tell(f"{write} has {counted(len(found.runs), 'runs')} and no other: {found.spent:.3g} FLOPs")
        tell(f"next: scalelab run {write} --store {store}, then scalelab next {study} again")
