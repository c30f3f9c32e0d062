"""What was run: studies with their trials, and the loss by model and data size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from scalelab.amounts import counted, verb
from scalelab.analysis.runs.designs import design_ids, family_of
from scalelab.records import DEFAULT_TRAINER
from scalelab.report.names import family_names, grouped, known
from scalelab.report.numbers import percent, plain, short
from scalelab.report.outcomes import WORDS
from scalelab.report.parts import Table
from scalelab.report.runs import Run, Runs, runs_of
from scalelab.report.sections.topic import Topic
from scalelab.report.trial_names import TrialNames

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.analyze import Analysis, ScaleTable
    from scalelab.execute.plan import Plan, PlannedTrial
    from scalelab.records import On
    from scalelab.store.fleet import ClusterRun


_MANY = 10**15
_SPLITS = (
    "chosen by validation, whose best is therefore a little better than it is; the test split chose nothing",
)


def studies_table(studies: Sequence[NamedTuple]) -> Table:
    """Returns what a store holds, one row per study.

    Args:
        studies: What `Store.studies()` returned; every field becomes a column, but one that is left at
            its default by all of them.
    """
    named = [study._asdict() for study in studies]
    defaults = studies[0]._field_defaults if studies else {}
    columns = [
        name
        for name in (named[0] if named else ())
        if name not in defaults or any(row[name] != defaults[name] for row in named)
    ]
    heads = {name: name.replace("_", " ") for name in columns}
    counts = frozenset(
        heads[name] for name in columns if all(isinstance(row[name], (int, float)) for row in named)
    )
    rows = tuple(tuple(_cell(row[name]) for name in columns) for row in named)
    idle = [
        heads[name]
        for name in ("interrupted", "running", "diverged", "failed")
        if name in heads and not any(row[name] for row in named)
    ]
    optional = tuple(name for name in ("registered at", *idle) if name in heads.values())
    return Table("", tuple(heads.values()), rows, counts, optional=optional)


def cluster_lines(runs: Sequence[ClusterRun]) -> Iterator[str]:
    """Yields what a person wants to know of runs on clusters: machines, queue, what waits."""
    for run in runs:
        who = f"coordinator on {run.coordinator}" if run.coordinator else "its coordinator has ended"
        waiting = f"{counted(run.waiting, 'trials')} {verb(run.waiting, 'wait')}"
        yield f"{run.study} on {run.on}: {run.standing}; {waiting}; {who}"
        for job in run.jobs:
            device = f", device {job.device}" if job.device else ""
            at = f"trial {job.record_id.rpartition('-')[0]}" if job.record_id else "no trial"
            yield f"  job {job.job} on {job.host}{device}: {at}, heard {job.silent:.0f} s ago"
        if not run.coordinator:
            yield "  next: run the same command again to take its records in"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return plain(value)
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def plan_table(plan: Plan) -> Table:
    """Returns a study's trials with what they cost, alike trials (but for their seeds) in one row."""
    names = TrialNames([row.trial for row in plan.trials])
    guests = sorted({row.trial.trainer.name for row in plan.trials} - {DEFAULT_TRAINER.name})

    def design(row: PlannedTrial) -> tuple[tuple[str, str], ...]:
        dataset = {"dataset": names.component(row.trial.dataset)} if names.datasets else {}
        cells = {
            **dataset,
            "architecture": names.component(row.trial.architecture),
            "optimizer": names.optimizer(row.trial),
            **({"trainer": names.component(row.trial.trainer)} if guests else {}),
            "examples": _count(row.trial.n_examples or None),
            "parameters": _count(row.n_params),
            "forward": _flops(row.forward_flops, row.uncounted),
            "training": _flops(row.train_flops, row.uncounted),
            "steps": _count(row.n_steps),
            "epochs": "" if row.epochs is None else plain(row.epochs),
        }
        return tuple(cells.items())

    def of_script(row: PlannedTrial) -> tuple[tuple[str, str], ...]:
        known = {"parameters": row.n_params, "examples": row.trial.n_examples, "epochs": row.epochs}
        cells = {name: plain(value) for name, value in known.items() if value}
        return ("trial", names.script(row.trial)), *cells.items()

    scripted = any(row.trial.script is not None for row in plan.trials)

    rows = (
        {
            **dict(cells),
            "time": _time(own),
            "seeds": str(len(own)),
            "done": str(sum(row.status in ("done", "diverged") for row in own)),
        }
        for cells, own in grouped(plan.trials, of_script if scripted else design).items()
    )
    optional = ("epochs", "steps", "forward", "training", "done", "seeds")
    numbers = slice(1 if scripted else 2 + names.datasets + bool(guests), None)
    asked = [f"{name}: steps and FLOPs are asked for; its records say what it took" for name in guests]
    notes = (*_uncounted(plan.trials), *asked)
    return Table.of(f"study {plan.study}", rows, numbers=numbers, notes=notes, optional=optional)


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}" if value < _MANY else short(float(value))


def _flops(value: float | None, uncounted: Sequence[str]) -> str:
    return "" if value is None else at_least(short(value, "FLOP"), uncounted)


def at_least(flops: str, uncounted: Sequence[str]) -> str:
    """Returns FLOPs as words that say whether the count leaves operators out."""
    return f"at least {flops}" if uncounted else flops


def _uncounted(rows: Sequence[PlannedTrial]) -> Iterator[str]:
    """Yields a line for each architecture with operators that are not counted, and what to do."""
    operators: dict[str, set[str]] = {}
    for row in rows:
        if row.uncounted:
            operators.setdefault(row.trial.architecture.name, set()).update(row.uncounted)
    for architecture, names in sorted(operators.items()):
        yield (
            f"{architecture}: FLOPs are at least these, for nothing tells what {', '.join(sorted(names))} "
            "takes; give its Architecture flops=, a formula of its forward pass"
        )


def _time(rows: Sequence[PlannedTrial]) -> str:
    """Returns what rows take or took together, as a range where it is an estimate."""
    spans = [row.seconds for row in rows]
    if None in spans:
        return ""
    low, high = (sum(getattr(span, end) for span in spans) for end in ("low", "high"))
    return f"{plain(low)} s" if low == high else f"{plain(low, 2)} to {plain(high, 2)} s"


def _tables(analysis: Analysis, _whole: bool) -> Iterator[Table]:
    name = family_names(map(family_of, analysis.laws))
    yield _runs_table(analysis.studies, _counted_once(analysis.runs))
    made = list(_split_rows(analysis.runs, runs_of(analysis)))
    if made:
        title = "The run of the best validation in each family, on all splits"
        optional = ("tested on", "metric", "validation", "test")
        splits, own = [row for _, row in made], [run for run, _ in made]
        yield Table.of(title, splits, notes=_SPLITS, optional=optional, runs=own)
    for scale in analysis.scales:
        yield _scale_table(scale, name(scale.family), analysis.on)


def _split_rows(runs: pd.DataFrame, index: Runs) -> Iterator[tuple[Run, dict[str, str]]]:
    """Yields the run of the best validation of each family that has a test loss."""
    if "test_loss" not in runs.columns:
        return
    tested = runs.dropna(subset=["test_loss", "chosen_objective"])
    several = bool((tested["metric"] != "loss").any())
    for family, own in tested.groupby(["dataset_label", "architecture", "optimizer"], sort=True):
        sign = -1.0 if own["direction"].iloc[0] == "maximize" else 1.0
        best = min(own.to_dict("records"), key=lambda run: sign * run["chosen_objective"])
        metric = "" if best["metric"] == "loss" else str(best["metric"])
        cells = {
            "run": ", ".join(filter(known, map(str, family))),
            "parameters": short(best["n_params"]),
            "examples": short(best["n_examples"]),
            "best validation loss": plain(best["chosen"], 4),
            "of the last step": plain(best.get("loss_last", math.nan), 4),
            "test loss": plain(best["test_loss"], 4),
            "tested on": short(best.get("n_tested", math.nan)),
        }
        if several:
            cells["metric"] = metric
            cells["validation"] = plain(best["chosen_objective"], 4) if metric else ""
            cells["test"] = plain(best.get("test_objective", math.nan), 4) if metric else ""
        yield index.of(best.get("trial_id", "")), cells


def _counted_once(runs: pd.DataFrame) -> Iterator[str]:
    """Yields how many runs the rest is about, where some count for several studies."""
    names = runs["studies"] if "studies" in runs.columns else ()
    shared = [own for own in names if len(own) > 1]
    if shared:
        whose = sorted({name for own in shared for name in own})
        designs = counted(len(set(design_ids(runs))), "designs")
        yield (
            f"of several studies ({', '.join(whose)}) at once: {counted(len(shared), 'runs')}; "
            f"all that follows counts each once: {counted(len(runs), 'runs')} of {designs}"
        )


def _runs_table(studies: pd.DataFrame, notes: Iterable[str]) -> Table:
    rows = (
        {str(name): plain(value, 2) if name == "hours" else _cell(value) for name, value in row.items()}
        for row in studies.to_dict("records")
    )
    optional = ("designs", "hours", "dataset", "unfinished", "failed")
    return Table.of("What was run", rows, numbers=slice(2, None), optional=optional, notes=notes)


def _scale_table(scale: ScaleTable, name: str, on: On) -> Table:
    rows = (
        {
            "N \\ D": f"{int(size):,}",
            **{f"{int(n):,}": plain(loss, 4) for n, loss in zip(scale.loss.columns, row, strict=True)},
        }
        for size, row in zip(scale.loss.index, scale.loss.to_numpy(), strict=True)
    )
    spread = f"; seeds differ by {percent(scale.seed_spread)}" if scale.seed_spread is not None else ""
    title = f"{WORDS[on]}loss by parameters and training examples: {name}{spread}"
    return Table.of(title[0].upper() + title[1:], rows, numbers=slice(None))


TOPIC = Topic("studies", "What was run", tables=_tables)
