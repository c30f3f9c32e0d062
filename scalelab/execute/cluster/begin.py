"""The beginning of a run on a cluster, or the joining of one whose coordinator has died."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import time
from typing import Any, Self

from scalelab.execute.cluster.executor import ClusterExecutor
from scalelab.execute.cluster.machines import Machines
from scalelab.execute.cluster.mail import Needs, Orders
from scalelab.execute.cluster.options import Cluster
from scalelab.execute.crew import Crew
from scalelab.store import Journal, Store
from scalelab.store.fleet import QUEUE, Fleet, fleets
from scalelab.store.processes import own_start, this_place

DEFAULT_JOBS = 8
GRACE_SECONDS = 45.0
_SAME = ("on", "cpus_per_trial", "gpus_per_trial", "shared_folder")
"""What a run must have been begun with for another coordinator to join it."""


class Engagement:
    """A cluster that was reached, for one study; nothing is asked of it yet.

    Args:
        cluster: What the user asked for.
        store: The store.
        study: The study's name.

    Raises:
        InputError: The cluster cannot be reached, or has no such partition.
    """

    def __init__(self, cluster: Cluster, store: Store, study: str) -> None:
        self._cluster = cluster
        self._store = store
        self._study = study
        _check(cluster)
        self.joined = self._find()

    def _find(self) -> Fleet | None:
        """Returns the run that is to be joined, and clears dead ones away."""
        found = None
        now = self._store.claims.now()
        for fleet in fleets(self._store.journal):
            facts = fleet.read()
            if fleet.coordinated(now):
                continue
            before = facts.get("cluster", {})
            mine = self._cluster.model_dump(mode="json")
            same = facts.get("study") == self._study and all(before.get(key) == mine[key] for key in _SAME)
            if same and found is None and _present(self._cluster, fleet):
                found = fleet
            elif _ended(self._cluster, facts) or not fleet.living(now):
                shutil.rmtree(fleet.folder, ignore_errors=True)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._cluster.kind == "ray":
            from scalelab.execute.cluster.ray import disconnect

            disconnect()

    def crew(self, n_trials: int, threads: int | None) -> Crew:
        """Returns who does so many trials."""
        wanted = self._cluster.slots or self._default_jobs()
        cpus = self._cluster.cpus_per_trial
        return Crew(
            workers=min(wanted, n_trials), threads=threads or cpus, fewer=threads is None and cpus > 1
        )

    def _default_jobs(self) -> int:
        if self._cluster.kind == "slurm":
            return DEFAULT_JOBS
        from scalelab.execute.cluster.ray import room

        return room(self._cluster)

    def executor(self, needs: Needs, crew: Crew, *, stall_seconds: float) -> ClusterExecutor:
        """Starts the jobs, or joins those that there are.

        Args:
            needs: What they must find.
            crew: How many jobs, with how many threads each.
            stall_seconds: Silence after which a worker counts as hung.

        Raises:
            InputError: The cluster refuses the jobs.
        """
        journal = self._store.journal
        fleet = self.joined or Fleet(
            journal, f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
        )
        orders = Orders(
            run=fleet.run,
            store=str(self._store.path) if self._cluster.shared_folder else "",
            needs=needs,
            threads=crew.threads,
            stall_seconds=stall_seconds,
            time_limit=self._cluster.time_limit,
            grace_seconds=min(GRACE_SECONDS, (self._cluster.time_limit or float("inf")) / 4),
        )
        machines = _machines(self._cluster, fleet, journal, orders, joined=self.joined is not None)
        facts: dict[str, Any] = {
            "run": fleet.run,
            "study": self._study,
            "on": self._cluster.on,
            "cluster": self._cluster.model_dump(mode="json"),
            "place": this_place(),
            "pid": os.getpid(),
            "pid_start": own_start(),
            "host": platform.node(),
            "began": time.time(),
            "n_jobs": crew.workers,
            "address": _address(self._cluster),
        }
        return ClusterExecutor(
            machines, self._cluster, fleet, journal, facts, crew, joined=self.joined is not None
        )


def _check(cluster: Cluster) -> None:
    if cluster.kind == "slurm":
        from scalelab.execute.cluster.slurm import check_slurm

        check_slurm(cluster)
    else:
        from scalelab.execute.cluster.ray import connect

        connect(cluster)


def _present(cluster: Cluster, fleet: Fleet) -> bool:
    """Whether the cluster that was reached can have jobs of a run that are still to be heard."""
    if cluster.kind == "slurm":
        return True
    from scalelab.execute.cluster.ray import has_office

    return has_office(fleet.run)


def _address(cluster: Cluster) -> str:
    """Returns the address of the cluster that was reached; empty where its name says it."""
    if cluster.kind == "slurm":
        return ""
    from scalelab.execute.cluster.ray import address_of_cluster

    return address_of_cluster()


def _ended(cluster: Cluster, facts: dict[str, Any]) -> bool:
    """Whether a run has ended for certain: its cluster was reached, and has nothing of it."""
    if cluster.kind == "slurm" or facts.get("address") != _address(cluster):
        return False
    from scalelab.execute.cluster.ray import has_office

    return not has_office(str(facts.get("run")))


def _machines(cluster: Cluster, fleet: Fleet, journal: Journal, orders: Orders, *, joined: bool) -> Machines:
    if cluster.kind == "slurm":
        from scalelab.execute.cluster.slurm import Slurm

        known = [heart.agent for heart, _ in fleet.hearts() if heart.agent != QUEUE]
        return Slurm(cluster, fleet, orders, known if joined else None)
    from scalelab.execute.cluster.ray import Ray

    return Ray(cluster, fleet, journal, orders, joined=joined)
