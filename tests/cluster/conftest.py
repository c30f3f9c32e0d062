"""Clusters on this machine; where one cannot be started its tests are skipped with the reason.

`SCALELAB_SLURM=try` starts a SLURM where it is installed, `must` fails where it is not;
`SCALELAB_RAY` a Ray likewise.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_lab import Nodes
from slurm_cluster import SlurmCluster, why_not
from slurm_lab import Coordinator, Lab


@pytest.fixture(scope="session")
def started_slurm() -> Iterator[SlurmCluster]:
    wanted = os.environ.get("SCALELAB_SLURM", "")
    reason = why_not() if wanted else "a SLURM is started by: make test-slurm"
    if reason and wanted == "must":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = SlurmCluster(folder)
    try:
        cluster.start()
        yield cluster
        cluster.clear()
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slurm(started_slurm: SlurmCluster) -> Iterator[SlurmCluster]:
    """A SLURM with both nodes idle."""
    started_slurm.clear()
    yield started_slurm
    started_slurm.clear()


@pytest.fixture(scope="module")
def started() -> Iterator[Nodes]:
    wanted = os.environ.get("SCALELAB_RAY", "")
    reason = "" if wanted else "a Ray cluster is started by: make test-ray"
    if wanted and importlib.util.find_spec("ray") is None:
        reason = "ray is not installed: make test-ray"
    if reason and wanted == "must":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    cluster = Nodes()
    yield cluster
    cluster.stop()


@pytest.fixture
def nodes(started: Nodes) -> Nodes:
    started.add()
    return started


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Toys and a store; no coordinator outlives its test."""
    yield Lab(tmp_path)
    while Coordinator.started:
        Coordinator.started.pop().kill()
