"""Jobs of a SLURM cluster, submitted with submitit and watched with `squeue` and `scontrol`.

submitit itself watches with `sacct`, which needs an accounting database; many clusters have none.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from scalelab.errors import InputError, suggest
from scalelab.execute.cluster.folder import FolderPost
from scalelab.execute.cluster.machines import Gone, Standing
from scalelab.execute.cluster.mail import Orders
from scalelab.execute.cluster.options import Cluster
from scalelab.execute.cluster.slurm_commands import WAITING, Row, asked, cluster_name, gone, queue, refusal
from scalelab.execute.cluster.slurm_job import SIGNAL_SECONDS, serve_job
from scalelab.store import Journal
from scalelab.store.fleet import QUEUE, Fleet

DEFAULT_JOBS = 8
LOOK_SECONDS = (5.0, 30.0)
"""How often to ask: at least while something changes, at most while nothing does."""
SIGNAL_LIMIT = 600.0
_PROGRAMS = ("sbatch", "squeue", "scontrol", "scancel", "sinfo")
_GPU_OPTIONS = ("gres", "gpus", "gpus-per-node", "gpus-per-task")


class SlurmSite:
    """A SLURM cluster that was reached; see `scalelab.execute.cluster.machines.Site`.

    Raises:
        InputError: It cannot be reached, or has no such partition.
    """

    def __init__(self, cluster: Cluster) -> None:
        check_slurm(cluster)
        self._cluster = cluster
        self.address = cluster_name()

    def room(self) -> int:
        """Returns a modest number: SLURM's queue decides when they run."""
        return DEFAULT_JOBS

    def knows(self, run: str) -> bool:
        """Always: what jobs said stands in the run's folder."""
        del run
        return True

    def over(self, run: str) -> bool:
        """Whether `squeue` answers and lists no job of a run."""
        return queue(_job_name(run)) == {}

    def clear(self, fleet: Fleet, journal: Journal) -> None:
        """Removes the run's folder: what jobs said that counts are records in the journal."""
        del journal
        fleet.remove()

    def machines(self, fleet: Fleet, journal: Journal, orders: Orders, *, joined: bool) -> Slurm:
        """Returns what it does for a run."""
        del journal
        known = [heart.agent for heart, _ in fleet.hearts() if heart.agent != QUEUE]
        return Slurm(self._cluster, fleet, orders, known if joined else None)

    def leave(self) -> None:
        """Does nothing: SLURM is asked by commands."""


class Slurm:
    """A SLURM cluster, for one run; see `scalelab.execute.cluster.machines.Machines`.

    Args:
        cluster: What the user asked for.
        fleet: The run's folder.
        orders: What its jobs are told.
        joined: Jobs that were there under an earlier coordinator of the run; `None` where there was none.
    """

    lasting = True

    def __init__(
        self, cluster: Cluster, fleet: Fleet, orders: Orders, joined: list[str] | None = None
    ) -> None:
        self.look_seconds = LOOK_SECONDS[0]
        self._cluster = cluster
        self._fleet = fleet
        self._job_name = _job_name(fleet.run)
        self._submitted: dict[str, float] = {}
        self._running: set[str] = set()
        self._rows: dict[str, Row] = {}
        self.post = FolderPost(fleet, orders, joined=joined is not None)
        if joined is not None:
            known = {*joined, *self.post.leases().values()}
            self._submitted = dict.fromkeys(known, float("-inf"))
            self._running = set(known)

    def start(self, n: int) -> None:
        """Submits so many jobs, in arrays."""
        while n > 0:
            size = min(n, self._cluster.array_size)
            for name in self._submit(size):
                self._submitted[name] = time.monotonic()
            n -= size
        self.look_seconds = LOOK_SECONDS[0]

    def _submit(self, n: int) -> list[str]:
        import submitit

        executor = submitit.SlurmExecutor(self._fleet.folder / "submitit")
        executor.update_parameters(**self._parameters())
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it raises
                return [job.job_id for job in executor.map_array(serve_job, [str(self._fleet.folder)] * n)]
        except subprocess.CalledProcessError as error:
            said = error.stderr or error.output or str(error)
            said = said.decode(errors="replace") if isinstance(said, bytes) else said
        except submitit.core.utils.FailedJobError as error:
            said = str(error)
        raise InputError(f"--on {self._cluster.on}: sbatch refused the jobs: {refusal(said)}")

    def _parameters(self) -> dict[str, Any]:
        cluster = self._cluster
        limit = cluster.time_limit
        # A short job goes by its own clock alone: the signal may come before it can heed it, which ends it.
        warned = limit is None or limit >= SIGNAL_LIMIT
        further: dict[str, Any] = {
            "requeue": True,
            "signal": f"USR1@{SIGNAL_SECONDS}" if warned else "URG@1",  # without, submitit asks for USR2
        }
        if limit is not None:
            minutes, seconds = divmod(round(limit), 60)
            further["time"] = f"{minutes}:{seconds:02d}"
        if cluster.memory is not None:
            further["mem"] = f"{max(1, cluster.memory // 2**20)}M"
        if cluster.gpus_per_trial and not any(name in cluster.sbatch for name in _GPU_OPTIONS):
            further["gres"] = f"gpu:{int(cluster.gpus_per_trial)}"
        given: dict[str, Any] = {
            "job_name": self._job_name,
            "cpus_per_task": cluster.cpus_per_trial,
            # which srun does not take over from sbatch since 22.05
            "srun_args": [f"--cpus-per-task={cluster.cpus_per_trial}"],
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
        """Returns where the jobs stand, and those that ended or lost their machine and wait for another."""
        rows = queue(self._job_name)
        if rows is None:  # the controller does not answer; it may in a while
            return Standing({}, len(self._submitted), "SLURM's controller does not answer"), []
        self._pace(rows)
        running = {name: row.node for name, row in rows.items() if row.state not in WAITING}
        waiting = [row.reason for row in rows.values() if row.state in WAITING]
        again = [name for name in self._running if name in rows and name not in running]
        self._running = self._running - set(again) | set(running)
        ended = [
            Gone(
                name,
                f"job {name} was taken from its machine and waits for another",
                counts=False,
                expected=True,
            )
            for name in again
        ]
        for name in rows:  # also what an earlier coordinator submitted
            self._submitted.setdefault(name, float("-inf"))
        now = time.monotonic()
        over = [
            name
            for name, since in self._submitted.items()
            if name not in rows and now - since > LOOK_SECONDS[0]
        ]
        for one in gone(over, self._log):
            del self._submitted[one.agent]
            self._running.discard(one.agent)
            ended.append(one)
        return Standing(running, len(waiting), ", ".join(sorted(set(waiting) - {""}))), ended

    def _pace(self, rows: dict[str, Row]) -> None:
        changed = {name: row.state for name, row in rows.items()} != {
            name: row.state for name, row in self._rows.items()
        }
        self._rows = rows
        self.look_seconds = LOOK_SECONDS[0] if changed else min(1.2 * self.look_seconds, LOOK_SECONDS[1])

    def _log(self, name: str) -> Path:
        return self._fleet.folder / "submitit" / f"{name}_0_log.out"

    def cancel(self) -> None:
        """Cancels all jobs of the run."""
        asked("scancel", "-n", self._job_name)

    def close(self, *, leave: bool) -> None:
        """Clears the run's folder away, unless jobs are left or may be: SLURM heard of no end."""
        if leave:
            return
        if queue(self._job_name) is None:
            self._fleet.leave()
        else:
            self._fleet.remove()


def _job_name(run: str) -> str:
    return f"scalelab-{run}"


def check_slurm(cluster: Cluster) -> None:
    """Makes sure that SLURM can be reached and has the partition.

    Raises:
        InputError: It cannot, or submitit is not installed.
    """
    if importlib.util.find_spec("submitit") is None:
        raise InputError("--on slurm needs submitit; run: pip install 'scalelab[slurm]'")
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        raise InputError(
            f"--on {cluster.on}: {missing[0]} is not on the PATH; run this on a machine that submits to SLURM"
        )
    listed = asked("sinfo", "-h", "-o", "%R")
    if listed is None:
        raise InputError(
            f"--on {cluster.on}: SLURM's controller does not answer; see `scontrol ping` and SLURM_CONF"
        )
    partitions = sorted(set(listed.split()))
    for name in filter(None, cluster.where.split(",")):
        if name not in partitions:
            raise InputError(
                f"--on {cluster.on}: there is no partition {name!r}{suggest(name, partitions)} "
                f"(there are: {', '.join(partitions)})"
            )
