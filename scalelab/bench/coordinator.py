"""Benchmarks: the networks of a study on every target, interleaved, into the store.

Every target has a process of its own, and one of them works at a time. A block of networks, as large as
memory allows, is loaded on all targets and then timed in rounds over all of them, in another order each
round, so that whatever slows the machine for a while touches all of them and shows as a wide interval, not as
a wrong ranking.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.bench.jobs import BenchJob, DeviceRow, Refused
from scalelab.bench.lane import Lane
from scalelab.bench.plan import Networks, TargetPlan, jobs_of, networks_of, plan_targets
from scalelab.bench.timing import ROUNDS, Timing
from scalelab.components import Device
from scalelab.errors import InputError, StoreLockedError
from scalelab.measure.machine import usable_cores
from scalelab.measure.targets import Target, find_device, parse_target
from scalelab.measure.threads import asked_threads
from scalelab.measurements import MeasurementStatus
from scalelab.plugins import Catalog, load_plugins
from scalelab.store import Store, open_store
from scalelab.study import Study, load_study
from scalelab.supervise.stop import StopSignal

if TYPE_CHECKING:
    from scalelab.components import Progress

BLOCK = 64
"""Benchmarks of each target that are loaded at a time, at most."""
MEMORY_SHARE = 0.5
"""Part of the free memory that loaded models may take; those beyond it make the next block."""


@dataclass(frozen=True)
class BenchSummary:
    """How a benchmark run ended.

    Attributes:
        study: The study's name.
        ids: Ids of all benchmarks that were asked for, those that were kept among them.
        kept: Benchmarks that had been measured (or refused) before.
        ok: Benchmarks measured now.
        problems: By target, the reasons why benchmarks were not measured now, with how often.
        pending: Benchmarks that are still to be measured.
        notes: What was left out, a line each.
        stopped: Whether somebody asked to stop.
        seconds: Wall time.
    """

    study: str
    ids: tuple[str, ...]
    kept: int
    ok: int
    problems: dict[str, dict[str, int]]
    pending: int
    notes: tuple[str, ...]
    stopped: bool
    seconds: float


def bench_study(
    study: Study | str | Path,
    store: Store | str | Path,
    targets: Sequence[Target | str] = (),
    *,
    precisions: Sequence[str] | None = None,
    batch_sizes: Sequence[int] = (1,),
    top: int | None = None,
    threads: int | None = None,
    options: Mapping[str, str] | None = None,
    time_limit: float = 5.0,
    retry: bool = False,
    stall_seconds: float = 300.0,
    dry_run: bool = False,
    catalog: Catalog | None = None,
    stop: StopSignal | None = None,
    on_progress: Progress | None = None,
) -> BenchSummary:
    """Measures the networks of a study; those that were measured before are kept.

    Args:
        study: A study, or the path of its file; its dataset gives the inputs.
        store: A store, or the path of its file; objectives come from it, measurements go into it.
        targets: Where to measure, such as `"torch:cpu"`; every device that can be used by default.
        precisions: For targets that name none; each backend's default one by default.
        batch_sizes: Examples per call.
        top: Only so many networks of each architecture, those with the best objective.
        threads: CPU threads; by default those of `OMP_NUM_THREADS`, else all cores that the process may use.
        options: Further options of backends, for those that know them.
        time_limit: Seconds of timing for each network on each target, all rounds together.
        retry: Whether to measure again what failed before.
        stall_seconds: Seconds for which a process may be silent before it counts as hung.
        dry_run: Whether to plan only.
        catalog: The plugins; the installed ones by default.
        stop: Ends the run early when asked, as Ctrl-C does while networks are measured.
        on_progress: `(done, total, what)`, called now and then.

    Raises:
        InputError: The study, a target or an option is wrong; nothing was measured.
        StoreError: The store or its journal cannot be written.
    """
    if not batch_sizes or min(batch_sizes) < 1 or not 0 < time_limit < math.inf:
        raise InputError("batch sizes must be 1 or more, and the time limit positive and finite")
    catalog = catalog or load_plugins()
    study, store = load_study(study, catalog), open_store(store, create=True)
    networks, threads = networks_of(study, catalog, store, top=top), asked_threads(threads) or usable_cores()
    asked = [parse_target(one) if isinstance(one, str) else one for one in targets]
    if not asked:
        rows = list_devices(catalog, threads=threads, patience=stall_seconds)
        asked = [Target(row.backend, row.device) for row in rows if row.available]
    plans, notes = plan_targets(asked, precisions, catalog, threads=threads, options=options)
    run = _Run(store, networks, catalog, threads, stall_seconds, stop or StopSignal(), on_progress)
    try:
        run.prepare(plans, batch_sizes, time_limit, retry=retry, look=not dry_run)
        if not dry_run and run.pending:
            with run.stop:
                run.work()
    finally:
        run.close()
    return run.summary((*networks.notes, *notes))


def list_devices(catalog: Catalog, *, threads: int = 1, patience: float = 120.0) -> list[DeviceRow]:
    """Returns the devices of all backends, those that cannot be used with the reason.

    Each backend is asked in a process of its own: one that crashes is a row with the reason.
    """
    rows: list[DeviceRow] = []
    for name in catalog.names("backend"):
        with closing(Lane(threads)) as lane:
            answer = lane.devices(name, catalog, patience)
        found, detail = ((), answer.reason) if isinstance(answer, Refused) else (answer.rows, "")
        rows += found or [DeviceRow(backend=name, device="", available=False, detail=detail)]
    return rows


@dataclass
class _Run:
    """The state of one run; its methods are the steps of `bench_study`, in order."""

    store: Store
    networks: Networks
    catalog: Catalog
    threads: int
    patience: float
    stop: StopSignal
    on_progress: Progress | None
    lanes: dict[str, Lane] = field(default_factory=dict)
    pending: dict[str, list[BenchJob]] = field(default_factory=dict)
    reasons: dict[str, str | None] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    problems: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    kept: int = 0
    ok: int = 0
    done: int = 0
    began: float = field(default_factory=time.perf_counter)

    def prepare(
        self, plans: list[TargetPlan], batch_sizes: Sequence[int], limit: float, *, retry: bool, look: bool
    ) -> None:
        """Lists what is to be measured; a device is looked at only where something is."""
        self.store.ingest()

        def listed(plan: TargetPlan) -> tuple[list[BenchJob], list[BenchJob]]:
            jobs = jobs_of(self.networks, plan, batch_sizes, limit)
            return jobs, self._pending(jobs, retry=retry)

        for plan in plans:
            jobs, pending = listed(plan)
            unusable = None
            if pending and look:
                unusable = self._look(plan)
                # The runtime may spell the device in another way, by which it may have been measured before.
                jobs, pending = listed(plan)
            self.ids += [job.benchmark.id for job in jobs]
            self.kept += len(jobs) - len(pending)
            if unusable is not None:
                self._unavailable(pending, unusable)
            elif pending:
                self.pending[str(plan.target)] = pending

    def _pending(self, jobs: list[BenchJob], *, retry: bool) -> list[BenchJob]:
        """Returns the jobs that were not measured yet, or are to be measured again."""
        tried = self.store.tried([job.benchmark.id for job in jobs])
        again: set[MeasurementStatus] = {"unavailable"}
        if retry:
            again |= {"failed", "timeout", "unsupported"}
        pending = []
        for job in jobs:
            known = tried.get(job.benchmark.id)
            if known is None:
                pending.append(job)
            elif known.status in again:
                self.reasons[job.benchmark.id] = known.reason if known.status == "unavailable" else None
                pending.append(job.model_copy(update={"attempt": known.attempts + 1}))
        return pending

    def _look(self, plan: TargetPlan) -> str | None:
        """Asks the runtime for the target's device; returns why it cannot be used, `None` where it can.

        Raises:
            InputError: The runtime has no such device.
        """
        name = str(plan.target)
        if name not in self.lanes:
            log = self.store.journal.log("bench-" + "".join(c if c.isalnum() else "-" for c in name))
            log.unlink(missing_ok=True)
            self.lanes[name] = Lane(self.threads, log)
        answer = self.lanes[name].devices(plan.backend.name, self.catalog, self.patience)
        if isinstance(answer, Refused):
            return answer.reason
        known = [Device(row.device, row.detail, row.available) for row in answer.rows]
        device = find_device(plan.target, known)
        plan.target = replace(plan.target, device=device.name)
        self.lanes[str(plan.target)] = self.lanes[name]
        return None if device.available else f"{plan.target} cannot be used here: {device.detail}"

    def _unavailable(self, jobs: list[BenchJob], reason: str) -> None:
        """Notes once for each benchmark that its device cannot be used."""
        for job in jobs:
            self.problems[job.benchmark.target][reason] += 1
            if self.reasons.get(job.benchmark.id) != reason:
                self._write(Timing(job, refused=Refused(status="unavailable", reason=reason)))
        self._ingest()

    def work(self) -> None:
        """Measures block after block until nothing is pending or somebody asks to stop."""
        waiting = [Timing(job) for jobs in self.pending.values() for job in jobs]
        order = dict.fromkeys(timing.job.benchmark.architecture.model_dump_json() for timing in waiting)
        # Sizes are mixed, so that a drift of the machine does not look like an effect of size, and a network
        # stays together, so that its targets are compared in one block.
        dice = random.Random(0)
        place = {key: dice.random() for key in order}
        waiting.sort(key=lambda timing: place[timing.job.benchmark.architecture.model_dump_json()])
        while waiting and not self.stop.level:
            block, rest = waiting[: BLOCK * len(self.pending)], waiting[BLOCK * len(self.pending) :]
            waiting = [*self._measure(block), *rest]

    def _measure(self, block: list[Timing]) -> list[Timing]:
        """Times the benchmarks of a block in rounds and writes their measurements.

        Returns:
            Those for which there was no memory left.
        """
        import psutil

        room = MEMORY_SHARE * psutil.virtual_memory().available
        started: list[Timing] = []
        for timing in block:
            if self.stop.level or (started and room < 0):
                break
            room -= self._slice(timing)
            started.append(timing)
            self._tell(started)
        dice = random.Random(len(started))
        for _ in range(ROUNDS - 1):
            for timing in dice.sample(started, len(started)):
                if not timing.over and not self.stop.level:
                    self._slice(timing)
                    self._tell(started)
        for timing in started:
            if timing.tells:
                self._write(timing)
                self.done += 1
        self.close()  # the next block has their memory
        self._ingest()
        return block[len(started) :]

    def _slice(self, timing: Timing) -> int:
        """Asks for one round of one benchmark; returns the bytes that loading it took."""
        job = timing.job
        if not timing.rounds:
            timing.started_at = time.time()
        answer = self.lanes[job.benchmark.target].slice(job, self.patience + job.time_limit / ROUNDS)
        if isinstance(answer, Refused) and self.stop.level:
            # Who asked to stop may have ended the process too: that says nothing of the network.
            return 0
        timing.add(answer)
        if isinstance(answer, Refused):
            self.problems[job.benchmark.target][answer.reason] += 1
            return 0
        return (answer.loaded and answer.loaded.peak_memory_bytes) or 0

    def _write(self, timing: Timing) -> None:
        """Writes a measurement into the journal."""
        self.store.journal.write(timing.measurement(self.threads))
        self.ok += timing.refused is None

    def _tell(self, timings: list[Timing]) -> None:
        """Tells how many rounds are over; those that a benchmark does not need count as over."""
        if self.on_progress is not None:
            total = ROUNDS * sum(map(len, self.pending.values()))
            rounds = sum(ROUNDS if timing.over else len(timing.rounds) for timing in timings)
            self.on_progress(ROUNDS * self.done + rounds, total, "rounds")

    def _ingest(self) -> None:
        # What cannot be ingested because somebody reads the store waits in the journal.
        with suppress(StoreLockedError):
            self.store.ingest(wait=5.0)

    def close(self) -> None:
        """Ends the processes."""
        for lane in self.lanes.values():
            lane.close()

    def summary(self, notes: tuple[str, ...]) -> BenchSummary:
        """Returns how it went."""
        total = sum(map(len, self.pending.values()))
        return BenchSummary(
            study=self.networks.study.name,
            ids=tuple(self.ids),
            kept=self.kept,
            ok=self.ok,
            problems={target: dict(reasons) for target, reasons in self.problems.items()},
            pending=total - self.done,
            notes=notes,
            stopped=self.stop.level > 0,
            seconds=time.perf_counter() - self.began,
        )
