"""Runs on Ray that nobody coordinates: joined by one coordinator, ended when over, else left alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
from execute_toys import check_curves, command_study
from ray_lab import Coordinator, Lab, Nodes, check_settled, jobs_shown, run, wait_for

from scalelab import open_store
from scalelab.errors import InputError
from scalelab.execute.cluster.options import Cluster
from scalelab.execute.cluster.ray import actors, connect, disconnect
from scalelab.execute.cluster.ray_mail import answer
from scalelab.execute.cluster.ray_office import NAMESPACE
from scalelab.execute.jobs import Progressed
from scalelab.store.claims import Claims
from scalelab.store.fleet import fleets
from scalelab.supervise.stop import StopSignal

pytestmark = pytest.mark.timeout(900)
SLOW = {"seeds": 2, "steps": 40, "options": "ms_per_step = 25.0"}


def done_of(lab: Lab, study: str) -> int:
    said = f"select count(*) as n from runs where study = '{study}' and status = 'done'"
    return int(open_store(lab.store).sql(said)["n"][0])


def another(lab: Lab) -> Path:
    """Returns a short study of another name, of 4 trials."""
    path = lab.study(name="other", steps=5)
    path.write_text(path.read_text().replace('"tiny"', '"other"'))
    return path


def ingested(lab: Lab) -> int:
    open_store(lab.store).ingest()
    return done_of(lab, "tiny")


def names_of(nodes: Nodes, run: str) -> list[str]:
    """Returns the actors of a run."""
    connect(Cluster.of(nodes.on))
    try:
        return sorted(name for name in actors() if run in name)
    finally:
        disconnect()


def ray_actor(name: str):
    import ray

    return ray.get_actor(name, namespace=NAMESPACE)


def test_a_left_run_that_has_finished_is_ended_by_the_next_command(nodes, lab):
    study = lab.study(seeds=2)
    stop = StopSignal()
    run(lab, study, nodes.on, lambda event: stop.request(), at_stop="leave", stop=stop)
    (fleet,) = fleets(open_store(lab.store).journal)
    wait_for(lambda: ingested(lab) == 8, "left trials done")
    assert run(lab, study, nodes.on).kept == 8
    check_settled(lab, study, 8)
    assert names_of(nodes, fleet.run) == []


def test_a_left_run_whose_jobs_wait_is_left_alone_by_another_study(nodes, lab):
    study, stop = lab.study(), StopSignal()
    stop.request()
    waits = {"gpus_per_trial": 3, "stop": stop}
    assert run(lab, study, nodes.on, at_stop="leave", **waits).left == 4
    (fleet,) = fleets(open_store(lab.store).journal)
    there = names_of(nodes, fleet.run)
    assert len(there) == 3, "an office and two jobs that wait"
    for path in fleet.folder.rglob("*.json"):
        os.utime(path, (path.stat().st_mtime - 1000,) * 2)
    assert Claims(open_store(lab.store).journal).reap() == []
    assert run(lab, another(lab), nodes.on).complete
    assert names_of(nodes, fleet.run) == there
    assert len(open_store(lab.store).claims.live()) == 4
    run(lab, study, nodes.on, **waits)
    assert names_of(nodes, fleet.run) == []
    assert fleets(open_store(lab.store).journal) == []


def test_what_the_office_of_a_dead_run_has_is_taken_in_by_another_study(nodes, lab):
    study = lab.study(**SLOW)
    first = Coordinator(lab, study, on=nodes.on, shared_folder=False)
    first.wait_done(1)
    jobs = jobs_shown(lab)
    first.kill()
    (fleet,) = fleets(open_store(lab.store).journal)
    connect(Cluster.of(nodes.on))
    try:
        office = ray_actor(f"office-{fleet.run}")
        wait_for(lambda: not answer(office.waiting.remote()) and not answer(office.leases.remote()), "end")
        for job in jobs:
            os.kill(job, signal.SIGKILL)
        wait_for(
            lambda: [name for name in actors() if fleet.run in name] == [f"office-{fleet.run}"],
            "end of the jobs",
        )
    finally:
        disconnect()
    before = ingested(lab)
    assert run(lab, another(lab), nodes.on).complete
    assert done_of(lab, "tiny") > before
    assert names_of(nodes, fleet.run) == []
    assert run(lab, study, nodes.on).complete


def test_two_coordinators_that_come_at_once_do_not_share_a_dead_run(nodes, lab):
    study = lab.study(**SLOW)
    first = Coordinator(lab, study, on=nodes.on)
    first.wait_done(1)
    first.kill()
    both = [Coordinator(lab, study, on=nodes.on) for _ in range(2)]
    for one in both:
        assert one.process.wait(200) == 0, one.log.read_text()
    assert run(lab, study, nodes.on).complete
    told = [trial for one in (first, *both) for trial in one.told("Finished")]
    check_settled(lab, study, 8, told)


def test_no_job_is_left_to_a_cluster_that_ends_with_its_run(started, lab, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "local")
    with pytest.raises(InputError, match="ends with it; start one"):
        run(lab, lab.study(), "ray", at_stop="leave")


@pytest.mark.parametrize("shared", [True, False])
def test_a_killed_script_of_a_study_goes_on_from_its_checkpoint(nodes, lab, shared):
    study, struck = command_study(lab), []

    def strike(event):
        if isinstance(event, Progressed) and event.step >= 3 and not struck:
            struck.extend(
                one for one in psutil.process_iter(["cmdline"]) if "script.py" in (one.info["cmdline"] or ())
            )
            struck[0].kill()

    summary = run(lab, study, nodes.on, strike, shared_folder=shared)
    assert (summary.done, bool(struck)) == (8, True)
    check_settled(lab, study, 8)
    check_curves(lab)
