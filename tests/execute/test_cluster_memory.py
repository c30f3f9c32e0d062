"""Memory that runs out in the jobs of a cluster: fewer jobs, and trials that are tried alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
from cluster_toys import threads_for
from hypothesis import given
from hypothesis import strategies as st
from memory_toys import ALONE, check_all_found_room, crowd_of, lost, warned

from scalelab import Cluster, open_store
from scalelab.execute.cluster import agent
from scalelab.execute.cluster.room import Room
from scalelab.supervise.stop import StopSignal


@pytest.fixture
def begun(monkeypatch):
    monkeypatch.setattr(agent, "BEAT_SECONDS", 0.2)
    return threads_for(monkeypatch).begun


@pytest.fixture
def crowd(lab, begun):
    run = crowd_of(lab)
    return lambda does, *, slots, **options: run(does, on=Cluster(on="slurm", slots=slots), **options)


def test_trials_that_have_no_room_together_are_trained_in_fewer_jobs(lab, crowd, begun):
    summary, events = crowd("crowd", sizes=(3,), seeds=3, slots=2)
    check_all_found_room(lab, summary, events)
    assert warned(events) == ["memory ran out with 2 jobs at a time; from now on one job at a time"]
    assert begun[0].started == 1 + len(lost(events)), "of two that ended one was asked for again"


def test_a_trial_that_has_no_room_alone_fails_and_leaves_the_jobs_to_the_others(lab, crowd, monkeypatch):
    rooms = []
    start = Room.__init__
    monkeypatch.setattr(Room, "__init__", lambda self, *given: (rooms.append(self), start(self, *given))[1])
    summary, events = crowd("crowd", sizes=(0, 9), seeds=2, slots=2)
    assert (summary.done, sorted(summary.failed.values())) == (2, [ALONE] * 2)
    outcomes = open_store(lab.store).outcomes()
    assert {outcomes[trial_id].attempts for trial_id in summary.failed} <= {2, 3}
    assert len(warned(events)) == 1
    assert all(summary.logs[trial_id].exists() for trial_id in summary.failed)
    assert [room.n_jobs for room in rooms] == [2], "they are given back"


@pytest.mark.parametrize("does", ["allocator", "python"])
def test_with_one_job_it_fails_at_once_and_the_job_goes_on(crowd, begun, does):
    summary, events = crowd(does, seeds=2, slots=1)
    assert (lost(events), warned(events)) == ([], [])
    assert list(summary.failed.values()) == [ALONE] * 2
    assert begun[0].started == 1


def test_a_run_that_is_stopped_gives_back_trials_that_wait_for_their_turn(lab, begun):
    stop, seen = StopSignal(), []

    def hear(event):
        seen.append(event)
        if len(lost(seen)) == 2:
            stop.request()

    on = Cluster(on="slurm", slots=2)
    summary, _ = crowd_of(lab)("python", on=on, seeds=2, on_event=hear, stop=stop)
    assert (summary.stopped, summary.done) == (True, 0)
    assert open_store(lab.store).claims.live() == []


@dataclass(frozen=True)
class Posted:
    """What a room looks at of a job."""

    name: str
    attempt: int = 1
    device: str = "cpu"
    sharers: int = 1

    @property
    def trial(self):
        return SimpleNamespace(id=self.name)

    def model_copy(self, update):
        return replace(self, **update)


def turns(room, *names, under_way=0):
    return [(job.name, job.sharers) for job in room.ready([Posted(n) for n in names], under_way=under_way)]


def test_a_trial_that_ran_out_twice_is_tried_when_nothing_else_is_under_way():
    room = Room(8, Cluster(on="slurm"))
    assert turns(room, "a", "b") == [("a", 0), ("b", 0)]
    for name in ("a", "b", "c"):
        room.began(name)
    assert (room.ran_out("a"), room.n_jobs) == (True, 7)
    assert (room.ran_out("b"), room.n_jobs) == (False, 7), "it was begun with eight"
    assert turns(room, "a", "d", under_way=3) == [("a", 0), ("d", 0)]
    room.began("a")
    assert (room.ran_out("a"), room.n_jobs) == (True, 6)
    assert turns(room, "a", "e", under_way=3) == [("e", 0)]
    assert turns(room, "a", under_way=1) == []
    assert turns(room, "a") == [("a", 1)]
    assert turns(room, "f", under_way=1) == [], "until it has ended"
    assert turns(room, "f") == [("f", 0)]
    room.too_large("a")
    assert room.n_jobs == 8
    room.too_large("never ran out")
    assert room.n_jobs == 8


def test_the_last_job_stays_and_a_trial_that_ran_out_there_is_next_tried_alone():
    room = Room(2, Cluster(on="ray", gpus_per_trial=0.5))
    assert [room.ran_out(name) for name in "ab"] == [True, False]
    assert room.n_jobs == 1
    assert turns(room, "b", under_way=1) == []
    assert turns(room, "b") == [("b", 1)]


@given(st.lists(st.tuples(st.sampled_from(["begin", "ran out", "failed"]), st.sampled_from("abcd"))))
def test_there_is_always_a_job_and_never_more_than_at_first(steps):
    room = Room(3, Cluster(on="slurm"))
    for what, name in steps:
        {"begin": room.began, "ran out": room.ran_out, "failed": room.too_large}[what](name)
        assert 1 <= room.n_jobs <= 3


@pytest.mark.parametrize(
    ("gpus", "device", "jobs", "sharers"),
    [(0.5, "cuda", 4, 2), (0.3, "cuda", 4, 3), (0.1, "cuda", 4, 10), (0.7, "cuda", 4, 1), (1, "cuda", 4, 1),
     (2, "cuda", 4, 1), (0, "cpu", 4, 0), (0, "cuda", 4, 0), (1, "cpu", 4, 0), (0.5, "cuda", 1, 2),
     (0, "cpu", 1, 1), (0, "cuda", 1, 1)],
)  # fmt: skip
def test_a_job_knows_how_many_share_what_it_trains_on(gpus, device, jobs, sharers):
    room = Room(jobs, Cluster(on="ray", gpus_per_trial=gpus))
    assert room.shared(Posted("a", device=device)).sharers == sharers
