"""What a job of a SLURM cluster runs: an agent that heeds SLURM's signals and the job's own time limit."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import time
from pathlib import Path

from scalelab.errors import StoreError
from scalelab.execute.cluster.agent import TAKEN_AWAY, Agent
from scalelab.execute.cluster.folder import FolderMail
from scalelab.execute.cluster.mail import Hello, Orders
from scalelab.execute.cluster.slurm_commands import ANSWER_SECONDS, seconds_left
from scalelab.store import Journal
from scalelab.store.fleet import QUEUE, Heart

SIGNAL_SECONDS = 60
"""Before its time limit, SLURM sends a job SIGUSR1, and that up to a minute too soon."""


class Stop:
    """Why a job is to end: SLURM takes its machine, its time limit is near, somebody sent SIGUSR1.

    Args:
        job: What SLURM calls the job.
        grace: How many seconds before its time limit it is to end.
    """

    def __init__(self, job: str, grace: float) -> None:
        self._job = job
        self._grace = grace
        self._ends = float("inf")
        self._signals: list[int] = []
        self.reason = ""
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, lambda number, _frame: self._signals.append(number))

    def __call__(self) -> str:
        """Returns the reason; empty while there is none."""
        if signal.SIGTERM in self._signals:
            self.reason = f"{TAKEN_AWAY} (SIGTERM)"
        elif self._signals and not self.reason:
            self._heed(self._signals.pop())
        elif time.monotonic() > self._ends:
            self.reason = "its time limit is near"
        return self.reason

    def _heed(self, number: int) -> None:
        """Goes by the clock where a signal is SLURM's warning of the time limit."""
        left = seconds_left(self._job)
        if left is not None and left <= SIGNAL_SECONDS + 65.0:
            self._ends = time.monotonic() + left - self._grace
        else:
            self.reason = f"it got {signal.Signals(number).name}"


def serve_job(folder: str) -> str:
    """Serves trials until there is a reason to end; returns it.

    Args:
        folder: The run's folder.
    """
    orders = Orders.model_validate_json((Path(folder) / "orders.json").read_bytes())
    name = _name()
    stop = Stop(name, orders.grace_seconds)
    left = seconds_left(name)
    if left is not None:  # an administrator or the partition may have set it
        orders = orders.model_copy(update={"time_limit": left})
    heart = Heart.here(name, os.environ.get("SLURMD_NODENAME", platform.node()))
    restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
    hello = Hello(job=name, host=heart.host, device=heart.device, restarts=int(restarts))
    mail = FolderMail(Journal(Path(orders.store)), heart, orders.run)
    try:
        reason = Agent(mail, orders, hello, stop).serve()
        # After SIGTERM it is for SLURM, which preempts, or for whoever cancels it, to start the job again.
        taken = stop.reason.startswith(TAKEN_AWAY)
        if not taken and mail.wish() == "go on" and mail.waits() and mail.deserted():
            with contextlib.suppress(OSError, StoreError, subprocess.SubprocessError):
                subprocess.run(["scontrol", "requeue", name], timeout=ANSWER_SECONDS, check=True)
                mail.fleet.beat(Heart(QUEUE))  # trials wait for it, however long that takes
        return reason
    finally:
        mail.fleet.stop(name)


def _name() -> str:
    """Returns what SLURM calls this job."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
