"""What the tests on Ray share: a cluster of two nodes, coordinators, what must hold afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from execute_toys import ROOT, Lab, local_losses, losses

from scalelab import open_store
from scalelab.execute.cluster.options import Cluster
from scalelab.execute.coordinator import run_study
from scalelab.store.claims import Claims
from scalelab.store.fleet import QUEUE, fleets

WAIT_SECONDS = 240.0
COORDINATOR = """
import json, sys
from pathlib import Path
from scalelab.errors import ScalelabError
from scalelab.execute.cluster.options import Cluster
from scalelab.execute.coordinator import run_study
from scalelab.plugins import load_plugins

study, store, plugins, options = sys.argv[1:]
try:
    summary = run_study(
        study, store, on=Cluster.of(**json.loads(options)),
        catalog=load_plugins(plugins_dirs=[Path(plugins)]),
        on_event=lambda event: print(type(event).__name__, getattr(event, "trial_id", ""), flush=True),
    )
except ScalelabError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
print("Summary", summary.done, summary.complete)
"""


class Nodes:
    """A Ray cluster of two nodes on this machine: the head with two CPUs, and one that may be lost."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as RayCluster

        self._ray = RayCluster(
            initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
        )
        self._second = None
        self.add()

    @property
    def on(self) -> str:
        """How a user names it."""
        return f"ray:{self._ray.address}"

    def add(self) -> None:
        """Adds the second node where it is not there."""
        if self._second is None:
            self._second = self._ray.add_node(num_cpus=2)
            self._ray.wait_for_nodes()

    def lose(self) -> None:
        """Takes the second node away, with all that runs there."""
        node, self._second = self._second, None
        self._ray.remove_node(node)

    def stop(self) -> None:
        """Ends all of it."""
        self._ray.shutdown()


class Coordinator:
    """`run_study(on=…)` in a process of its own."""

    def __init__(self, lab: Lab, study: Path, address: str | None = None, **options: object) -> None:
        self.log = lab.folder / f"coordinator{len(list(lab.folder.glob('*.out')))}.out"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment.pop("RAY_ADDRESS", None)
        if address:
            environment["RAY_ADDRESS"] = address
        command = [sys.executable, "-c", COORDINATOR, str(study), str(lab.store), str(lab.plugins)]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, json.dumps({"slots": 2, **options})],
                stdout=out, stderr=out, env=environment, start_new_session=True,
            )  # fmt: skip

    def told(self, kind: str) -> list[str]:
        """Returns the trials of the events of a kind so far."""
        rows = [line.split() for line in self.log.read_text().splitlines()]
        return [row[-1] for row in rows if row and row[0] == kind]

    def wait_done(self, n: int) -> None:
        """Waits until so many trials have finished."""
        wait_for(lambda: len(self.told("Finished")) >= n or self.process.poll() is not None, "trials done")
        assert self.process.poll() is None, self.log.read_text()

    def kill(self) -> None:
        """Kills it, as a machine does that runs out of memory."""
        self.process.kill()
        self.process.wait()


def wait_for(ready: Callable[[], object], what: str) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not ready():
        assert time.monotonic() < deadline, f"no {what} in {WAIT_SECONDS:.0f} s"
        time.sleep(0.1)


def run(lab: Lab, study: Path, on: str, on_event: Callable = lambda _event: None, **rest: object):
    """Runs a study on two jobs of a cluster; options of the cluster may be among the rest."""
    options = {key: rest.pop(key) for key in list(rest) if key in Cluster.model_fields}
    limit = options.pop("time_limit", None)  # of seconds, which a user may not give
    cluster = Cluster.of(on, **{"slots": 2, **options}).model_copy(update={"time_limit": limit})
    rest.setdefault("catalog", lab.catalog())
    return run_study(study, lab.store, on=cluster, on_event=on_event, **rest)


def check_settled(lab: Lab, study: Path, n: int, acknowledged: list[str] = ()) -> None:
    """Makes sure that each trial is done once with the local loss, and that nothing is left of the run."""
    done = losses(lab.store)
    assert len(done) == n
    assert done == local_losses(lab, study)
    assert set(acknowledged) <= set(done)
    assert len(acknowledged) == len(set(acknowledged))
    store = open_store(lab.store)
    ids = store.sql("select trial_id, attempt, count(*) as n from records group by all")
    assert (ids["n"] == 1).all()
    assert Claims(store.journal).live() == []
    assert fleets(store.journal) == []


def jobs_of(lab: Lab) -> list[int]:
    """Returns the processes of the jobs that live."""
    hearts = [heart for fleet in fleets(open_store(lab.store).journal) for heart, _ in fleet.hearts()]
    return [heart.pid for heart in hearts if heart.agent != QUEUE and psutil.pid_exists(heart.pid)]


def jobs_shown(lab: Lab) -> list[int]:
    """Waits until `status` shows two jobs; returns their processes."""
    wait_for(lambda: len(jobs_of(lab)) == 2, "jobs that status shows")
    return jobs_of(lab)


def worker_of(job: int) -> int | None:
    """Returns the process in which a job trains, once there is one."""
    children = psutil.Process(job).children()
    found = [child.pid for child in children if "scalelab.execute.worker" in child.cmdline()]
    return found[0] if found else None
