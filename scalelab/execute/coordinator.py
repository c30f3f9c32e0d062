"""The coordinator: makes a study's pending trials into records.

Running a study again is resuming it: trials with a final record are kept, interrupted ones are attempted
again from their checkpoint, new ones are added. Any number of coordinators may work on one store: a trial is
claimed before it is attempted, and an attempt's record is written at most once.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.errors import StoreError, StoreLockedError
from scalelab.execute.changes import changed, told
from scalelab.execute.checks import check_trials
from scalelab.execute.crew import Crew, check_asked
from scalelab.execute.events import Grown, Planned, Retried, RunEvent, RunSummary, Started
from scalelab.execute.forecast import Forecast, recall
from scalelab.execute.inline import InlineExecutor
from scalelab.execute.jobs import Broken, Event, Executor, Finished, Job, Lost, Progressed, Warned
from scalelab.execute.local import LocalExecutor
from scalelab.execute.precision import Decided, decided
from scalelab.measure.costs import Costs
from scalelab.measure.threads import asked_threads
from scalelab.plugins import Catalog, load_plugins
from scalelab.records import FINAL_STATUSES, Reached, Status, Trial
from scalelab.store import Store, open_store, reached_of
from scalelab.study import Expansion, Study, expand, load_study
from scalelab.supervise.stop import StopSignal
from scalelab.supervise.workbench import Selection

if TYPE_CHECKING:
    from scalelab.store import Claim

INGEST_SECONDS = 2.0
POLL_SECONDS = 0.2


def run_study(
    study: Study | str | Path,
    store: Store | str | Path,
    *,
    workers: int = 1,
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
        device: Where to train; `"auto"` takes a GPU where there is one.
        retry_failed: Whether to attempt trials again that failed in an earlier run.
        redo_changed: Whether to run finished trials again that were made with other versions of libraries.
        max_attempts: Attempts at a trial whose worker gets lost before the trial counts as failed.
        threads: CPU threads for each worker; by default as `scalelab.execute.crew.Crew.of` says.
        stall_seconds: How long a worker may be silent before it counts as hung.
        keep_weights: Whether to keep weights in the journal, those of the best step and those of the last.
            Trials that are done already have none, unless kept then.
        catalog: The plugins; the installed ones by default.
        executor: Runs the jobs; local processes by default. The caller closes an executor of its own.
        stop: Ends the run early when asked, as Ctrl-C does while trials run.
        on_event: Told of everything that happens, in order.

    Raises:
        InputError: The study, a component or the dataset is wrong; nothing was trained.
        StoreError: The store or its journal cannot be written; what was acknowledged is in the journal.
    """
    check_asked(workers, device)
    asked = asked_threads(threads)
    catalog = catalog or load_plugins()
    study, store = load_study(study, catalog), open_store(store, create=True)
    hear, stop = on_event or (lambda _event: None), stop or StopSignal()
    run = _Run(study, store, catalog, device, max_attempts, stop, hear, keep_weights)
    run.prepare(retry_failed, redo_changed)
    crew = _crew(executor, workers, asked, len(run.pending))
    run.announce(crew)
    if crew is None:
        return run.summary()
    with run.stop, ExitStack() as ends:
        ends.callback(run.settle)
        if executor is None:
            executor = _local_executor(crew, stall_seconds, run)
            ends.callback(executor.close)
        run.work(executor)
    return run.summary()


def _crew(executor: Executor | None, workers: int, threads: int | None, n_trials: int) -> Crew | None:
    """Returns who does so many trials; `None` where there are none."""
    if not n_trials:
        return None
    if executor is None:
        return Crew.of(workers, threads, n_trials)
    return Crew(workers=executor.slots, threads=executor.threads, fewer=threads is None)


def _local_executor(crew: Crew, stall_seconds: float, run: _Run) -> Executor:
    if crew.workers == 0:
        return InlineExecutor(run.catalog, threads=crew.threads, should_stop=lambda: run.stop.level > 0)
    return LocalExecutor(crew.workers, threads=crew.threads, device=run.device, stall_seconds=stall_seconds)


@dataclass
class _Run:
    """The state of one run; its methods are the steps of `run_study`, in order."""

    study: Study
    store: Store
    catalog: Catalog
    device: str
    max_attempts: int
    stop: StopSignal
    on_event: Callable[[RunEvent], None]
    keep_weights: bool
    expansion: Expansion = field(init=False)
    crew: Crew | None = None
    forecast: Forecast | None = None
    precision: Decided | None = None
    trials: dict[str, Trial] = field(default_factory=dict)
    reached: dict[str, Reached] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    pending: deque[str] = field(default_factory=deque)
    under_way: dict[str, Claim] = field(default_factory=dict)
    changes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    redo: bool = False
    elsewhere: set[str] = field(default_factory=set)
    count: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    warned: set[str] = field(default_factory=set)
    began: float = field(default_factory=time.perf_counter)
    looked: float = -math.inf

    def prepare(self, retry_failed: bool, redo_changed: bool) -> None:
        """Expands the study, takes in what earlier runs left behind, and lists what is pending."""
        self.redo = redo_changed
        self.store.claims.reap()
        self.store.ingest()
        self.expansion = expand(
            self.study, self.catalog, cost=Costs(self.catalog), reached=self.store.reached
        )
        self._take(self.expansion.trials, retry_failed, redo_changed)
        waiting = [self.trials[trial_id] for trial_id in self.pending]
        check_trials(self.study, waiting, self.expansion, self.catalog)
        if self.pending:
            self.precision = decided(self.study, self.store, self.device)
        self._register()

    def _take(self, trials: Sequence[Trial], retry_failed: bool, redo_changed: bool) -> None:
        """Sorts trials by what is known of them."""
        self.trials.update({trial.id: trial for trial in trials})
        ids = [trial.id for trial in trials]
        outcomes = self.store.outcomes(ids)
        self.reached.update(reached_of(outcomes))
        busy = {claim.trial_id for claim in self.store.claims.live()}
        self.attempts.update({trial_id: outcome.attempts for trial_id, outcome in outcomes.items()})
        finished = [key for key, outcome in outcomes.items() if outcome.status in FINAL_STATUSES]
        self.changes.update(changed(trials, self.store.libraries(finished), self.catalog))
        for trial_id in ids:
            outcome = outcomes.get(trial_id)
            redo = redo_changed and trial_id in self.changes and trial_id not in busy
            if outcome and outcome.status in FINAL_STATUSES and not redo:
                self.count["kept"] += 1
            elif outcome and outcome.status == "failed" and not retry_failed:
                self.failed[trial_id] = outcome.error or "no reason recorded"
            elif trial_id in busy:
                self.elsewhere.add(trial_id)
            else:
                self.pending.append(trial_id)

    def _register(self) -> None:
        open_ = self.study.training.precision == "auto"
        self.store.register(
            self.study.name,
            self.study.text,
            self.expansion.trials,
            precision=self.precision.precision if open_ and self.precision else None,
            tuned=self.expansion.tuned(self.reached),
            refitted=[trial.id for trial in self.expansion.refitted],
        )

    def _grow(self) -> None:
        """Takes up trials that sweeps or the refit ask for by now; some may be done, for another study."""
        if self.pending or not self.expansion.grows:
            return
        if self.elsewhere and (not self.under_way or time.monotonic() - self.looked > INGEST_SECONDS):
            self.looked = time.monotonic()  # what another coordinator finished may end a value here
            self._look_elsewhere()
        while not self.pending:
            grown = self.expansion.grown(self.reached)
            if grown is self.expansion:
                return
            added = grown.trials[len(self.expansion.trials) :]
            if grown.refitted:  # on data that nobody has looked at yet
                check_trials(self.study, added, grown, self.catalog)
            self.expansion, kept = grown, self.count["kept"]
            self.forecast = None  # the plan knew of fewer trials
            self._take(added, retry_failed=False, redo_changed=self.redo)
            self._register()
            why = grown.refitting(self.reached) if grown.refitted else "sweeps go on"
            self.on_event(Grown(trials=added, n_kept=self.count["kept"] - kept, why=why))

    def _look_elsewhere(self) -> None:
        """Takes note of what other coordinators finished by now."""
        finished = self.store.reached(self.elsewhere)
        self.reached.update(finished)
        self.count["kept"] += len(finished)
        self.elsewhere -= finished.keys()

    def announce(self, crew: Crew | None) -> None:
        """Tells how much is to be done, and by whom."""
        self.crew = crew
        self.forecast = recall(self.pending, crew) if crew else None
        self.on_event(
            Planned(
                study=self.study.name,
                trials=tuple(self.trials.values()),
                n_kept=self.count["kept"],
                n_elsewhere=len(self.elsewhere),
                n_pending=len(self.pending),
                crew=crew,
                precision=str(self.precision) if self.precision else None,
                skipped=self.expansion.skipped,
                sweeping=self.expansion.sweeping(self.reached),
                refitting=self.expansion.refitting(self.reached),
                changed=told(self.changes, redo=self.redo),
            )
        )

    def work(self, executor: Executor) -> None:
        """Keeps the executor busy until nothing is pending or somebody asks to stop."""
        asked, ingested = 0, 0.0
        while True:
            if self.stop.level == 0:
                self._grow()  # also after the last trial, whose loss may not be bracketed
            if not (self.pending or self.under_way):
                return
            if self.stop.level == 0:
                self._fill(executor)
            elif self.stop.level > asked:
                asked = self.stop.level
                executor.interrupt()
            if self.stop.level >= 2 or not self.under_way:
                return
            for event in executor.poll(POLL_SECONDS):
                self._hear(event)
            self.store.claims.beat()
            if time.monotonic() - ingested > INGEST_SECONDS:
                ingested = time.monotonic()
                with suppress(StoreLockedError):  # somebody reads the store; the journal keeps what waits
                    self.store.ingest(wait=0.5)

    def _fill(self, executor: Executor) -> None:
        while self.pending and len(self.under_way) < executor.slots:
            trial_id = self.pending.popleft()
            attempt = self.attempts[trial_id] + 1
            claim = self.store.claims.claim(
                trial_id, self.study.name, attempt, worker_pid=executor.worker_pid()
            )
            if claim is None:
                # Another coordinator is at this trial, or made this attempt after we looked at the store.
                self.elsewhere.add(trial_id)
                continue
            self.under_way[trial_id] = claim
            executor.submit(self._job(trial_id, attempt))
            self.on_event(Started(trial=self.trials[trial_id], attempt=attempt))

    def _job(self, trial_id: str, attempt: int) -> Job:
        assert self.crew is not None, "there are trials to do"
        assert self.precision is not None, "likewise"
        return Job.of(
            self.trials[trial_id],
            self.expansion,
            study=self.study.name,
            attempt=attempt,
            store=str(self.store.path),
            device=self.device,
            crew=self.crew,
            precision=self.precision.precision,
            keep_weights=self.keep_weights,
            plugins=Selection.of(self.catalog),
        )

    def _hear(self, event: Event) -> None:
        if isinstance(event, Progressed):
            self.on_event(event)
            return
        if isinstance(event, Warned):
            if event.place not in self.warned:
                self.warned.add(event.place)
                self.on_event(event)
            return
        claim = self.under_way.pop(event.trial_id)
        if isinstance(event, Finished):
            self.attempts[event.trial_id] = claim.attempt
            self.count[event.status] += 1
            reached = Reached.of(event.status, event.loss, event.objective, event.direction)
            if reached is not None:
                self.reached[event.trial_id] = reached
            elif event.status == "failed":
                self.failed[event.trial_id] = event.error or "no reason given"
            else:
                self.stopped.add(event.trial_id)
            self.on_event(event)
        elif isinstance(event, Lost):
            self._lost(claim, event.reason)
        self.store.claims.release(claim)
        if isinstance(event, Broken):
            raise StoreError(event.message)

    def _lost(self, claim: Claim, reason: str) -> None:
        trial_id = claim.trial_id
        self.attempts[trial_id] = claim.attempt
        self.lost[trial_id] += 1
        if self.lost[trial_id] < self.max_attempts:
            self._record(claim, "interrupted", reason)
            self.pending.append(trial_id)
            self.on_event(Retried(trial_id=trial_id, reason=reason))
        else:
            self.failed[trial_id] = f"lost {self.lost[trial_id]} times in this run; {reason}"
            self._record(claim, "failed", self.failed[trial_id])

    def _record(self, claim: Claim, status: Status, reason: str) -> None:
        # Who was taken for dead has no say any more: the attempt was recorded, and the next one is another's.
        if self.store.claims.stands(claim):
            self.store.journal.write(claim.record(self.trials[claim.trial_id], status, reason))

    def settle(self) -> None:
        """Gives claims back and ingests the last records."""
        for claim in self.under_way.values():
            self.count["interrupted"] += 1
            self.attempts[claim.trial_id] = claim.attempt
            self.stopped.add(claim.trial_id)
            self._record(claim, "interrupted", "stopped before it finished")
            self.store.claims.release(claim)
        self.under_way.clear()
        try:
            self.store.ingest()
            self._look_elsewhere()
        except StoreLockedError as error:
            waiting = len(self.store.journal.pending())
            raise StoreLockedError(
                f"{error}; nothing is lost: {waiting} records are kept in the journal; run the same command "
                "again to ingest them"
            ) from error

    def _log(self, trial_id: str) -> Path:
        return self.store.journal.log(f"{trial_id}-{self.attempts[trial_id]}")

    def summary(self) -> RunSummary:
        """Returns how it went."""
        count = self.count
        finished = count["done"] + count["diverged"]
        return RunSummary(
            study=self.study.name,
            n_trials=len(self.trials),
            kept=count["kept"],
            done=count["done"],
            diverged=count["diverged"],
            failed=dict(self.failed),
            logs={
                trial_id: log
                for trial_id in (*self.failed, *sorted(self.stopped))
                if (log := self._log(trial_id)).exists()
            },
            interrupted=count["interrupted"],
            elsewhere=len(self.elsewhere),
            stopped=self.stop.level > 0,
            seconds=time.perf_counter() - self.began,
            forecast=self.forecast if count["kept"] + finished == len(self.trials) else None,
            precision=str(self.precision) if self.precision else None,
            sweeping=self.expansion.sweeping(self.reached),
            refitting=self.expansion.refitting(self.reached),
        )
