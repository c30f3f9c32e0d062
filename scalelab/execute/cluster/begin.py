"""The beginning of a run on a cluster, or the joining of one whose coordinator has died."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import time
from typing import Any, Self

from scalelab.execute.cluster.executor import ClusterExecutor
from scalelab.execute.cluster.machines import Site
from scalelab.execute.cluster.mail import Needs, Orders
from scalelab.execute.cluster.options import Cluster
from scalelab.execute.crew import Crew
from scalelab.store import Store
from scalelab.store.fleet import Fleet, fleets
from scalelab.store.processes import own_start, this_place

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
        self._site = _reach(cluster)
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
            known = self._site.knows(fleet.run)
            if same and found is None and known:
                found = fleet
            elif (facts.get("address") == self._site.address and not known) or not fleet.living(now):
                shutil.rmtree(fleet.folder, ignore_errors=True)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._site.leave()

    def crew(self, n_trials: int, threads: int | None) -> Crew:
        """Returns who does so many trials."""
        wanted = self._cluster.slots or self._site.room()
        cpus = self._cluster.cpus_per_trial
        return Crew(
            workers=min(wanted, n_trials), threads=threads or cpus, fewer=threads is None and cpus > 1
        )

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
        machines = self._site.machines(fleet, journal, orders, joined=self.joined is not None)
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
            "address": self._site.address,
        }
        return ClusterExecutor(
            machines, self._cluster, fleet, journal, facts, crew, joined=self.joined is not None
        )


def _reach(cluster: Cluster) -> Site:
    if cluster.kind == "slurm":
        from scalelab.execute.cluster.slurm import SlurmSite

        return SlurmSite(cluster)
    from scalelab.execute.cluster.ray import RaySite

    return RaySite(cluster)
