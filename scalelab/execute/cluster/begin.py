"""The beginning of a run on a cluster, or the joining of one whose coordinator has died."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from typing import Any, Self

from scalelab.errors import StoreError
from scalelab.execute.cluster.executor import ClusterExecutor
from scalelab.execute.cluster.machines import Site
from scalelab.execute.cluster.mail import Needs, Orders
from scalelab.execute.cluster.options import Cluster
from scalelab.execute.crew import Crew
from scalelab.store import Store
from scalelab.store.fleet import QUEUE, Facts, Fleet, Heart, coordinator_here, fleets

GRACE_SECONDS = 45.0
log = logging.getLogger(__name__)
_SAME = ("on", "cpus_per_trial", "gpus_per_trial", "shared_folder")
"""What a run must have been begun with for another coordinator to join it."""


class Engagement:
    """A cluster that was reached, for one study; no job is asked of it yet.

    A run that nobody coordinates is joined where it is one of this study, and cleared away where its cluster
    says that no job of it waits or runs. Who does either becomes its coordinator first, which only one can.

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
        self.joined: Fleet | None = None
        self._handed_on = False
        with contextlib.ExitStack() as undone:
            undone.callback(self.__exit__)
            for fleet in fleets(store.journal):
                self._consider(fleet)
            undone.pop_all()

    def _consider(self, fleet: Fleet) -> None:
        """Joins a run, clears it away, or leaves it alone."""
        claims = self._store.claims
        now, facts = claims.now(), fleet.read()
        if fleet.coordinated(now):
            return
        if not facts:
            if not (fleet.unfinished(now) or fleet.living(now)):
                fleet.remove()
        elif not facts.get("lasting", True):  # its cluster ended with its coordinator
            if not fleet.living(now) and claims.lead(fleet.run):
                fleet.remove()
                claims.end_run(fleet.run)
        elif not self._reaches(facts):
            log.warning(
                "warning: run %s of study %s on %s is left alone, as that is another cluster; "
                "run that study there again, or remove %s if there is no such cluster any more",
                fleet.run, facts.get("study"), facts.get("on"), fleet.folder,
            )  # fmt: skip
        elif self.joined is None and self._same(facts) and self._site.knows(fleet.run):
            self.joined = fleet if claims.lead(fleet.run) else None
        elif self._site.over(fleet.run):
            self._clear(fleet)
        elif not fleet.living(now):
            fleet.beat(Heart(QUEUE))  # its jobs wait, and their trials' claims with them

    def _reaches(self, facts: Facts) -> bool:
        """Whether a run is on the cluster that was reached."""
        kind = str(facts.get("on")).partition(":")[0]
        return (kind, facts.get("address")) == (self._cluster.kind, self._site.address)

    def _same(self, facts: Facts) -> bool:
        """Whether a run is one of this study with the same options."""
        before, mine = facts.get("cluster"), self._cluster.model_dump(mode="json")
        if facts.get("study") != self._study or before is None:
            return False
        return all(before.get(key) == mine[key] for key in _SAME)

    def _clear(self, fleet: Fleet) -> None:
        if not self._store.claims.lead(fleet.run):
            return
        try:
            self._site.clear(fleet, self._store.journal)
        except StoreError as error:
            fleet.leave()
            log.warning("warning: run %s is over and stays: %s", fleet.run, error)
        else:
            self._store.claims.end_run(fleet.run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.joined and not self._handed_on:
            with contextlib.suppress(StoreError):
                self.joined.leave()
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
        facts: dict[str, Any] = {
            "run": fleet.run,
            "study": self._study,
            "on": self._cluster.on,
            "cluster": self._cluster.model_dump(mode="json"),
            "began": time.time(),
            "address": self._site.address,
            **coordinator_here(),
        }
        if self.joined is None:
            fleet.write(facts)  # before anything else of it is there
        machines = self._site.machines(fleet, journal, orders, joined=self.joined is not None)
        facts["lasting"] = machines.lasting
        self._handed_on = True
        return ClusterExecutor(
            machines, self._cluster, fleet, journal, facts, crew, joined=self.joined is not None
        )


def _reach(cluster: Cluster) -> Site:
    if cluster.kind == "slurm":
        from scalelab.execute.cluster.slurm import SlurmSite

        return SlurmSite(cluster)
    from scalelab.execute.cluster.ray import RaySite

    return RaySite(cluster)
