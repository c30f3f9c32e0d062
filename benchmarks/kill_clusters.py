"""The clusters whose jobs `kills.py` kills, started on this machine: SLURM and Ray, of two nodes each.

They are those of `tests/cluster`. Ray's is started by a process of its own, which this file is the script of:
what Ray starts within a process its forked children could not use.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from kill_victims import Lab, Target, Victim, children_of

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "cluster"))
# A job's own process and its worker are not what Ctrl-C goes to.
HARD = (*[signal.SIGKILL] * 6, signal.SIGTERM, signal.SIGSTOP)


def why_not(kind: str) -> str:
    """Returns why a cluster cannot be started here; empty where one can."""
    if kind == "ray":
        return "" if importlib.util.find_spec("ray") else "Ray is not installed"
    import slurm_cluster

    return slurm_cluster.why_not()


@contextmanager
def cluster(kind: str) -> Iterator[str]:
    """Starts a cluster; gives what `--on` says for it, and ends it."""
    with _slurm() if kind == "slurm" else _ray() as on:
        yield on


@contextmanager
def _slurm() -> Iterator[str]:
    from slurm_cluster import SlurmCluster

    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    nodes = SlurmCluster(folder)
    try:
        nodes.start()
        os.environ["SLURM_CONF"] = nodes.environment["SLURM_CONF"]
        yield "slurm:low"
        nodes.clear()
    finally:
        nodes.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _ray() -> Iterator[str]:
    pipe, folder = subprocess.PIPE, tempfile.mkdtemp(prefix="ray-")
    apart = {**os.environ, "RAY_TMPDIR": folder}  # a `ray.init()` of others does not find it
    nodes = subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True, env=apart)
    assert nodes.stdin is not None
    assert nodes.stdout is not None
    try:
        yield next(line.strip() for line in nodes.stdout if line.startswith("ray:"))
    finally:
        nodes.stdin.close()
        nodes.wait()
        shutil.rmtree(folder, ignore_errors=True)


def victims(on: str) -> dict[str, Victim]:
    """Returns what is killed of the runs on a cluster, by name.

    Args:
        on: What `--on` says.
    """
    kind = on.partition(":")[0]

    def start(lab: Lab, store: Path) -> Callable[[], int]:
        return lab.run(store, "--on", on, "--slots", 2, "--retry-failed")

    def jobs(lab: Lab, _: int) -> list[Target]:
        return [partial(os.kill, pid) for pid, _ in _jobs(lab, kind)]

    def workers(lab: Lab, _: int) -> list[Target]:
        within = children_of("scalelab.execute.worker")
        return [target for pid, _ in _jobs(lab, kind) for target in within(lab, pid)]

    def cancelled(lab: Lab, _: int) -> list[Target]:
        return [partial(_scancel, job) for _, job in _jobs(lab, kind)]

    found = {
        f"{kind}: coordinator": Victim(start, wait=12.0, alone=True),
        f"{kind}: job": Victim(start, jobs, wait=6.0, alone=True, signals=HARD),
        f"{kind}: worker of a job": Victim(start, workers, wait=4.0, alone=True, signals=HARD),
    }
    if kind == "slurm":
        scancel = Victim(start, cancelled, wait=6.0, alone=True, signals=(signal.SIGTERM,))
        found["slurm: job, by scancel"] = scancel
    return found


def _jobs(lab: Lab, kind: str) -> list[tuple[int, str]]:
    """Returns the jobs that live: process, and what the cluster calls it."""
    from scalelab.store import Journal
    from scalelab.store.fleet import fleets
    from scalelab.store.processes import started

    hearts = [
        heart
        for fleet in fleets(Journal(lab.store))
        if str(fleet.read().get("on", "")).partition(":")[0] == kind
        for heart, _ in fleet.hearts()
    ]
    return [(heart.pid, heart.job) for heart in hearts if heart.pid and started(heart.pid) == heart.pid_start]


def _scancel(job: str, _number: int) -> None:
    subprocess.run(["scancel", job], check=False, capture_output=True)


def _serve_ray() -> None:
    """Runs a Ray of two nodes until nobody wants it any more."""
    from ray_lab import Nodes

    nodes = Nodes()
    try:
        print(nodes.on, flush=True)
        sys.stdin.read()
    finally:
        nodes.stop()


if __name__ == "__main__":
    _serve_ray()
