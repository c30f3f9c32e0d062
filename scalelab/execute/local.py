"""Trials in supervised processes on this machine.

Each worker is one process that serves many trials, so that importing torch is paid once. A worker that is
killed, runs out of memory or falls silent is replaced; only the attempt that it was at is lost. Workers are
not in the terminal's process group: Ctrl-C reaches the coordinator alone, which decides.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from scalelab.execute.jobs import Broken, Event, Finished, Job, Lost, Progressed, event_from_json
from scalelab.execute.worker import INTERRUPT_LINE
from scalelab.supervise.process import kill_process, why_lost

GRACE_SECONDS = 5.0


def threads_per_worker(workers: int, cores: int | None = None) -> int:
    """Returns the CPU threads for each worker: the cores this process may use, divided, at least 1."""
    if cores is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // max(1, workers))


@dataclass
class _Worker:
    process: subprocess.Popen[str]
    number: int
    job: Job | None = None
    heard: float = field(default_factory=time.monotonic)

    def send(self, line: str) -> None:
        """Writes a line; a worker that is gone is found out by its reader, not here."""
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return


class LocalExecutor:
    """Runs jobs in `workers` processes of this machine; see `scalelab.execute.jobs.Executor`.

    Invariants: one thread drives it; a job that was submitted ends in exactly one final event; after `close`
    no process of it lives.

    Args:
        workers: How many processes.
        threads: CPU threads each; by default the cores divided by the workers.
        stall_seconds: A worker at a job that says nothing for so long counts as hung and is killed.
    """

    def __init__(self, workers: int, *, threads: int | None = None, stall_seconds: float = 900.0) -> None:
        self.slots = workers
        self.threads = threads or threads_per_worker(workers)
        self._stall = stall_seconds
        self._heard: queue.SimpleQueue[tuple[_Worker, Event | None]] = queue.SimpleQueue()
        self._workers = [self._spawn(number) for number in range(workers)]

    def _spawn(self, number: int) -> _Worker:
        env = {**os.environ, "OMP_NUM_THREADS": str(self.threads), "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "scalelab.execute.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            start_new_session=True,
        )
        worker = _Worker(process, number)
        threading.Thread(target=self._read, args=(worker,), daemon=True).start()
        return worker

    def _read(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            self._heard.put((worker, event_from_json(line)))
        worker.process.wait()
        self._heard.put((worker, None))

    def _idle(self) -> _Worker | None:
        return next((worker for worker in self._workers if worker.job is None), None)

    def worker_pid(self) -> int | None:
        """Returns the process that the next job will run in."""
        worker = self._idle()
        return worker.process.pid if worker else None

    def submit(self, job: Job) -> None:
        """Hands a job to an idle worker."""
        worker = self._idle()
        if worker is None:
            raise RuntimeError("submit() without a free slot")
        worker.job, worker.heard = job, time.monotonic()
        worker.send(job.model_dump_json())

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
            worker.heard = time.monotonic()
            if event is None:
                events.extend(self._replace(worker, None))
            elif worker.job is not None and event.trial_id == worker.job.trial.id:
                if not isinstance(event, Progressed):
                    worker.job = None
                events.append(event)
        for worker in list(self._workers):
            if worker.job is not None and time.monotonic() - worker.heard > self._stall:
                events.extend(self._replace(worker, f"no sign of life for {self._stall:.0f} s; killed"))
        return events

    def _replace(self, worker: _Worker, reason: str | None) -> list[Lost]:
        if worker not in self._workers:
            return []
        kill_process(worker.process)
        why = reason or why_lost(worker.process)
        lost = [Lost(trial_id=worker.job.trial.id, reason=why)] if worker.job else []
        self._workers[self._workers.index(worker)] = self._spawn(worker.number)
        return lost

    def interrupt(self) -> None:
        """Asks every worker to write a checkpoint and end its trial as interrupted."""
        for worker in self._workers:
            worker.send(INTERRUPT_LINE)

    def close(self) -> None:
        """Ends all workers; one at a job is killed, which its next attempt makes good."""
        workers, self._workers = self._workers, []
        for worker in workers:
            if worker.job is not None:
                kill_process(worker.process)
            elif worker.process.stdin is not None:
                worker.process.stdin.close()
        deadline = time.monotonic() + GRACE_SECONDS
        for worker in workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                kill_process(worker.process)
