"""The runs that make an answer surer at the least cost: chosen, written as a study, or made one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from scalelab.amounts import amount
from scalelab.analysis.families.chosen import SETTING, NextRuns, Question, Step
from scalelab.analysis.inference.quantities import FLOPS_PER
from scalelab.api.candidates import candidate_table, chosen_kinds, kinds_of, of_kinds, refuse_unmade
from scalelab.api.filters import KINDS, finished_runs
from scalelab.api.proposals import new_file
from scalelab.api.source import installed, law_named, opened
from scalelab.errors import InputError, StudyError
from scalelab.propose.next import considered, next_name, study_of_runs
from scalelab.study.write import write_study

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.api.answers import Scale
    from scalelab.law import Law
    from scalelab.plugins import Catalog
    from scalelab.records import Trial
    from scalelab.store import Store
    from scalelab.study import Study


class AskedOfNext(TypedDict, total=False):
    """What runs are chosen for, and by what; what is left out has its default.

    Attributes:
        target: The scale whose loss is asked, by axis; this or a question.
        question: `allocation`, or `compare:A,B` with two architectures or two optimizers.
        law: The form along the axes of the target, a name or a formula; by default the usual one, beside the
            others that `auto` knows.
        stop_width: The width of the interval over the answer at which it is enough, such as 0.05.
        most: How many runs to choose at most, 20 by default.
        level: Coverage of the intervals, 0.9 by default.
        seed: Seed of everything random, 0 by default.
        dataset: Only this dataset.
        architecture: Only this architecture.
        optimizer: Only this optimizer.
        candidates: A table to choose from instead of the study's space, see `next_runs`.
        catalog: The plugins; the installed ones by default.
    """

    target: Scale | None
    question: str | None
    law: str | Law | None
    stop_width: float | None
    most: int
    level: float
    seed: int
    dataset: str | None
    architecture: str | None
    optimizer: str | None
    candidates: pd.DataFrame | Path | str | None
    catalog: Catalog | None


def next_runs(
    study: Study | Path | str, store: Store | Path | str, budget: float | str, **asked: Unpack[AskedOfNext]
) -> NextRuns:
    """Chooses the runs of a study that narrow the interval of an answer most for what they cost.

    Candidates are the trials of the study that are not done, those that its draws would go on with, and all
    of them again with one more seed; their FLOPs are counted, none is trained. A table of candidates has a
    row each with the columns `train_flops` and the axes, and `architecture`, `optimizer` or `dataset` where
    the runs have several.

    Args:
        study: A study or the path of its file; with a table of candidates the name of one in the store too.
        store: The store of its runs, or the path of its file; it need not exist yet.
        budget: FLOPs that the runs may cost together.
        asked: What is to be known, and more, see `AskedOfNext`.

    Raises:
        InputError: The study, the question, the budget or a column is wrong.
        FitError: Axes of the law move together in all runs and candidates, or stay where they are.
        StoreError: The store cannot be read.
    """
    return _Loop.of(study, store, asked).choose(_flops(budget))


def write_next(
    found: NextRuns, study: Study | Path | str, path: Path | str, *, catalog: Catalog | None = None
) -> None:
    """Writes the chosen runs, all of them and no other, as a study that `run` takes.

    They have the ids that they have in their study, and what it says of learning rates and settings.

    Args:
        found: What was chosen.
        study: The study that they were chosen from.
        path: Where to write; nothing is overwritten.
        catalog: The plugins; the installed ones by default.

    Raises:
        InputError: There is no run to write, or the file exists or cannot be written.
        StudyError: The study is another one than they were chosen from.
    """
    new_file(Path(path))
    if not found.runs or not found.runs[0].trial:
        reason = found.end if not found.runs else "a table of candidates says no study that could train them"
        raise InputError(f"{path} was not written: {reason}")
    loop = _Loop.of(study, None, {"catalog": catalog})
    write_study(
        Path(path), _heading(found, loop.name) + loop.text([one.trial for one in found.runs], Path(path))
    )


def make_next(
    study: Study | Path | str,
    store: Store | Path | str,
    budget: float | str,
    *,
    on_event: Callable[[Any], None] | None = None,
    workers: int = 0,
    **asked: Unpack[AskedOfNext],
) -> Iterator[Step]:
    """Chooses a run and makes it, again and again, until the width is reached, or nothing affordable helps.

    Where the law misses held-out larger runs by more than its interval allows for, nothing more is spent.

    Args:
        study: A study or the path of its file.
        store: The store of its runs, made where it is missing.
        budget: FLOPs that all runs may cost together.
        on_event: Called with what the runs tell, see `run_study`.
        workers: Worker processes of each run; 0 trains in this one.
        asked: What is to be known, and more, see `AskedOfNext`.

    Yields:
        A step for each run, once its loss is known.

    Raises:
        InputError: As `next_runs`; or a run failed.
    """
    from scalelab.execute.coordinator import run_study
    from scalelab.study import parse_study

    left, spent = _flops(budget), 0.0
    loop = _Loop.of(study, store, asked)
    if asked.get("candidates") is not None:
        raise InputError("a table of candidates says no study that could train them; choose without making")
    found = loop.choose(left)
    while found.runs and not any(one.doubt for one in found.known):
        first = found.runs[0]
        path = loop.beside / "next.toml"
        # With all that were made before, so that the store's study of chosen runs has each of them.
        one = parse_study(loop.text([*loop.made(), first.trial], path), path, loop.catalog)
        summary = run_study(one, store, workers=workers, catalog=loop.catalog, on_event=on_event)
        if not summary.complete or summary.failed:
            reason = next(iter(summary.failed.values()), "it was interrupted")
            raise InputError(f"run {first.trial} ended without a loss: {reason}; fix the cause and go on")
        spent += first.train_flops
        left -= first.train_flops
        before, found = found, loop.choose(left)
        yield Step(before, spent, first.width, found.width)


def _flops(budget: float | str) -> float:
    flops = amount(budget, "budget")
    if not flops > 0:
        raise InputError(f"the budget must be a positive number of FLOPs, got {flops:g}")
    return flops


@dataclass
class _Loop:
    """A study, its runs so far and its candidates; candidates are counted once."""

    name: str
    study: Study | None
    store: Store | Path | str | None
    asked: AskedOfNext
    catalog: Catalog
    trials: dict[str, Trial]
    pool: pd.DataFrame

    @classmethod
    def of(cls, study: Study | Path | str, store: Store | Path | str | None, asked: AskedOfNext) -> _Loop:
        from scalelab.study import Study, load_study

        catalog = asked.get("catalog") or installed()
        table = asked.get("candidates")
        if table is not None and store is not None and not isinstance(study, Study):
            name = str(study)
            if not Path(name).is_file():
                only: Any = _only(asked)
                runs = finished_runs(store, study=name, **only)
                return cls(name, None, store, asked, catalog, {}, _of_table(table, asked, None, runs))
        loaded = load_study(study, catalog)
        if table is not None:
            known = None if store is None else _runs(store, loaded.name, asked)
            return cls(loaded.name, loaded, store, asked, catalog, {}, _of_table(table, asked, loaded, known))
        trials, pool = _candidates(loaded, catalog, asked)
        return cls(loaded.name, loaded, store, asked, catalog, trials, pool)

    def choose(self, budget: float) -> NextRuns:
        """Chooses by what the store has now."""
        from scalelab.analysis.families.choice import choose
        from scalelab.analysis.runs.designs import designs
        from scalelab.analysis.runs.selection import GRID_AXES

        stop = self.asked.get("stop_width")
        if stop is not None and not 0 < stop < 10:
            raise InputError(f"the width to stop at must be a part of the answer, such as 5%, got {stop:g}")
        question = _question(self.asked)
        runs = None if self.store is None else _runs(self.store, self.name, self.asked)
        for where, there in (("candidates", self.pool), ("runs", runs)):
            missing = [] if there is None else [axis for axis in question.at if axis not in there]
            if missing:
                known = ", ".join(_axes(self.pool))
                raise InputError(f"the {where} have no {missing[0]}; axes of the candidates are {known}")
        axes = [axis for axis in question.at if axis not in (*GRID_AXES, "epochs", "train_flops")]
        made = designs(runs, axes) if runs is not None else self.pool[:0]
        pool = self.pool
        if runs is not None and self.asked.get("candidates") is not None:
            refuse_unmade(pool, made)
        if runs is not None and "trial_id" in runs:
            pool = pool[~pool["trial_id"].isin(set(runs["trial_id"]))]
            if SETTING in pool:
                settings = dict(zip(self.pool["trial_id"], self.pool[SETTING], strict=True))
                made[SETTING] = [settings.get(str(one), "") for one in made["first_run"]]
        own = ("level", "most", "seed")
        how: dict[str, Any] = {name: self.asked[name] for name in own if name in self.asked}  # type: ignore[literal-required]
        return choose(made, pool, question, budget=budget, stop_width=stop, **how)

    @property
    def beside(self) -> Path:
        """The folder that relative locations of the study are taken from."""
        own = None if self.study is None else self.study.path
        return (own.parent if own else Path()).absolute()

    def made(self) -> list[str]:
        """Returns the ids of the trials that were chosen before and are done."""
        runs = None if self.store is None else _runs(self.store, next_name(self.name), {})
        return [] if runs is None else [one for one in runs["trial_id"] if one in self.trials]

    def text(self, ids: Sequence[str], path: Path) -> str:
        """Returns the study file of some of the trials."""
        lost = [one for one in ids if one not in self.trials]
        if self.study is None or lost:
            raise StudyError(f"study {self.name!r} has no run {', '.join(lost)}; choose again")
        return study_of_runs([self.trials[one] for one in ids], self.study, path, self.catalog)


def _heading(found: NextRuns, study: str) -> str:
    """Returns the comment of a file that says its runs, in the order in which they were chosen."""
    from scalelab.report.names import family_names

    name = family_names([one.family for one in found.known])
    lines = [f"Runs of {study}, chosen by scalelab next to know {found.question}: {found.spent:.3g} FLOPs."]
    for one in found.runs:
        scales = ", ".join(f"{axis} = {value:.6g}" for axis, value in one.at.items())
        kind = ", another seed" if one.repeat else ""
        lines.append(f"{one.trial}: {name(one.family)}, {scales}{kind}, {one.train_flops:.3g} FLOPs")
    return "".join(f"# {line}\n" for line in lines)


def _axes(pool: pd.DataFrame) -> list[str]:
    return [str(name) for name in pool if name not in (*KINDS, "trial_id", SETTING)]


def _question(asked: AskedOfNext) -> Question:
    """Reads what is to be known.

    Raises:
        InputError: It is neither a target nor a question, or both, or misspelt.
    """
    target, said = asked.get("target"), asked.get("question")
    if bool(target) == bool(said):
        raise InputError("give either a target, such as n_params=1e8 and n_examples=1e9, or a question")
    law = law_named(asked.get("law"), asked.get("catalog"))
    if target:
        at = {axis: amount(value, axis) for axis, value in target.items()}
        return Question("target", at, (), law)
    if law is not None:
        raise InputError("--law goes with a target; a question has its own law")
    if said == "allocation":
        return Question("allocation")
    kind, _, names = str(said).partition(":")
    both = tuple(name.strip() for name in names.split(",") if name.strip())
    if kind == "compare" and len(both) == 2 and both[0] != both[1]:
        return Question("compare", {}, both)
    raise InputError(f"question {said!r}: must be allocation, or compare:A,B with two names")


def _runs(store: Store | Path | str, name: str, asked: AskedOfNext) -> pd.DataFrame | None:
    """Returns the finished runs of a study and of those that were chosen for it; `None` before there are."""
    if isinstance(store, (str, Path)) and not Path(store).exists():
        return None
    known = opened(store)
    there = {one.study: one.done for one in known.studies()}
    names = [one for one in dict.fromkeys((name, next_name(name))) if there.get(one)]
    if not names:
        return None
    runs = of_kinds(finished_runs(known, study=names), _only(asked))
    return None if runs.empty else runs


def _of_table(
    table: pd.DataFrame | Path | str, asked: AskedOfNext, study: Study | None, runs: pd.DataFrame | None
) -> pd.DataFrame:
    """Returns the candidates of a table."""
    from scalelab.analysis.runs.selection import GRID_AXES

    axes = tuple(_question(asked).at) or GRID_AXES
    only = _only(asked)
    names = {kind: [only[kind]] if kind in only else own for kind, own in kinds_of(study, runs).items()}
    return chosen_kinds(candidate_table(table, axes, names), only)


def _only(asked: AskedOfNext) -> dict[str, str]:
    return {kind: asked[kind] for kind in KINDS if asked.get(kind)}  # type: ignore[literal-required]


def _candidates(study: Study, catalog: Catalog, asked: AskedOfNext) -> tuple[dict[str, Trial], pd.DataFrame]:
    """Returns the trials to choose from, and a row for each: scales, cost and components."""
    import pandas as pd

    from scalelab.execute.plan import works
    from scalelab.measure.costs import Costs
    from scalelab.script_reports import script_axes
    from scalelab.study import expand

    if study.refit is not None or any(one.tune for one in study.optimizers):
        raise StudyError(
            f"{study.source}: a study that tunes an option or refits its best design chooses runs by what "
            "others gave, so that none can be chosen alone; fix the option, such as with a rule, or leave "
            "out [refit]"
        )
    cost = Costs(catalog)
    expansion = expand(considered(study), catalog, cost=cost)
    rows: list[dict[str, object]] = []
    if expansion.place is not None:
        rows += [_row(trial, _of_script(script_axes(trial))) for trial in expansion.trials]
    else:
        for work in works(expansion, cost, catalog):
            seen = work.n_steps * work.trial.training.batch_size
            axes = {
                "n_params": work.cost.n_params, "n_examples": work.trial.n_examples,
                "epochs": seen / work.an_epoch, "train_flops": work.n_steps * work.step_flops,
            }  # fmt: skip
            rows.append(_row(work.trial, axes))
    pool = chosen_kinds(pd.DataFrame(rows), _only(asked))
    if "train_flops" not in pool:
        raise InputError(
            f"{study.source}: the cost of a run is not known before it ran; name in [command.axes] which "
            "parameters are n_params and n_examples, or train_flops, or give a table with --candidates"
        )
    return {trial.id: trial for trial in expansion.trials}, pool


def _of_script(axes: Mapping[str, float]) -> dict[str, float]:
    """Returns the scales of a run of a command; where it has no FLOPs they are taken as 6 N D a pass."""
    if "train_flops" in axes or not {"n_params", "n_examples"} <= axes.keys():
        return dict(axes)
    passes = axes["n_params"] * axes["n_examples"] * axes.get("epochs", 1.0)
    return {**axes, "train_flops": FLOPS_PER * passes}


def _row(trial: Trial, axes: Mapping[str, object]) -> dict[str, object]:
    names = {kind: getattr(trial, kind).name for kind in KINDS}
    return {"trial_id": trial.id, SETTING: _setting(trial), **names, **axes}


def _setting(trial: Trial) -> str:
    """Returns what trials that differ in their seeds alone have in common."""
    return trial.model_copy(update={"seed": 0, "data_seed": 0}).id
