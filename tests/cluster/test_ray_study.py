"""Studies on a Ray cluster of two nodes: each trial once, with the losses of local processes, whatever dies.

`SCALELAB_RAY=try` starts one where Ray is installed, `must` fails where it is not.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from ray_lab import (
    Coordinator,
    Lab,
    Nodes,
    check_settled,
    jobs_of,
    jobs_shown,
    losses,
    run,
    wait_for,
    worker_of,
)

from scalelab import open_store
from scalelab.errors import InputError
from scalelab.execute.cluster import begin
from scalelab.execute.cluster.mail import Orders
from scalelab.execute.coordinator import run_study
from scalelab.execute.events import Retried
from scalelab.execute.jobs import Finished, Progressed
from scalelab.store.claims import Claims
from scalelab.store.fleet import fleets
from scalelab.supervise.stop import StopSignal

pytestmark = pytest.mark.timeout(900)
SLOW = {"seeds": 2, "steps": 40, "options": "ms_per_step = 25.0"}
WATCH = """
if os.getpid() != {coordinator}:
    import sys

    def note(what):
        with open({noted!r}, "a") as file:
            file.write(what + "\\n")

    def watch(event, given):
        for path in given if event.partition(".")[0] in ("open", "os", "shutil") else ():
            if isinstance(path, str) and path.startswith({store!r}):
                note(event + " " + path)

    sys.addaudithook(watch)
    note("watches")
"""
"""Follows what processes other than the coordinator do with the store's files."""
FOLDER = pytest.mark.parametrize("shared", [True, False], ids=["shared", "scratch"])


@FOLDER
def test_a_study_has_the_losses_of_local_processes(nodes, lab, shared):
    study = lab.study(seeds=2)
    summary = run(lab, study, nodes.on, shared_folder=shared, keep_weights=True)
    assert summary.complete
    check_settled(lab, study, 8)
    journal = open_store(lab.store).journal
    assert all(journal.weights(trial_id).exists() for trial_id in losses(lab.store))
    assert not list((journal.folder / "checkpoints").glob("*.pt"))


@FOLDER
def test_jobs_outlive_their_coordinator_and_the_next_one_joins_them(nodes, lab, shared):
    study = lab.study(**SLOW)
    first = Coordinator(lab, study, on=nodes.on, shared_folder=shared)
    first.wait_done(2)
    jobs = jobs_shown(lab)
    first.kill()
    assert jobs_of(lab) == jobs
    joined = []
    summary = run(lab, study, nodes.on, lambda _event: joined.append(jobs_of(lab)), shared_folder=shared)
    assert summary.complete
    assert set(jobs) & set(joined[0])
    check_settled(lab, study, 8, first.told("Finished"))


@pytest.mark.parametrize("victim", ["job", "worker"])
def test_a_killed_process_loses_an_attempt(nodes, lab, victim):
    study = lab.study(**SLOW)
    struck, reasons = [], []

    def strike(event):
        if isinstance(event, Retried):
            reasons.append(event.reason)
        if isinstance(event, Progressed) and not struck:
            job = jobs_of(lab)[0]
            struck.append(job if victim == "job" else worker_of(job))
            os.kill(struck[0], signal.SIGKILL)

    assert run(lab, study, nodes.on, strike).complete
    assert struck
    assert len(reasons) == 1
    assert "died" in reasons[0] or "SIGKILL" in reasons[0] or "killed" in reasons[0]
    check_settled(lab, study, 8)


def test_a_lost_node_is_not_held_against_its_trials(nodes, lab):
    study = lab.study(**SLOW)
    lost, reasons, retried = [], [], set()

    def lose(event):
        if isinstance(event, Progressed) and not lost:
            lost.append(True)
            nodes.lose()
        if isinstance(event, Retried):
            reasons.append(event.reason)
            retried.add(event.trial_id)

    summary = run(lab, study, nodes.on, lose, slots=4, shared_folder=False, max_attempts=1)
    assert summary.complete
    assert retried
    assert all("node" in reason for reason in reasons)
    check_settled(lab, study, 8)


def seconds_of_a_run(lab: Lab, nodes: Nodes) -> float:
    """Returns how long trials of no time take, jobs started for them."""
    store, lab.store = lab.store, lab.folder / "seconds.duckdb"
    began = time.monotonic()
    run(lab, lab.study(name="seconds"), nodes.on)
    lab.store = store
    return time.monotonic() - began


@FOLDER
def test_a_time_limit_has_trials_go_on_in_the_next_job(nodes, lab, shared):
    limit = 8.0 + 1.5 * seconds_of_a_run(lab, nodes)  # a busy machine may take long to start a job
    study = lab.study(sizes='"all"', steps=round(limit / 0.25), options="ms_per_step = 200.0")
    reasons = []

    def note(event):
        if isinstance(event, Retried):
            reasons.append(event.reason)

    how = {"time_limit": limit, "max_attempts": 10}
    assert run(lab, study, nodes.on, note, shared_folder=shared, **how).complete
    assert len(reasons) >= 2
    assert all(reason.startswith("its time limit is near") for reason in reasons)
    check_settled(lab, study, 2)


def test_two_coordinators_share_the_trials_of_one_store(nodes, lab):
    study = lab.study(**SLOW)
    other = Coordinator(lab, study, on=nodes.on)
    mine = []
    summary = run(
        lab, study, nodes.on, lambda event: isinstance(event, Finished) and mine.append(event.trial_id)
    )
    assert other.process.wait(200) == 0, other.log.read_text()
    assert summary.failed == {}
    assert not set(mine) & set(other.told("Finished"))
    check_settled(lab, study, 8, [*mine, *other.told("Finished")])


@pytest.mark.parametrize(
    ("at_stop", "shared"), [("cancel", False), ("leave", True), ("leave", False)], ids=str
)
def test_ctrl_c_ends_the_jobs_or_leaves_them(nodes, lab, at_stop, shared):
    study = lab.study(**SLOW)
    stop = StopSignal()

    def press(event):
        if isinstance(event, Finished) and not stop.level:
            stop.request()

    stopped = run(lab, study, nodes.on, press, at_stop=at_stop, stop=stop, shared_folder=shared)
    assert stopped.stopped
    assert not stopped.complete
    store = open_store(lab.store)
    if at_stop == "cancel":
        assert fleets(store.journal) == []
        assert Claims(store.journal).live() == []
    else:
        assert stopped.interrupted == 0
        assert stopped.left > 0
        assert len(jobs_of(lab)) == 2
    summary = run(lab, study, nodes.on, shared_folder=shared)
    assert summary.complete
    check_settled(lab, study, 8)


def test_jobs_without_a_shared_folder_open_nothing_of_the_store(nodes, lab):
    study = lab.study(seeds=1, steps=10, options="ms_per_step = 25.0")
    noted = lab.folder / "noted.txt"
    with (lab.plugins / "toys.py").open("a") as toys:
        toys.write(WATCH.format(coordinator=os.getpid(), store=str(lab.store), noted=str(noted)))
    assert run(lab, study, nodes.on, shared_folder=False, keep_weights=True).complete
    assert set(noted.read_text().splitlines()) == {"watches"}
    check_settled(lab, study, 4)


def test_a_job_without_the_folder_says_so(nodes, lab, monkeypatch):
    elsewhere = functools.partial(Orders)
    monkeypatch.setattr(
        begin, "Orders", lambda **rest: elsewhere(**{**rest, "store": "/nowhere/store.duckdb"})
    )
    with pytest.raises(InputError, match=r"does not see /nowhere/.*--no-shared-folder"):
        run(lab, lab.study(), nodes.on)
    check_untouched(lab)


@pytest.mark.parametrize(
    ("component", "said"),
    [(("architecture", "elsewhere", 1), "elsewhere"), (("architecture", "net", 7), "version 1.* 7; install")],
)
def test_a_plugin_that_is_missing_there_claims_nothing(nodes, lab, monkeypatch, component, said):
    def orders(**rest):
        needs = rest["needs"].model_copy(update={"components": (component,)})
        return Orders(**{**rest, "needs": needs})

    monkeypatch.setattr(begin, "Orders", orders)
    with pytest.raises(InputError, match=said) as refused:
        run(lab, lab.study(), nodes.on)
    assert "\n" not in str(refused.value)
    check_untouched(lab)


def check_untouched(lab: Lab) -> None:
    store = open_store(lab.store)
    assert store.sql("select count(*) as n from records")["n"][0] == 0
    assert list((store.journal.folder / "claims").glob("*.json")) == []
    assert fleets(store.journal) == []


def test_what_no_machine_has_is_waited_for_with_the_reason(nodes, lab):
    stop, stood = StopSignal(), []

    def note(event):
        stood.append(getattr(event, "where", ""))
        if "no machine of the cluster has 1 CPU, 3 GPU" in stood[-1]:
            stop.request()

    run(lab, lab.study(), nodes.on, note, gpus_per_trial=3, stop=stop)
    assert stop.level
    check_untouched(lab)


def test_what_a_cluster_of_its_own_can_never_have_ends_the_run(nodes, lab):
    coordinator = Coordinator(lab, lab.study(), "local", on="ray", gpus_per_trial=3)
    assert coordinator.process.wait(200) == 2
    (line,) = [one for one in coordinator.log.read_text().splitlines() if one.startswith("error: ")]
    assert "no machine of the cluster has 1 CPU, 3 GPU, which was started for this run" in line
    check_untouched(lab)


def test_a_cluster_that_was_started_for_a_run_dies_with_it(nodes, lab):
    study = lab.study(**SLOW)
    first = Coordinator(lab, study, "local", on="ray")
    first.wait_done(1)
    first.kill()
    wait_for(lambda: not jobs_of(lab), "end of the jobs")
    assert run_study(study, lab.store, workers=2, threads=1, catalog=lab.catalog()).complete
    assert run(lab, study, nodes.on).complete  # which clears away what was left of the run
    assert losses(lab.store).keys() >= set(first.told("Finished"))


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that answers nothing of Ray's."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_an_address_without_ray_is_refused_soon(started, lab, silent):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    cases = {
        f"ray:127.0.0.1:{port}": "nothing of Ray can be reached",
        f"ray:{silent}": "is not Ray",
        "ray:nonsense": "is not an address",
    }
    for on, said in cases.items():
        began = time.monotonic()
        with pytest.raises(InputError, match=said):
            run(lab, lab.study(), on)
        assert time.monotonic() - began < 60


def test_a_cluster_of_another_version_is_refused(nodes, lab, monkeypatch):
    import ray

    monkeypatch.setattr(ray, "__version__", "1.2.3")
    with pytest.raises(InputError, match=r"Version mismatch.*1\.2\.3") as refused:
        run(lab, lab.study(), nodes.on)
    assert "\n" not in str(refused.value)


def test_ray_that_is_not_installed_is_named(lab, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'scalelab\[ray\]'"):
        run(lab, lab.study(), "ray")
