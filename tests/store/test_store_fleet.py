"""The folder of a run on a cluster: what is forged or no file there is as if it were not."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import pytest

from scalelab.store.fleet import Fleet, Heart, cluster_runs

FACTS = {"run": "r", "study": "s", "on": "ray", "waiting": 3, "standing": "1 job on vm"}


@pytest.fixture
def fleet(store) -> Fleet:
    fleet = Fleet(store.journal, "r")
    fleet.write(FACTS)
    fleet.beat(Heart.here("j1", "vm"))
    return fleet


def test_a_run_is_seen_with_its_jobs(store, fleet):
    (seen,) = store.cluster_runs()
    assert (seen.study, seen.on, seen.waiting, seen.standing) == ("s", "ray", 3, "1 job on vm")
    assert [job.job for job in seen.jobs] == ["j1"]


@pytest.mark.parametrize(
    "forged",
    [{"place": 5}, {"waiting": "many"}, {"at": [1]}, {"cluster": "ray"}, {"pid": "me"}, {"study": None}],
    ids=str,
)
def test_forged_facts_are_none(store, fleet, forged):
    (fleet.folder / "run.json").write_text(json.dumps(FACTS | forged))
    assert fleet.read() == {}
    assert store.cluster_runs() == []


@pytest.mark.parametrize("forged", [{"place": 5}, {"pid": -1}, {"agent": "j2"}, {"began": "now"}], ids=str)
def test_a_forged_heart_is_none(store, fleet, forged):
    (fleet.folder / "hearts" / "j1.json").write_text(json.dumps(asdict(Heart.here("j1", "vm")) | forged))
    assert fleet.hearts() == []
    assert store.cluster_runs()[0].jobs == ()


def test_a_pipe_in_the_place_of_facts_is_not_waited_for(store, fleet):
    (fleet.folder / "run.json").unlink()
    os.mkfifo(fleet.folder / "run.json")
    assert cluster_runs(store.journal, store.claims.now()) == []


def test_what_is_no_run_is_named_by_a_check(store, fleet):
    assert store.check().healthy
    (fleet.folder.parent / "notes.txt").write_text("")
    (fleet.folder.parent / "empty").mkdir()
    report = store.check()
    assert {path.name for path in report.unreadable} == {"notes.txt", "empty"}
    (problem,) = report.problems
    assert "notes.txt (it is no run on a cluster)" in problem
