"""The coordinator's side of a cluster, by what its machines are asked for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from scalelab import Cluster
from scalelab.execute.cluster.executor import ClusterExecutor
from scalelab.execute.cluster.folder import FolderPost
from scalelab.execute.cluster.machines import Gone, Standing
from scalelab.execute.crew import Crew
from scalelab.store import Journal
from scalelab.store.fleet import Fleet


class Still:
    """`Machines` that start nothing; what they are to tell of at the next look is put into `gone`."""

    look_seconds = 0.0
    lasting = True

    def __init__(self, fleet):
        self.post = FolderPost(fleet)
        self.gone: list[Gone] = []
        self.started: list[int] = []

    def start(self, n):
        self.started.append(n)

    def look(self):
        gone, self.gone = self.gone, []
        return Standing({}), gone


@pytest.fixture
def run(tmp_path):
    """Makes an executor with so many jobs, its machines, and the run's folder."""

    def make(n_jobs):
        journal = Journal(tmp_path / "store.duckdb")
        fleet = Fleet(journal, "run")
        machines = Still(fleet)
        crew = Crew(workers=n_jobs, threads=1, fewer=False)
        executor = ClusterExecutor(machines, Cluster(on="slurm"), fleet, journal, {}, crew)
        return SimpleNamespace(executor=executor, machines=machines, folder=fleet.folder)

    return make


def test_leases_are_read_once_a_look_however_many_jobs_are_gone(run, monkeypatch):
    made = run(5)
    for n in range(5):
        (made.folder / "leases" / f"j{n}").mkdir()
        (made.folder / "leases" / f"j{n}" / f"{n}.t{n}-1.json").write_text("{}")
    reads, read = [], made.machines.post.leases
    monkeypatch.setattr(made.machines.post, "leases", lambda: reads.append(1) or read())
    made.machines.gone = [Gone(f"j{n}", "its machine is gone", expected=True) for n in range(4)]
    monkeypatch.setattr("scalelab.execute.cluster.executor.STRAY_SECONDS", 1e9)
    made.executor._strayed = 0.0
    made.executor.poll(0.1)
    assert len(reads) == 1
    assert read() == {"t4-1": "j4"}
