"""Trials in the coordinator's own process: for notebooks, debuggers and tests.

Trade-off: nothing supervises it. A trial that crashes the interpreter takes the study down with it, as a
trial under a debugger should.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from scalelab.execute.devices import failed_alone
from scalelab.execute.jobs import Event, Job, Lost
from scalelab.execute.worker import attempt_job
from scalelab.plugins import Catalog
from scalelab.supervise.workbench import Workbench


class InlineExecutor:
    """Runs each job when it is polled; see `scalelab.execute.jobs.Executor`.

    Args:
        catalog: The plugins to use, so that components made in a notebook can be run.
        threads: CPU threads.
        should_stop: Asked at every step; true makes the job end as interrupted.
    """

    slots = 1
    run = None

    def __init__(
        self,
        catalog: Catalog | None = None,
        *,
        threads: int,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.threads = threads
        self._bench = Workbench(catalog)
        self._job: Job | None = None
        self._should_stop = should_stop

    def worker_pids(self, n: int) -> list[int | None]:
        """Returns `None` for each: the coordinator is the worker."""
        return [None] * n

    def submit(self, job: Job) -> None:
        """Keeps the job for the next `poll`."""
        self._job = job

    def poll(self, _timeout: float) -> list[Event]:
        """Runs the job to its end and returns its events."""
        events: list[Event] = []
        job, self._job = self._job, None
        if job is not None:
            began = time.time()
            attempt_job(job, self._bench, events.append, self._should_stop)
            last = events[-1]
            if isinstance(last, Lost):
                events[-1] = failed_alone(job, last, began)
        return events

    def adopt(self, job: Job) -> None:
        """Refuses: a job of this process ends with it."""
        raise RuntimeError(f"{job.record_id} is under way in no process of this one")

    def standing(self) -> str:
        """Returns nothing: this process is here."""
        return ""

    def interrupt(self) -> bool:
        """Does nothing: a job asks by itself at every step."""
        return True

    def close(self) -> None:
        """Does nothing: there is no process to end."""
