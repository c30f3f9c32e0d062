"""Jobs of a SLURM cluster, submitted with submitit and watched with `squeue` and `scontrol`.

submitit asks `sacct`, which needs an accounting database; many clusters have none. `squeue` and `scontrol` always
answer, for a few minutes after a job has ended, too (`MinJobAge`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from scalelab.errors import InputError, suggest
from scalelab.execute.cluster.agent import Agent
from scalelab.execute.cluster.folder import FolderMail, FolderPost
from scalelab.execute.cluster.machines import Gone, Standing
from scalelab.execute.cluster.mail import Hello, Orders
from scalelab.execute.cluster.options import Cluster
from scalelab.store import Journal
from scalelab.store.fleet import Fleet, Heart
from scalelab.store.processes import started, this_place

ANSWER_SECONDS = 60.0
SIGNAL_SECONDS = 60
"""Before its time limit, SLURM sends a job SIGUSR1."""
_ALIVE = {"PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "COMPLETING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD",
          "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SPECIAL_EXIT"}  # fmt: skip
_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"}
# What says nothing about the trial that the job was at.
_NOT_ITS_FAULT = {
    "PREEMPTED",
    "NODE_FAIL",
    "BOOT_FAIL",
    "TIMEOUT",
    "DEADLINE",
    "CANCELLED",
    "REVOKED",
    "UNKNOWN",
}


class Slurm:
    """A SLURM cluster, for one run; see `scalelab.execute.cluster.machines.Machines`.

    Args:
        cluster: What the user asked for.
        fleet: The run's folder.
        orders: What its jobs are told.
        joined: Jobs that were there under an earlier coordinator of the run; `None` where there was none.
    """

    look_seconds = 5.0
    lasting = True

    def __init__(
        self, cluster: Cluster, fleet: Fleet, orders: Orders, joined: list[str] | None = None
    ) -> None:
        self._cluster = cluster
        self._fleet = fleet
        self._submitted: dict[str, float] = {}
        self.post = FolderPost(fleet, orders)
        if joined is not None:
            known = {*joined, *self.post.leases().values()}
            self._submitted = dict.fromkeys(known, float("-inf"))

    def start(self, n: int) -> None:
        """Submits so many jobs, in arrays."""
        while n > 0:
            size = min(n, self._cluster.array_size)
            for name in self._submit(size):
                self._submitted[name] = time.monotonic()
            n -= size

    def _submit(self, n: int) -> list[str]:
        import submitit

        executor = submitit.SlurmExecutor(self._fleet.folder / "submitit")
        executor.update_parameters(**self._parameters())
        folder = str(self._fleet.folder)
        try:
            return [job.job_id for job in executor.map_array(serve_job, [folder] * n)]
        except subprocess.CalledProcessError as error:
            raise InputError(
                f"{self._cluster.on}: {_said(error.stderr or error.output or str(error))}"
            ) from error
        except submitit.core.utils.FailedJobError as error:
            raise InputError(f"{self._cluster.on}: sbatch refused the jobs: {_said(str(error))}") from error

    def _parameters(self) -> dict[str, Any]:
        cluster = self._cluster
        limit = cluster.time_limit
        further: dict[str, Any] = {"requeue": True, "signal": f"USR1@{SIGNAL_SECONDS}"}
        if limit is not None:
            minutes, seconds = divmod(round(limit), 60)
            further["time"] = f"{minutes}:{seconds:02d}"
        if cluster.memory is not None:
            further["mem"] = f"{max(1, cluster.memory // 2**20)}M"
        if cluster.gpus_per_trial and "gres" not in cluster.sbatch:
            further["gres"] = f"gpu:{int(cluster.gpus_per_trial)}"
        given: dict[str, Any] = {
            "job_name": f"scalelab-{self._fleet.run}",
            "cpus_per_task": cluster.cpus_per_trial,
            "srun_args": [
                f"--cpus-per-task={cluster.cpus_per_trial}"
            ],  # which srun does not take over since 22.05
            "stderr_to_stdout": True,
            "wckey": "",
            "additional_parameters": {**further, **cluster.sbatch},
        }
        if cluster.where:
            given["partition"] = cluster.where
        if cluster.setup:
            given["setup"] = list(cluster.setup)
        return given

    def look(self) -> tuple[Standing, list[Gone]]:
        """Returns where the jobs stand, and those that ended."""
        rows = self._queue()
        if rows is None:  # the controller does not answer; it may in a while
            return Standing({}, len(self._submitted), "slurmctld does not answer"), []
        running = {name: node for name, (state, _, node) in rows.items() if state in _ALIVE - _WAITING}
        waiting = [why for state, why, _ in rows.values() if state in _WAITING]
        gone = []
        for name in rows:  # also what an earlier coordinator submitted
            self._submitted.setdefault(name, float("-inf"))
        for name, since in list(self._submitted.items()):
            if name not in rows and time.monotonic() - since > self.look_seconds:
                del self._submitted[name]
                gone.append(_gone(name))
        return Standing(running, len(waiting), ", ".join(sorted(set(waiting) - {"None"}))), gone

    def _queue(self) -> dict[str, tuple[str, str, str]] | None:
        """Returns state, reason and node of the jobs that SLURM has in its queue, by name."""
        asked = _asked("squeue", "-h", "-r", "-n", f"scalelab-{self._fleet.run}", "-o", "%i|%T|%r|%N")
        if asked is None:
            return None
        rows = (line.split("|") for line in asked.splitlines())
        return {row[0]: (row[1], row[2], row[3]) for row in rows if len(row) == 4 and row[1] in _ALIVE}

    def cancel(self) -> None:
        """Cancels all jobs of the run."""
        _asked("scancel", "-n", f"scalelab-{self._fleet.run}")

    def close(self, *, leave: bool) -> None:
        """Clears the run's folder away, unless jobs are left."""
        if not leave:
            shutil.rmtree(self._fleet.folder, ignore_errors=True)


def check_slurm(cluster: Cluster) -> None:
    """Makes sure that SLURM can be reached and has the partition.

    Raises:
        InputError: It cannot, or submitit is not installed.
    """
    if importlib.util.find_spec("submitit") is None:
        raise InputError("--on slurm needs submitit; run: pip install 'scalelab[slurm]'")
    missing = [
        name for name in ("sbatch", "squeue", "scontrol", "scancel", "sinfo") if shutil.which(name) is None
    ]
    if missing:
        raise InputError(
            f"--on {cluster.on}: {missing[0]} is not on the PATH; run this on a machine that submits to SLURM"
        )
    listed = _asked("sinfo", "-h", "-o", "%R")
    if listed is None:
        raise InputError(
            f"--on {cluster.on}: SLURM's controller does not answer (sinfo); see `scontrol ping` and SLURM_CONF"
        )
    partitions = sorted(set(listed.split()))
    for name in filter(None, cluster.where.split(",")):
        if name not in partitions:
            raise InputError(
                f"--on {cluster.on}: there is no partition {name!r}{suggest(name, partitions)} "
                f"(there are: {', '.join(partitions)})"
            )


def _asked(*command: str) -> str | None:
    """Returns what one of SLURM's commands prints; `None` where it fails."""
    environment = {**os.environ, "SLURM_TIME_FORMAT": "standard", "LC_ALL": "C.UTF-8"}
    for name in ("SQUEUE_FORMAT", "SQUEUE_STATES", "SQUEUE_USERS", "SQUEUE_PARTITION"):
        environment.pop(name, None)
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=ANSWER_SECONDS,
            env=environment, stdin=subprocess.DEVNULL, check=True,
        )  # fmt: skip
    except (subprocess.SubprocessError, OSError):
        return None
    return done.stdout


def _gone(name: str) -> Gone:
    """Returns how a job ended, as far as SLURM still knows."""
    shown = _asked("scontrol", "show", "job", "-o", name) or ""
    state = _field(shown, "JobState")
    if not state:
        listed = _asked("sacct", "-n", "-X", "-P", "-o", "State", "-j", name) or ""
        state = (listed.split() or ["UNKNOWN"])[0]
    code, status = _field(shown, "ExitCode"), _field(shown, "Reason")
    details = [f"exit code {code}"] if code not in ("", "0:0") else []
    details += [status] if status not in ("", "None") else []
    said = f"job {name} ended {state}" + (f" ({', '.join(details)})" if details else "")
    return Gone(name, said, counts=state not in _NOT_ITS_FAULT, expected=state == "COMPLETED")


def _field(shown: str, name: str) -> str:
    found = re.search(rf"\b{name}=(\S+)", shown)
    return found[1] if found else ""


def _said(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return " ".join((errors or lines or ["no reason given"])[0].split())[:300]


def serve_job(folder: str) -> str:
    """What a job runs; returns why it ended.

    Args:
        folder: The run's folder.
    """
    base = Path(folder)
    orders = Orders.model_validate_json((base / "orders.json").read_bytes())
    name = os.environ.get("SLURM_ARRAY_JOB_ID", "")
    name = f"{name}_{os.environ['SLURM_ARRAY_TASK_ID']}" if name else os.environ["SLURM_JOB_ID"]
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    if end.isdigit():
        orders = orders.model_copy(update={"time_limit": max(1.0, int(end) - time.time())})
    heart = Heart(
        agent=name, job=name, host=os.environ.get("SLURMD_NODENAME", platform.node()), place=this_place(),
        pid=os.getpid(), pid_start=started(os.getpid()), device=os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        began=time.time(),
    )  # fmt: skip
    hello = Hello(
        job=name,
        host=heart.host,
        device=heart.device,
        restarts=int(os.environ.get("SLURM_RESTART_COUNT", "0")),
    )
    said: list[str] = []

    def heed(number: int, _frame: object) -> None:
        said.append(f"it got {signal.Signals(number).name}")

    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, heed)
    mail = FolderMail(Journal(Path(orders.store)), heart, orders.run)
    reason = Agent(mail, orders, hello, lambda: said[0] if said else "").serve()
    mail.fleet.stop(name)
    # SIGTERM comes with preemption, after which SLURM starts the job again by itself, or from whoever cancels it.
    if mail.wish() == "go on" and mail.waits() and not any("SIGTERM" in one for one in said):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["scontrol", "requeue", name], timeout=ANSWER_SECONDS, check=False, capture_output=True
            )
    return reason
