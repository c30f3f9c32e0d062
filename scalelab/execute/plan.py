"""What a study would do: its trials with parameters, FLOPs and estimated time, without training any.

The time is a range, from what the store has of such trials on such a machine, else from timing some of them
now; see `scalelab.execute.clock`. It assumes that the machine stays as busy as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from scalelab.errors import InputError
from scalelab.execute.checks import check_program, check_trials
from scalelab.execute.crew import Crew, check_asked
from scalelab.execute.forecast import remember
from scalelab.execute.jobs import Job
from scalelab.execute.precision import decided
from scalelab.execute.work import Span, Work, makespan
from scalelab.measure.costs import Costs
from scalelab.measure.models import params_of
from scalelab.plugins import Catalog, load_plugins
from scalelab.records import FINAL_STATUSES, Trial
from scalelab.schedules import resolve_steps
from scalelab.script_reports import script_axes
from scalelab.store import Outcome, Store, open_store, reached_of
from scalelab.study import Expansion, Study, expand, load_study
from scalelab.subsets import drawn_an_epoch, windows_per_example
from scalelab.supervise.workbench import Selection

if TYPE_CHECKING:
    from scalelab.execute.clock import Clock


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a plan.

    Attributes:
        trial: The trial.
        n_params: Trainable parameters; of a script this and the next are `None` where no axis gives them.
        forward_flops: FLOPs of one example's forward pass.
        train_flops: FLOPs of the whole training.
        uncounted: Operators whose FLOPs nobody knows and the two leave out, such as
            `"aten::linalg_solve"`; both are then lower bounds.
        n_steps: Optimizer steps.
        epochs: Passes over the trial's unique examples.
        threads: CPU threads that train it.
        seconds: Wall time on this machine: an estimate, or what it took where it is done; `None` where it
            cannot be known.
        status: What the store has of it: `"pending"` or the status of its record.
    """

    json_fields: ClassVar[tuple[str, ...]] = (
        "trial_id=trial.id", "status", "n_params", "n_examples=trial.n_examples", "forward_flops",
        "train_flops", "uncounted", "n_steps", "epochs", "threads", "seconds", "trial",
    )  # fmt: skip

    trial: Trial
    n_params: int | None
    forward_flops: float | None
    train_flops: float | None
    uncounted: tuple[str, ...]
    n_steps: int | None
    epochs: float | None
    threads: int
    seconds: Span | None
    status: str


@dataclass(frozen=True)
class Plan:
    """A study's trials and what they would cost.

    Attributes:
        study: The study's name.
        trials: In the order in which they would run.
        skipped: Points that sampling left out, each with the reason.
        crew: The workers that `seconds` is for, and their threads.
        seconds: Estimated wall time of the pending trials; `None` where it cannot be known.
        unknown: Why it cannot be known, in one line.
        precision: What would be trained in, and why; `None` where nothing is pending.
        counting: Seconds that counting FLOPs took for this plan: 0.0 where the cache had all of them. Workers
            will not count again what the cache has; what they will is in `seconds`.
        sweeping: How far sweeps are, in a line; empty where nothing is tuned. `seconds` is of the trials that
            they ask for so far.
        refitting: How far the refit is, in a line; empty where the study has none. `seconds` leaves it out
            until its design is chosen.
    """

    json_fields: ClassVar[tuple[str, ...]] = (
        "study", "workers=crew.workers", "threads=crew.threads", "seconds", "unknown", "counting",
        "precision", "sweeping", "refitting", "skipped", "trials",
    )  # fmt: skip

    study: str
    trials: tuple[PlannedTrial, ...]
    skipped: tuple[str, ...]
    crew: Crew
    seconds: Span | None
    unknown: str | None
    precision: str | None
    counting: float
    sweeping: str
    refitting: str

    @property
    def pending(self) -> tuple[PlannedTrial, ...]:
        """The trials that a run would attempt."""
        return tuple(row for row in self.trials if row.status not in FINAL_STATUSES)


def plan_study(
    study: Study | str | Path,
    store: Store | str | Path | None = None,
    *,
    workers: int = 1,
    threads: int | None = None,
    device: str = "auto",
    catalog: Catalog | None = None,
    on_timing: Callable[[], None] | None = None,
) -> Plan:
    """Returns what running a study would do; nothing is trained and nothing is written to the store.

    Sizes of networks whose times the store does not know are timed here, which takes some seconds each.

    Args:
        study: A study, or the path of its file.
        store: A store or its file's path, which knows what is done; `None` counts everything as pending.
        workers: How many workers would share the trials; 0 is this process.
        threads: CPU threads of each, see `run_study`.
        device: Where they would train; `"auto"` takes a GPU where there is one.
        catalog: The plugins; the installed ones by default.
        on_timing: Called before trials are timed, if any are.

    Raises:
        InputError: The study, a component, the dataset, the device or the number of workers is wrong.
        StoreError: The store cannot be read.
    """
    check_asked(workers, device)
    catalog = catalog or load_plugins()
    study = load_study(study, catalog)
    cost, opened = Costs(catalog), open_store(store) if store else None
    expansion = expand(study, catalog, cost=cost, reached=opened.reached if opened else None)
    outcomes = opened.outcomes([trial.id for trial in expansion.trials]) if opened else {}
    if expansion.place is not None:
        return _of_command(study, expansion, outcomes, workers, threads)
    finished, todo = reached_of(outcomes), list(works(expansion, cost, catalog))
    pending = [work for work in todo if work.trial.id not in finished]
    pending_trials = [work.trial for work in pending]
    check_trials(study, pending_trials, expansion, catalog)
    crew = Crew.of(workers, threads, len(pending) or len(todo))
    on_timing = cache(on_timing or (lambda: None))  # called once, whatever is timed
    precision = decided(study, opened, device, pending_trials, expansion, catalog, crew, on_timing)
    job_of = partial(
        Job.of, expansion=expansion, study=study.name, attempt=1, store="", device=device, crew=crew,
        precision=precision.precision if precision else None, plugins=Selection.of(catalog),
    )  # fmt: skip
    clock, unknown = _clock(pending, opened, job_of, on_timing) if pending else (None, None)
    rows = tuple(_row(work, crew, outcomes.get(work.trial.id), clock) for work in todo)
    return Plan(
        study=study.name,
        trials=rows,
        skipped=expansion.skipped,
        crew=crew,
        seconds=_together(rows, crew, clock),
        unknown=unknown,
        precision=str(precision) if precision else None,
        counting=cost.seconds,
        sweeping=expansion.sweeping(finished),
        refitting=expansion.refitting(finished),
    )


def _of_command(
    study: Study, expansion: Expansion, outcomes: Mapping[str, Outcome], workers: int, threads: int | None
) -> Plan:
    """Returns the plan of a study of a command, which takes as long as its trials that are done took."""
    assert expansion.place is not None, "the study has a command"
    check_program(study, expansion.place)
    done = sorted(one.seconds for one in outcomes.values() if one.status == "done" and one.seconds)
    known = Span(done[0], done[len(done) // 2], done[-1]) if done else None
    n_trials = len(expansion.trials)
    n_pending = n_trials - len(reached_of(outcomes))
    crew = Crew.of(workers, threads, n_pending or n_trials).model_copy(update={"fewer": False})
    rows = []
    for trial in expansion.trials:
        outcome, axes = outcomes.get(trial.id), script_axes(trial)
        status = "pending" if outcome is None else outcome.status
        took = None if outcome is None or outcome.seconds is None else Span.exactly(outcome.seconds)
        rows.append(
            PlannedTrial(
                trial=trial,
                **{name: axes.get(name) for name in ("n_params", "forward_flops", "train_flops")},
                **{name: axes.get(name) for name in ("n_steps", "epochs")},
                uncounted=(),
                threads=crew.threads,
                seconds=took if status in FINAL_STATUSES else known,
                status=status,
            )
        )
    pending = [row for row in rows if row.status not in FINAL_STATUSES]
    spans = [row.seconds for row in pending if row.seconds is not None]
    unknown = None if known or not pending else "no trial of the command is done yet; some tell of the rest"
    return Plan(
        study=study.name,
        trials=tuple(rows),
        skipped=expansion.skipped,
        crew=crew,
        seconds=None if unknown else makespan(spans, crew, Span.exactly(0.0)),
        unknown=unknown,
        precision=None,
        counting=0.0,
        sweeping="",
        refitting="",
    )


def works(expansion: Expansion, cost: Costs, catalog: Catalog) -> Iterator[Work]:
    """Yields what each trial of a study of components has to do; its model is counted, not trained."""
    seen: set[str] = set()
    for trial in expansion.trials:
        data = expansion.opened(trial).data
        design = (trial.architecture, data.task.input_shape, data.task.n_outputs)
        found = cost(*design)
        optimizer = catalog.optimizer(trial.optimizer.name)
        evaluations = 1
        if optimizer.evaluations is not None:
            evaluations = optimizer.gradients(params_of(optimizer, trial.optimizer.params))
        flops = evaluations * found.train_flops_at(trial.training.batch_size)
        an_epoch = drawn_an_epoch(data, trial.n_examples, trial.data_seed)
        n_steps = resolve_steps(trial.training, an_epoch, flops)
        counting = 0.0
        if cost.seconds:  # else the cache had all of them
            # With its files a network is counted by the first worker that has it.
            named = str(design) if trial.architecture.content else trial.id
            counting = 0.0 if named in seen else cost.seconds_again(*design)
            seen.add(named)
        passes = windows_per_example(data.validation)
        yield Work(trial, found, n_steps, len(data.validation), counting, evaluations, an_epoch, passes)


def _clock(
    pending: list[Work],
    store: Store | None,
    job_of: Callable[[Trial], Job],
    on_timing: Callable[[], None],
) -> tuple[Clock | None, str | None]:
    """Returns what says how long trials take, or why nothing can."""
    from scalelab.execute.clock import make_clock

    # One batch size a study; several sets of data where options of the dataset vary.
    batch_size = pending[0].trial.training.batch_size
    contents = dict.fromkeys(work.trial.fingerprint for work in pending)
    known = [timing for one in contents for timing in store.timings(one, batch_size)] if store else []
    try:
        return make_clock(pending, known, job_of, on_timing), None
    except InputError as error:
        return None, str(error)


def _row(work: Work, crew: Crew, outcome: Outcome | None, clock: Clock | None) -> PlannedTrial:
    trial, n_seen = work.trial, work.n_steps * work.trial.training.batch_size
    seconds = None
    if outcome is not None and outcome.status in FINAL_STATUSES:
        seconds = None if outcome.seconds is None else Span.exactly(outcome.seconds)
    elif clock is not None:
        seconds = clock(work)
    return PlannedTrial(
        trial=trial,
        n_params=work.cost.n_params,
        forward_flops=work.cost.forward_flops,
        train_flops=work.n_steps * work.step_flops,
        uncounted=work.cost.uncounted,
        n_steps=work.n_steps,
        epochs=n_seen / work.an_epoch,
        threads=crew.threads_for(work.step_flops),
        seconds=seconds,
        status="pending" if outcome is None else outcome.status,
    )


def _together(rows: tuple[PlannedTrial, ...], crew: Crew, clock: Clock | None) -> Span | None:
    """Returns what the pending trials take the crew, and keeps it for their run to be held against."""
    pending = [row for row in rows if row.status not in FINAL_STATUSES]
    if not pending:
        return Span.exactly(0.0)
    if clock is None:
        return None
    spans = [row.seconds for row in pending if row.seconds is not None]
    seconds = makespan(spans, crew, clock.opening)
    remember((seconds.low, seconds.high), (row.trial.id for row in pending), crew)
    return seconds
