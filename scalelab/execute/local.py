"""Trials in supervised processes on this machine.

Each worker is one process that serves many trials, so that importing torch is paid once. A worker that is
killed, runs out of memory or falls silent is replaced; only the attempt that it was at is lost.
"""

from __future__ import annotations

import queue
import sys
import time

from scalelab.execute.jobs import Broken, Event, Finished, Job, Lost, Progressed, event_from_json
from scalelab.supervise.process import Supervised
from scalelab.supervise.workbench import INTERRUPT_LINE


class LocalExecutor:
    """Runs jobs in `workers` processes of this machine; see `scalelab.execute.jobs.Executor`.

    Invariants: one thread drives it; a job that was submitted ends in exactly one final event; after `close`
    no process of it lives.

    Args:
        workers: How many processes.
        threads: CPU threads each.
        stall_seconds: A worker at a job that says nothing for so long counts as hung and is killed.
    """

    def __init__(self, workers: int, *, threads: int, stall_seconds: float = 900.0) -> None:
        self.slots = workers
        self.threads = threads
        self._stall = stall_seconds
        self._heard: queue.SimpleQueue[tuple[Supervised[Event], Event | None]] = queue.SimpleQueue()
        self._workers: dict[Supervised[Event], tuple[Job, float] | None] = {}
        """What each is at, and when it was last heard of."""
        for _ in range(workers):
            self._start()

    def _start(self) -> None:
        def tell(line: str) -> None:
            print(line, end="", file=sys.stderr)

        worker = Supervised(
            "scalelab.execute.worker", event_from_json, threads=self.threads, tell=tell, heard=self._heard
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
        self._workers[worker] = job, time.monotonic()
        worker.send(job)

    def poll(self, timeout: float) -> list[Progressed | Finished | Lost | Broken]:
        """Returns what the workers said, the loss of a worker among it."""
        events: list[Progressed | Finished | Lost | Broken] = []
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
            elif attempt is not None and event.trial_id == attempt[0].trial.id:
                alive = isinstance(event, Progressed)
                self._workers[worker] = (attempt[0], time.monotonic()) if alive else None
                events.append(event)
        for worker, attempt in list(self._workers.items()):
            if attempt is not None and time.monotonic() - attempt[1] > self._stall:
                events += self._replace(worker, f"no sign of life for {self._stall:.0f} s; killed")
        return events

    def _replace(self, worker: Supervised[Event], reason: str | None) -> list[Lost]:
        if worker not in self._workers:
            return []
        worker.kill()
        attempt = self._workers.pop(worker)
        self._start()
        return [Lost(trial_id=attempt[0].trial.id, reason=reason or worker.why_lost())] if attempt else []

    def interrupt(self) -> None:
        """Asks every worker to write a checkpoint and end its trial as interrupted."""
        for worker in self._workers:
            worker.send(INTERRUPT_LINE)

    def close(self) -> None:
        """Ends all workers; one at a job is killed, which its next attempt makes good."""
        workers, self._workers = self._workers, {}
        for worker, attempt in workers.items():
            if attempt is not None:
                worker.kill()
            worker.close()
