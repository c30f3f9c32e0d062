"""What becomes of a run on a cluster that nobody coordinates: joined by one, ended, or left alone."""

from __future__ import annotations

import os
import threading

import pytest
from cluster_toys import threads_for

from scalelab import Cluster, InputError, StoreError, open_store, run_study
from scalelab.execute.cluster import agent
from scalelab.execute.cluster.begin import Engagement
from scalelab.execute.cluster.ray_office import Office
from scalelab.execute.events import Planned, Started
from scalelab.store import Journal
from scalelab.store.claims import Claims
from scalelab.store.fleet import HEARTBEAT_LIMIT, Fleet, coordinator_here, fleets
from scalelab.supervise.stop import StopSignal

CLUSTER = Cluster(on="slurm", slots=2, at_stop="leave")
LONG_AGO = 2 * HEARTBEAT_LIMIT


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(agent, "BEAT_SECONDS", 0.2)
    return threads_for(monkeypatch)


def leave(lab, study, after):
    """Runs a study, and leaves it to its jobs at an event of a kind."""
    stop = StopSignal()
    return run_study(
        study, lab.store, on=CLUSTER, catalog=lab.catalog(), stop=stop,
        on_event=lambda event: stop.request() if isinstance(event, after) else None,
    )  # fmt: skip


def age(folder):
    """Has a run's folder be of long ago, as the file system's clock says."""
    for path in [*folder.rglob("*"), folder]:
        then = path.stat().st_mtime - LONG_AGO
        os.utime(path, (then, then))


def forget(lab):
    """Has claims name a process that has ended."""
    store = open_store(lab.store)
    for path in store.claims.folder.glob("*.json"):
        path.write_text(path.read_text().replace(f'"pid": {os.getpid()}', '"pid": 4194305'))


def finish(machines):
    """Waits until the jobs of a run have nothing more to do, and ends them."""
    folder = machines.fleet.folder
    pause = threading.Event()
    while any((folder / "inbox").iterdir()) or any(folder.glob("leases/*/*.json")):
        pause.wait(0.05)
    for name, thread in machines.threads.items():
        machines.stops[name] = "the cluster's time is over"
        thread.join()


def statuses(lab):
    store = open_store(lab.store)
    store.ingest()
    return store.rows("select status, count(*) from records group by all order by all")[1]


def another(lab):
    """Returns a short study of another name, of 4 trials."""
    other = lab.study(name="other", steps=5)
    other.write_text(other.read_text().replace('"tiny"', '"other"'))
    return other


def test_a_left_run_that_has_finished_is_ended_when_its_study_is_run_again(lab, site):
    study = lab.study(seeds=2)
    left = leave(lab, study, Started)
    assert left.left > 0
    finish(site.begun[0])
    again = run_study(study, lab.store, on=CLUSTER, catalog=lab.catalog())
    assert (again.kept, again.done) == (8, 0)
    store = open_store(lab.store)
    assert store.cluster_runs() == []
    assert fleets(store.journal) == []
    assert [one.cancelled for one in site.begun] == [0, 1]


def test_jobs_that_wait_for_nothing_are_seen_off_by_the_next_coordinator(lab, site):
    study = lab.study(seeds=1)
    leave(lab, study, Started)
    folder = site.begun[0].fleet.folder
    while any((folder / "inbox").iterdir()) or any(folder.glob("leases/*/*.json")):
        site.begun[0].threads["job1"].join(0.05)
    jobs = list(site.begun[0].threads.values())
    assert all(job.is_alive() for job in jobs)
    again = run_study(study, lab.store, on=CLUSTER, catalog=lab.catalog())
    assert again.kept == 4
    for job in jobs:
        job.join(30)
    assert not any(job.is_alive() for job in jobs)
    assert statuses(lab) == [("done", 4)]
    assert not folder.exists()


def test_a_run_whose_jobs_wait_is_left_alone_by_other_studies_and_done_later(lab, site):
    study = lab.study(seeds=2)
    site.full = True
    assert leave(lab, study, Planned).left == 8
    (first,) = site.begun
    age(first.fleet.folder)
    forget(lab)
    site.full = False
    assert run_study(another(lab), lab.store, threads=1, catalog=lab.catalog()).complete
    assert run_study(another(lab), lab.store, on=CLUSTER, catalog=lab.catalog()).complete
    assert site.cleared == []
    assert first.fleet.read()["study"] == "tiny"
    assert len(open_store(lab.store).claims.live()) == 8
    assert statuses(lab) == [("done", 4)]
    first.free()
    finish(first)
    assert run_study(study, lab.store, on=CLUSTER, catalog=lab.catalog()).kept == 8
    assert statuses(lab) == [("done", 12)]
    assert fleets(open_store(lab.store).journal) == []


def test_a_run_is_cleared_away_once_its_cluster_has_no_job_of_it(lab, site):
    site.full = True
    leave(lab, lab.study(seeds=2), Planned)
    (first,) = site.begun
    first.cancel()  # as an administrator does
    site.full = False
    assert run_study(another(lab), lab.store, on=CLUSTER, catalog=lab.catalog()).complete
    assert site.cleared == [first.fleet.run]
    assert run_study(lab.study(seeds=2), lab.store, on=CLUSTER, catalog=lab.catalog()).complete


def test_a_run_of_another_cluster_is_left_alone_and_said(lab, site, caplog):
    site.full = True
    leave(lab, lab.study(), Planned)
    (first,) = site.begun
    age(first.fleet.folder)
    site.full, site.address = False, "there"
    run_study(lab.study(), lab.store, on=CLUSTER, catalog=lab.catalog())
    (said,) = [record.getMessage() for record in caplog.records if "left alone" in record.getMessage()]
    assert said.startswith(f"warning: run {first.fleet.run} of study tiny on slurm is left alone")
    assert str(first.fleet.folder) in said
    assert first.fleet.read()
    assert site.cleared == []


def test_a_run_has_one_coordinator_whoever_comes_at_once(tmp_path):
    journal = Journal(tmp_path / "store.duckdb")
    fleet = Fleet(journal, "run")
    fleet.write({"study": "tiny"})
    fleet.leave()
    led, gate = [], threading.Barrier(8)

    def lead():
        gate.wait()
        led.append(Claims(journal).lead("run"))

    threads = [threading.Thread(target=lead) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(led) == [False] * 7 + [True]
    assert fleet.read() == {"study": "tiny", **coordinator_here()}
    assert fleet.coordinated(Claims(journal).now())
    assert not Claims(journal).lead("gone"), "a run that is not there has no coordinator"


def test_the_second_to_come_has_a_run_of_its_own(lab, site):
    study = lab.study(seeds=2)
    site.full = True
    leave(lab, study, Planned)
    store = open_store(lab.store)
    with Engagement(CLUSTER, store, "tiny") as first, Engagement(CLUSTER, store, "tiny") as second:
        assert first.joined
        assert first.joined.run == site.begun[0].fleet.run
        assert second.joined is None
    with Engagement(CLUSTER, store, "tiny") as third:
        assert third.joined, "who did nothing with it gave it back"


def test_a_run_that_was_joined_in_vain_is_given_back(lab, site):
    site.full = True
    leave(lab, lab.study(), Planned)
    (first,) = site.begun
    with pytest.raises(InputError):
        run_study(lab.study(options="width = 'no'"), lab.store, on=CLUSTER, catalog=lab.catalog())
    assert first.fleet.read()["pid"] is None
    assert first.fleet.folder.is_dir()


def test_a_coordinator_that_was_taken_for_dead_leaves_the_run_to_the_other(lab, site, monkeypatch):
    monkeypatch.setattr("scalelab.execute.cluster.executor.RENEW_SECONDS", 0.1)
    other = {**coordinator_here(), "place": "n7/boot/pids", "host": "n7", "pid": 77}

    def hear(event):
        if isinstance(event, Started):
            fleet = site.begun[0].fleet
            fleet.write({**fleet.read(), **other})

    study = lab.study(steps=20, options="ms_per_step = 20")
    with pytest.raises(StoreError, match=r"another coordinator by now \(n7, process 77\)"):
        run_study(study, lab.store, on=CLUSTER, catalog=lab.catalog(), on_event=hear)
    (first,) = site.begun
    assert (first.cancelled, first.left) == (0, True)
    assert first.fleet.read()["pid"] == 77
    finish(first)


def test_a_folder_that_another_coordinator_is_making_is_not_removed(lab, site):
    journal = open_store(lab.store, create=True).journal
    folder = Fleet(journal, "new").folder
    (folder / "hearts").mkdir(parents=True)
    run_study(lab.study(), lab.store, on=CLUSTER, catalog=lab.catalog())
    assert folder.is_dir()
    age(folder)
    run_study(lab.study(), lab.store, on=CLUSTER, catalog=lab.catalog())
    assert not folder.exists()


@pytest.mark.parametrize(("pid", "coordinated"), [(None, False), (77, True)])
def test_on_every_host_a_left_run_has_no_coordinator(tmp_path, pid, coordinated):
    journal = Journal(tmp_path / "store.duckdb")
    fleet = Fleet(journal, "run")
    fleet.write({**coordinator_here(), "place": "n7/boot/pids", "pid": pid, "pid_start": None})
    assert fleet.coordinated(Claims(journal).now()) is coordinated


def test_a_job_is_buried_as_often_as_that_is_told():
    office = Office()
    office.expect(["one", "two"])
    office.bury("one")
    office.bury("one")
    assert office.roll().jobs == ["two"]
