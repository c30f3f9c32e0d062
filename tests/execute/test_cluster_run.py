"""Runs on a cluster, its jobs being threads here: same trials, same losses, nothing lost."""

from __future__ import annotations

import time

import pytest
from cluster_toys import threads_for

from scalelab import Cluster, InputError, open_store, run_study
from scalelab.execute.cluster import agent
from scalelab.execute.cluster.mail import Needs
from scalelab.execute.events import Retried, Started
from scalelab.store.claims import Claims
from scalelab.study import expand, load_study
from scalelab.supervise.stop import StopSignal
from scalelab.supervise.workbench import Selection


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(agent, "BEAT_SECONDS", 0.2)
    return threads_for(monkeypatch)


@pytest.fixture
def begun(site):
    return site.begun


def losses(store):
    _, rows = open_store(store).rows(
        "select trial_id, loss from runs where status = 'done' order by trial_id"
    )
    return rows


def test_a_run_on_a_cluster_has_the_trials_and_losses_of_a_local_one(lab, begun, tmp_path):
    study = lab.study(seeds=2)
    local = run_study(study, tmp_path / "local.duckdb", threads=1, catalog=lab.catalog())
    cluster = Cluster(on="slurm", slots=2)
    summary = run_study(study, lab.store, on=cluster, catalog=lab.catalog())
    assert (summary.done, summary.failed, summary.complete) == (local.done, {}, True)
    assert losses(lab.store) == losses(tmp_path / "local.duckdb")
    assert open_store(lab.store).check().healthy
    again = run_study(study, lab.store, on=cluster, catalog=lab.catalog())
    assert again.kept == local.done
    assert begun[0].started == 2
    assert len(begun) == 1, "nothing to do asks for no job"


def test_trials_of_a_job_that_is_started_again_go_on_and_count_no_loss(lab, begun):
    study = lab.study(seeds=1, steps=30, options="ms_per_step = 20")
    retried = []

    def hear(event):
        if isinstance(event, Started) and len(retried) == 0 and not begun[0].cancelled:
            begun[0].cancelled = -1
            import threading

            threading.Timer(0.3, begun[0].restart, ["job1"]).start()
        if isinstance(event, Retried):
            retried.append(event)

    summary = run_study(
        study,
        lab.store,
        on=Cluster(on="slurm", slots=1),
        catalog=lab.catalog(),
        on_event=hear,
        max_attempts=2,
    )
    assert summary.complete
    assert len(retried) == 1
    _, rows = open_store(lab.store).rows("select status, count(*) from records group by all order by all")
    assert rows == [("done", 4), ("interrupted", 1)]


@pytest.mark.parametrize("wish", ["go on", "interrupt"])
def test_the_next_coordinator_joins_a_run_whose_coordinator_died(lab, begun, monkeypatch, wish):
    study = lab.study(seeds=2, steps=20, options="ms_per_step = 10")

    class Died(BaseException):
        pass

    def hear(event):
        if isinstance(event, Started):
            raise Died

    with monkeypatch.context() as patched:
        patched.setattr("scalelab.execute.run.Run.settle", lambda self: None)
        patched.setattr("scalelab.execute.cluster.executor.ClusterExecutor.close", lambda self: None)
        with pytest.raises(Died):
            run_study(study, lab.store, on=Cluster(on="slurm", slots=2), catalog=lab.catalog(), on_event=hear)
    store = open_store(lab.store)
    assert store.claims.live(), "its jobs are at them"
    begun[0].post.want(wish)  # while it was ending the run
    monkeypatch.setattr("scalelab.store.fleet.Fleet.coordinated", lambda self, now: False)
    runs = store.cluster_runs()
    assert [(run.study, run.coordinator) for run in runs] == [("tiny", None)]
    summary = run_study(study, lab.store, on=Cluster(on="slurm", slots=2), catalog=lab.catalog())
    assert summary.complete
    assert begun[1].fleet.run == begun[0].fleet.run
    _, rows = store.rows("select count(*), count(distinct trial_id) from records where status = 'done'")
    assert rows == [(8, 8)]
    _, rows = store.rows("select count(*) from records where status <> 'done'")
    assert rows == [(0,)] or wish == "interrupt"
    assert store.claims.live() == []


def test_jobs_are_left_their_trials_when_asked(lab, begun):
    study = lab.study(seeds=2, steps=20, options="ms_per_step = 5")
    stop = StopSignal()
    summary = run_study(
        study, lab.store, on=Cluster(on="slurm", slots=1, at_stop="leave"), catalog=lab.catalog(), stop=stop,
        on_event=lambda event: stop.request() if isinstance(event, Started) else None,
    )  # fmt: skip
    assert summary.stopped
    assert summary.left + summary.done == 8
    assert begun[0].left
    assert not begun[0].cancelled
    begun[0].threads["job1"].join(timeout=0.0)
    folder = begun[0].fleet.folder
    while any((folder / "inbox").iterdir()) or any(folder.glob("leases/*/*.json")):
        time.sleep(0.1)
    begun[0].stops["job1"] = "the cluster's time is over"
    begun[0].threads["job1"].join()
    store = open_store(lab.store)
    store.claims.reap()
    store.ingest()
    assert len(losses(lab.store)) == 8


def test_jobs_end_with_a_checkpoint_when_the_run_is_stopped(lab, begun):
    study = lab.study(seeds=1, steps=200, options="ms_per_step = 20")
    stop = StopSignal()
    summary = run_study(
        study, lab.store, on=Cluster(on="slurm", slots=1), catalog=lab.catalog(), stop=stop,
        on_event=lambda event: stop.request() if isinstance(event, Started) and not stop.level else None,
    )  # fmt: skip
    assert summary.interrupted >= 1
    assert begun[0].cancelled == 1
    assert open_store(lab.store).claims.live() == []


def test_a_machine_without_the_plugin_ends_the_run_and_nothing_is_claimed(lab, begun, monkeypatch):
    monkeypatch.setattr(agent, "complaint_about", lambda needs, store: "n1: no plugin provides 'net'")
    with pytest.raises(InputError, match="slurm: n1: no plugin provides 'net'"):
        run_study(lab.study(), lab.store, on="slurm", catalog=lab.catalog())
    assert not list((open_store(lab.store).claims.folder).glob("*.json"))


def test_a_job_that_comes_late_leaves_a_trial_to_who_has_it_by_now(lab, begun, monkeypatch):
    monkeypatch.setattr(Claims, "holds", lambda self, run, trial_id, attempt: False)
    monkeypatch.setattr("scalelab.execute.cluster.executor.STRAY_SECONDS", 0.3)
    stop = StopSignal()
    lost = []

    def hear(event):
        if isinstance(event, Retried):
            lost.append(event.reason)
            stop.request()

    run_study(
        lab.study(),
        lab.store,
        on=Cluster(on="slurm", slots=1),
        catalog=lab.catalog(),
        stop=stop,
        on_event=hear,
    )
    assert lost
    assert losses(lab.store) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on": "slrm"}, "did you mean 'slurm'"),
        ({"on": "ray:"}, "nothing follows the colon"),
        ({"on": "slurm", "time_limit": "2x"}, "must be a time such as"),
        ({"on": "slurm", "time_limit": "3s"}, "greater than or equal to 60"),
        ({"on": "slurm", "memory": "lots"}, "must be an amount"),
        ({"on": "slurm", "sbatch": {"array": "0-3"}}, "is set by scalelab"),
        ({"on": "slurm", "sbatch": {"ntasks": "2"}}, "is set by scalelab"),
        ({"on": "slurm", "sbatch": {"nodes": "2"}}, "is set by scalelab"),
        ({"on": "slurm", "sbatch": {"ntasks-per-n": "2"}}, "is set by scalelab"),
        ({"on": "slurm", "sbatch": {"tasks-per-node": "2"}}, "is set by scalelab"),
        ({"on": "slurm", "shared_folder": False}, "SLURM needs a folder"),
        ({"on": "ray", "sbatch": {"account": "x"}}, "are of SLURM"),
        ({"on": "slurm", "gpus_per_trial": 0.5}, "whole GPUs"),
        ({"on": "slurm", "slots": 0}, "greater than or equal to 1"),
        ({"on": "slurm", "at_stop": "maybe"}, "cancel"),
    ],
)
def test_wrong_options_of_a_cluster_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        Cluster.of(options.pop("on"), **options)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30min", 1800),
        ("2h", 7200),
        ("1.5d", 129600),
        ("12:00:00", 43200),
        ("1-01:30:00", 91800),
    ],
)
def test_times_are_read(text, seconds):
    assert Cluster.of("slurm", time_limit=text).time_limit == seconds


def test_a_machine_with_another_text_of_a_plugin_complains(lab):
    trials = expand(load_study(lab.study(), lab.catalog()), lab.catalog()).trials
    needs = Needs.of(trials, lab.catalog(), plugins=Selection.of(lab.catalog()))
    assert list(needs.files) == ["toys.py"]
    assert agent.complaint_about(needs, "s.duckdb") is None
    toys = lab.plugins / "toys.py"
    toys.write_text(toys.read_text() + "\nRATE = 2\n")
    said = agent.complaint_about(needs, "s.duckdb")
    assert said.endswith("has another toys.py than the coordinator; bring the coordinator's there")
