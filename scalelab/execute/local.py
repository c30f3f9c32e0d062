"""Trials in supervised processes on this machine.

Each worker is one process that serves many trials, so that importing torch is paid once. A worker that is
killed, runs out of memory or falls silent is replaced; only the attempt that it was at is lost. What a worker
prints while it is at a trial goes to the log of the attempt, and to standard error otherwise.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import time
from dataclasses import dataclass, field

from scalelab.execute.jobs import Event, Job, Lost, Progressed, Warned, event_from_json
from scalelab.store import Journal
from scalelab.supervise.log import Log
from scalelab.supervise.process import Supervised
from scalelab.supervise.workbench import INTERRUPT_LINE


@dataclass
class _Attempt:
    """What a worker is at, when it was last heard of, and where its prints go."""

    job: Job
    heard: float = field(default_factory=time.monotonic)
    log: Log = field(init=False)

    def __post_init__(self) -> None:
        self.log = Log(Journal(self.job.store).log(self.job.record_id))


class _Shown:
    """Shows what a worker prints on standard error, by whole lines."""

    def __init__(self) -> None:
        self._torn = b""

    def __call__(self, printed: bytes) -> None:
        *lines, self._torn = (self._torn + printed).split(b"\n")
        with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it is closed
            for line in lines:
                print(line.decode(errors="replace"), file=sys.stderr)


class LocalExecutor:
    """Runs jobs in `workers` processes of this machine; see `scalelab.execute.jobs.Executor`.

    Invariants: one thread drives it; a job that was submitted ends in exactly one final event; after `close`
    no process of it lives.

    Args:
        workers: How many processes.
        threads: CPU threads each.
        stall_seconds: A worker at a job that says nothing for so long counts as hung and is killed.
    """

    run = None

    def __init__(self, workers: int, *, threads: int, stall_seconds: float = 900.0) -> None:
        self.slots = workers
        self.threads = threads
        self._stall = stall_seconds
        self._heard: queue.SimpleQueue[tuple[Supervised[Event], Event | None]] = queue.SimpleQueue()
        self._workers: dict[Supervised[Event], _Attempt | None] = {}
        for _ in range(workers):
            self._start()

    def _start(self) -> None:
        worker = Supervised(
            "scalelab.execute.worker",
            event_from_json,
            threads=self.threads,
            output=_Shown(),
            heard=self._heard,
        )
        self._workers[worker] = None

    def _idle(self) -> Supervised[Event] | None:
        return next((worker for worker, attempt in self._workers.items() if attempt is None), None)

    def worker_pid(self) -> int | None:
        """Returns the process that the next job will run in."""
        worker = self._idle()
        return worker.pid if worker else None

    def submit(self, job: Job) -> None:
        """Hands a job to an idle worker."""
        worker = self._idle()
        if worker is None:
            raise RuntimeError("submit() without a free slot")
        attempt = self._workers[worker] = _Attempt(job)
        worker.redirect(attempt.log.write)
        worker.send(job)

    def poll(self, timeout: float) -> list[Event]:
        """Returns what the workers said, the loss of a worker among it."""
        events: list[Event] = []
        wait = timeout
        while True:
            try:
                worker, event = self._heard.get(timeout=wait) if wait > 0 else self._heard.get_nowait()
            except queue.Empty:
                break
            wait = 0.0
            attempt = self._workers.get(worker)
            if event is None:
                events += self._replace(worker, None)
            elif attempt is not None and event.trial_id == attempt.job.trial.id:
                attempt.heard = time.monotonic()
                if not isinstance(event, (Progressed, Warned)):
                    self._workers[worker] = None
                    worker.redirect(_Shown())
                    attempt.log.close()
                events.append(event)
        for worker, attempt in list(self._workers.items()):
            if attempt is not None and time.monotonic() - attempt.heard > self._stall:
                events += self._replace(worker, f"no sign of life for {self._stall:.0f} s; killed")
        return events

    def _replace(self, worker: Supervised[Event], reason: str | None) -> list[Lost]:
        if worker not in self._workers:
            return []
        worker.kill()
        attempt = self._workers.pop(worker)
        self._start()
        if attempt is None:
            return []
        attempt.log.close()
        return [Lost(trial_id=attempt.job.trial.id, reason=reason or worker.why_lost())]

    def adopt(self, job: Job) -> None:
        """Refuses: a worker of this machine ends with its coordinator."""
        raise RuntimeError(f"{job.record_id} is under way in no local worker")

    def standing(self) -> str:
        """Returns nothing: workers are here at once."""
        return ""

    def interrupt(self) -> bool:
        """Asks every worker to write a checkpoint and end its trial as interrupted."""
        for worker in self._workers:
            worker.send(INTERRUPT_LINE)
        return True

    def close(self) -> None:
        """Ends all workers; one at a job is killed, which its next attempt makes good."""
        workers, self._workers = self._workers, {}
        for worker, attempt in workers.items():
            if attempt is not None:
                worker.kill()
                attempt.log.close()
            worker.redirect(lambda _printed: None)  # helpers complain that they end with their worker
            worker.close()
