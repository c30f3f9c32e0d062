"""The steps of one run of a study: what is pending, who is at it, and what became of it."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.amounts import counted, verb
from scalelab.errors import StoreError, StoreLockedError, StudyError
from scalelab.execute.changes import told
from scalelab.execute.checks import check_trials
from scalelab.execute.cluster.mail import Needs
from scalelab.execute.crew import Crew
from scalelab.execute.events import Compared, Grown, Planned, Retried, RunEvent, RunSummary, Started, Stood
from scalelab.execute.forecast import Forecast, recall
from scalelab.execute.jobs import (
    Begun,
    Broken,
    Event,
    Executor,
    Finished,
    Job,
    Lost,
    Progressed,
    Requeued,
    Warned,
    Withdrawn,
)
from scalelab.execute.ledger import Ledger
from scalelab.execute.precision import Decided, decided, noted
from scalelab.measure.costs import Costs
from scalelab.reached import Reached
from scalelab.records import Status
from scalelab.study import Expansion, expand
from scalelab.supervise.stop import StopSignal
from scalelab.supervise.workbench import Selection

if TYPE_CHECKING:
    from scalelab.store import Claim
    from scalelab.store.fleet import Fleet

INGEST_SECONDS = 2.0
POLL_SECONDS = 0.2


@dataclass(kw_only=True)
class Run(Ledger):
    """One run of a study; its methods are the steps of `run_study`, in order."""

    device: str
    max_attempts: int
    stop: StopSignal
    on_event: Callable[[RunEvent], None]
    keep_weights: bool
    expansion: Expansion = field(init=False)
    on_cluster: bool = False
    crew: Crew | None = None
    ended: list[Claim] = field(default_factory=list)
    forecast: Forecast | None = None
    precision: Decided | None = None
    lost: Counter[str] = field(default_factory=Counter)
    stopped: set[str] = field(default_factory=set)
    warned: set[str] = field(default_factory=set)
    began: float = field(default_factory=time.perf_counter)
    looked: float = -math.inf
    left: bool = False
    stood: str = ""
    redo: bool = False
    shown: set[str] = field(default_factory=set)

    def prepare(self, retry_failed: bool, redo_changed: bool, joined: Fleet | None = None) -> None:
        """Expands the study, takes in what earlier runs left behind, and lists what is pending.

        Args:
            retry_failed: Whether failed trials are pending, too.
            redo_changed: Likewise those made with other versions of libraries.
            joined: A run on a cluster whose coordinator this process becomes.
        """
        self.redo = redo_changed
        if joined:
            for claim in self.store.claims.take_over(joined.run):
                self.under_way[claim.trial_id] = claim
        self.store.claims.reap()
        self.store.ingest()
        self.expansion = expand(
            self.study, self.catalog, cost=Costs(self.catalog), reached=self.store.reached
        )
        if self.expansion.place and self.keep_weights:
            what = f"{self.study.source}: a command keeps its own weights"
            raise StudyError(f"{what}; leave --keep-weights out")
        self.give_back_settled({trial.id for trial in self.expansion.trials})
        self.take(self.expansion.trials, retry_failed, redo_changed)
        check_trials(self.study, self.waiting, self.expansion, self.catalog)

    def decide(self, crew: Crew) -> None:
        """Settles what the study is trained in, and notes it with what the study asks for.

        Args:
            crew: Who trains it; on a cluster, networks are timed by one process here.
        """
        timed = crew.model_copy(update={"workers": 1}) if self.on_cluster else crew
        self.precision = self._decided(timed)
        self._register()
        mine = self.precision.precision if self.precision else None
        if mine and self.study.training.precision == "auto" and noted(self.study, self.store) != mine:
            # Another coordinator decided meanwhile, and what was noted first holds.
            self.precision = self._decided(timed)

    def _decided(self, crew: Crew) -> Decided | None:
        return decided(
            self.study, self.store, self.device, self.waiting, self.expansion, self.catalog, crew,
            lambda: self.on_event(Compared()), elsewhere=self.on_cluster,
        )  # fmt: skip

    def needs(self) -> Needs:
        """Returns what a machine must have to train what is waiting."""
        precision = self.precision.precision if self.precision else None
        plugins = Selection.of(self.catalog)
        return Needs.of(self.waiting, self.catalog, plugins=plugins, device=self.device, precision=precision)

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
            self.look_elsewhere()
        while not self.pending:
            grown = self.expansion.grown(self.reached)
            if grown is self.expansion:
                return
            added = grown.trials[len(self.expansion.trials) :]
            if grown.refitted:  # on data that nobody has looked at yet
                check_trials(self.study, added, grown, self.catalog)
            self.expansion, kept = grown, self.count["kept"]
            self.forecast = None  # the plan knew of fewer trials
            self.take(added, retry_failed=False, redo_changed=self.redo)
            self._register()
            why = grown.refitting(self.reached) if grown.refitted else "sweeps go on"
            self.on_event(Grown(trials=added, n_kept=self.count["kept"] - kept, why=why))

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
                n_pending=len(self.waiting),
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
        asked, ingested, spent = 0, 0.0, 0.0
        for trial_id, claim in self.under_way.items():  # of the run that was joined
            executor.adopt(self._job(trial_id, claim.attempt))
        while True:
            going = self.stop.level == 0
            self._turn_over(executor, more=going)
            if going and not self.pending:
                self._grow()  # also after the last trial, whose loss may not be bracketed
                self.take_back()
                self._turn_over(executor)
            if not (self.pending or self.under_way):
                return
            if self.stop.level > asked:
                asked = self.stop.level
                if not executor.interrupt():
                    self.left = True
                    self._turn_over(executor)
                    return
            if self.stop.level >= 2 or (self.stop.level and not self.under_way):
                return
            for event in executor.poll(POLL_SECONDS):
                self._hear(event)
            self._stand(executor.standing())
            self.store.claims.beat()
            # Taking records in costs a hundredth of the time at most, however many there are.
            if time.monotonic() - ingested > max(INGEST_SECONDS, 100 * spent):
                ingested = time.monotonic()
                with suppress(StoreLockedError):  # somebody reads the store; the journal keeps what waits
                    self.store.ingest(wait=0.5)
                spent = time.monotonic() - ingested

    def _stand(self, standing: str) -> None:
        if standing != self.stood:
            self.stood = standing
            self.on_event(Stood(where=standing))

    def _turn_over(self, executor: Executor, *, more: bool = True) -> None:
        """Gives back the claims of what ended and, where more is to be begun, claims what is next."""
        while True:
            n = min(len(self.pending), executor.slots - len(self.under_way)) if more else 0
            if n <= 0 and not self.ended:
                return
            wanted = [self.pending.popleft() for _ in range(n)]
            claims = self.store.claims.turn_over(
                self.ended,
                [(trial_id, self.attempts[trial_id] + 1) for trial_id in wanted],
                self.study.name,
                workers=executor.worker_pids(n) if n > 0 else [],
                run=executor.run,
            )
            self.ended.clear()
            # Another coordinator is at the others, or made this attempt after we looked at the store.
            self.elsewhere |= set(wanted) - {claim.trial_id for claim in claims}
            for claim in claims:
                self.under_way[claim.trial_id] = claim
                executor.submit(self._job(claim.trial_id, claim.attempt))
                if executor.run is None:
                    self._begun(claim.trial_id)

    def _begun(self, trial_id: str) -> None:
        self.shown.add(trial_id)
        self.on_event(Started(trial=self.trials[trial_id], attempt=self.under_way[trial_id].attempt))

    def _job(self, trial_id: str, attempt: int) -> Job:
        assert self.crew is not None, "there are trials to do"
        return Job.of(
            self.trials[trial_id],
            self.expansion,
            study=self.study.name,
            attempt=attempt,
            store=str(self.store.path),
            device=self.device,
            crew=self.crew,
            precision=self.precision.precision if self.precision else None,
            keep_weights=self.keep_weights,
            plugins=Selection.of(self.catalog),
        )

    def _hear(self, event: Event) -> None:
        if isinstance(event, Withdrawn):
            self.ended.append(self.under_way.pop(event.trial_id))
            self.pending.append(event.trial_id)
            return
        if event.trial_id not in self.shown:
            self._begun(event.trial_id)
        if isinstance(event, Begun):
            return
        if isinstance(event, Progressed):
            self.on_event(event)
            return
        if isinstance(event, Warned):
            if event.place not in self.warned:
                self.warned.add(event.place)
                self.on_event(event)
            return
        if isinstance(event, Requeued):
            self._requeued(event)
            return
        claim = self.under_way.pop(event.trial_id)
        self.ended.append(claim)
        self.shown.discard(event.trial_id)
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
            self._lost(claim, event)
        if isinstance(event, Broken):
            raise StoreError(event.message)

    def _requeued(self, event: Requeued) -> None:
        """Takes note that a job put the next attempt at its trial into the queue, and claimed it."""
        claim = self.under_way[event.trial_id]
        self.under_way[event.trial_id] = replace(claim, attempt=event.attempt)
        self.attempts[event.trial_id] = event.attempt - 1
        self.shown.discard(event.trial_id)
        self.on_event(Retried(trial_id=event.trial_id, reason=event.reason))

    def _lost(self, claim: Claim, event: Lost) -> None:
        trial_id, reason = claim.trial_id, event.reason
        self.attempts[trial_id] = claim.attempt
        self.lost[trial_id] += event.counts
        if self.lost[trial_id] < self.max_attempts:
            self._record(claim, "interrupted", reason)
            self.pending.append(trial_id)
            self.on_event(Retried(trial_id=trial_id, reason=reason))
        else:
            self.failed[trial_id] = f"lost {self.lost[trial_id]} times in this run; {reason}"
            self._record(claim, "failed", self.failed[trial_id])

    def _record(self, claim: Claim, status: Status, reason: str) -> None:
        # Who was taken for dead has no say any more: the attempt was recorded, and the next one is another's.
        if not self.store.claims.stands(claim):
            return
        journal, trial = self.store.journal, self.trials[claim.trial_id]
        facts = journal.reported(trial, failed=status == "failed")
        kept = journal.settle(claim.record(trial, status, reason, **facts))
        if not kept and status == "failed":  # its worker could say that it was interrupted
            following = replace(claim, attempt=claim.attempt + 1)
            journal.settle(following.record(trial, status, reason, **facts))

    def settle(self) -> None:
        """Gives claims back and ingests the last records."""
        if self.left:
            self.count["left"] = len(self.under_way)
            self.under_way.clear()
        for claim in self.under_way.values():
            self.count["interrupted"] += 1
            self.attempts[claim.trial_id] = claim.attempt
            self.stopped.add(claim.trial_id)
            self._record(claim, "interrupted", "stopped before it finished")
            self.ended.append(claim)
        self.under_way.clear()
        self.store.claims.release(*self.ended)
        self.ended.clear()
        if not self.left:
            self.store.claims.rest()
        try:
            self.store.ingest()
            self.count_elsewhere()
        except StoreLockedError as error:
            waiting = len(self.store.journal.pending())
            raise StoreLockedError(
                f"{error}; nothing is lost: {counted(waiting, 'records')} {verb(waiting, 'are')} kept in the "
                "journal; run the same command again to ingest them"
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
            left=count["left"],
            stopped=self.stop.level > 0,
            seconds=time.perf_counter() - self.began,
            forecast=self.forecast if count["kept"] + finished == len(self.trials) else None,
            precision=str(self.precision) if self.precision else None,
            sweeping=self.expansion.sweeping(self.reached),
            refitting=self.expansion.refitting(self.reached),
        )
