"""The coordinator: makes a study's pending trials into records.

Running a study again is resuming it: trials with a final record are kept, interrupted ones are attempted
again from their checkpoint, new ones are added. Any number of coordinators may work on one store: a trial is
claimed before it is attempted, and an attempt's record is written at most once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from scalelab.execute.cluster.begin import Engagement
from scalelab.execute.cluster.options import Cluster
from scalelab.execute.crew import Crew, check_asked
from scalelab.execute.events import RunEvent, RunSummary
from scalelab.execute.inline import InlineExecutor
from scalelab.execute.jobs import Executor
from scalelab.execute.local import LocalExecutor
from scalelab.execute.run import Run
from scalelab.measure.threads import asked_threads
from scalelab.plugins import Catalog, load_plugins
from scalelab.store import Store, open_store
from scalelab.study import Study, load_study
from scalelab.supervise.stop import StopSignal


def run_study(
    study: Study | str | Path,
    store: Store | str | Path,
    *,
    workers: int = 1,
    on: str | Cluster | None = None,
    device: str = "auto",
    retry_failed: bool = False,
    redo_changed: bool = False,
    max_attempts: int = 3,
    threads: int | None = None,
    stall_seconds: float = 900.0,
    keep_weights: bool = False,
    catalog: Catalog | None = None,
    executor: Executor | None = None,
    stop: StopSignal | None = None,
    on_event: Callable[[RunEvent], None] | None = None,
) -> RunSummary:
    """Runs a study, or resumes it.

    Args:
        study: A study, or the path of its file.
        store: A store, or the path of its file, which is made where it is missing.
        workers: Supervised processes on this machine; 0 trains in this process, without supervision.
        on: A cluster to run on instead, such as `"ray"` or `"slurm:PARTITION"`; a `scalelab.Cluster` says
            more.
        device: Where to train; `"auto"` takes a GPU where there is one.
        retry_failed: Whether to attempt trials again that failed in an earlier run.
        redo_changed: Whether to run finished trials again that were made with other versions of libraries.
        max_attempts: Attempts at a trial whose worker gets lost before the trial counts as failed.
        threads: CPU threads for each worker; by default as `scalelab.execute.crew.Crew.of` says.
        stall_seconds: How long a worker may be silent before it counts as hung.
        keep_weights: Whether to keep weights of the best step and the last, of trials that are not done yet.
        catalog: The plugins; the installed ones by default.
        executor: Runs the jobs; local processes by default. The caller closes its own.
        stop: Ends the run early when asked, as Ctrl-C does while trials run.
        on_event: Told of everything that happens, in order.

    Raises:
        InputError: The study, a component or the dataset is wrong; nothing was trained.
        StoreError: The store or its journal cannot be written; what was acknowledged is in the journal.
    """
    cluster = None if on is None else Cluster.of(on)
    device = cluster.device(device) if cluster else device
    check_asked(workers, "auto" if cluster else device)  # its machines say what they have
    asked = asked_threads(threads)
    catalog = catalog or load_plugins()
    run = Run(
        study=load_study(study, catalog),
        store=open_store(store, create=True),
        catalog=catalog,
        device=device,
        max_attempts=max_attempts,
        stop=stop or StopSignal(),
        on_event=on_event or (lambda _event: None),
        keep_weights=keep_weights,
        on_cluster=cluster is not None,
    )
    _conduct(run, cluster, executor, workers, asked, stall_seconds, (retry_failed, redo_changed))
    return run.summary()


def _conduct(
    run: Run,
    cluster: Cluster | None,
    executor: Executor | None,
    workers: int,
    threads: int | None,
    stall_seconds: float,
    again: tuple[bool, bool],
) -> None:
    """Has trials made into records, by whoever is asked to."""
    with ExitStack() as ends:
        engaged = ends.enter_context(Engagement(cluster, run.store, run.study.name)) if cluster else None
        run.prepare(*again, joined=engaged.joined if engaged else None)
        n_trials = len(run.waiting)
        crew = _crew(engaged, executor, workers, threads, n_trials)
        run.decide(crew)
        if run.study.command is not None:  # whose steps nobody knows the size of
            crew = crew.model_copy(update={"fewer": False})
        run.announce(crew if n_trials else None)
        if n_trials:
            ends.enter_context(run.stop)
            ends.callback(run.settle)
            if executor is None:
                executor = _executor(engaged, crew, stall_seconds, run)
                ends.callback(executor.close)
            run.work(executor)
        elif engaged and engaged.joined:  # what earlier coordinators left has nothing more to do
            _executor(engaged, crew, stall_seconds, run).close()


def _crew(
    engaged: Engagement | None, executor: Executor | None, workers: int, threads: int | None, n_trials: int
) -> Crew:
    """Returns who does so many trials."""
    if engaged:
        return engaged.crew(n_trials, threads)
    if executor:
        return Crew(workers=executor.slots, threads=executor.threads, fewer=threads is None)
    return Crew.of(workers, threads, n_trials)


def _executor(engaged: Engagement | None, crew: Crew, stall_seconds: float, run: Run) -> Executor:
    if engaged:
        return engaged.executor(run.needs(), crew, stall_seconds=stall_seconds)
    if crew.workers == 0:
        return InlineExecutor(run.catalog, threads=crew.threads, should_stop=lambda: run.stop.level > 0)
    return LocalExecutor(crew.workers, threads=crew.threads, device=run.device, stall_seconds=stall_seconds)
