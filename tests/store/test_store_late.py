"""A record that comes after its attempt was given up is kept, once, and counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import a_measurement, a_record, a_trial

from scalelab.store import Journal, open_store
from scalelab.store.files import is_there
from scalelab.store.kinds import MEASUREMENTS, RECORDS


def attempts(store) -> list[tuple]:
    return store.rows("select attempt, status, loss, error from records order by attempt")[1]


def test_a_late_record_is_kept_as_the_next_attempt_and_counts(store):
    assert store.journal.settle(a_record(0, 1, "interrupted"))
    late = store.journal.write(a_record(0, 1, loss=0.25))
    assert (late.attempt, late.status) == (2, "done")
    store.ingest()
    said = "came late: attempt 1 had a record by then"
    assert attempts(store) == [(1, "interrupted", None, "the reason"), (2, "done", 0.25, said)]
    run = store.runs().iloc[0]
    assert (run.status, run.attempt, run.attempts, run.loss) == ("done", 2, 2, 0.25)
    assert store.check().healthy


def test_a_late_record_takes_the_next_free_number(store):
    for attempt, status in ((1, "interrupted"), (2, "failed")):
        store.journal.write(a_record(0, attempt, status))
    assert store.journal.write(a_record(0, 1, "failed", error="why")).attempt == 3
    assert store.journal.write(a_record(0, 1, "failed", error="why")).attempt == 3
    store.ingest()
    assert attempts(store)[2][3] == "why; came late: attempt 1 had a record by then"
    assert store.journal.write(a_record(0, 1, "failed", error="why")).attempt == 3
    assert store.ingest() == 0


def test_what_is_said_of_an_attempt_is_not_kept_where_it_spoke_itself(store):
    store.journal.write(a_record(0, 1))
    assert not store.journal.settle(a_record(0, 1, "interrupted"))
    store.ingest()
    assert not store.journal.settle(a_record(0, 1, "interrupted"))
    assert [row[1] for row in attempts(store)] == ["done"]


def test_a_late_measurement_is_kept_too(store):
    store.journal.write(a_measurement(status="failed"))
    late = store.journal.write(a_measurement(latency=0.5))
    assert (late.attempt, late.status) == (2, "ok")
    assert late.reason == "came late: attempt 1 had a record by then"
    store.ingest()
    assert store.rows("select status, attempt, latency from latencies")[1] == [("ok", 2, 0.5)]
    assert len(store.journal.taken(MEASUREMENTS)) == 2


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "settle", "unseen", "ingest"]), st.integers(1, 2), st.integers(0, 2)),
    max_size=9,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_no_order_of_events_loses_or_doubles_a_record(tmp_path_factory, empty_store, steps):
    """Workers write, coordinators settle and ingest; an unseen write is one that did not see the first."""
    path = tmp_path_factory.mktemp("late") / "x.duckdb"
    path.write_bytes(empty_store)
    store = open_store(path)
    acknowledged, spoken_for = set(), set()
    for step, attempt, which in steps:
        record = a_record(0, attempt, loss=10 * attempt + which)
        if step == "write":
            store.journal.write(record)
            acknowledged.add(record.loss)
        elif step == "settle":
            store.journal.settle(a_record(0, attempt, "interrupted"))
        elif step == "unseen" and not (store.journal.new / f"{record.id}.json").exists():
            (store.journal.new / f"{record.id}.json").parent.mkdir(parents=True, exist_ok=True)
            (store.journal.new / f"{record.id}.json").write_bytes(RECORDS.seal(record))
            acknowledged.add(record.loss)
        elif step == "ingest":
            store.ingest()
        spoken_for |= {attempt} if step != "ingest" and store.journal.has(record.id) else set()
    store.ingest()
    found = attempts(store)
    done = [row[2] for row in found if row[1] == "done"]
    assert sorted(done) == sorted(acknowledged)
    assert spoken_for <= {row[0] for row in found}
    assert store.journal.pending() == store.journal.quarantined() == []
    assert not found or store.outcomes()[a_trial(0).id].status == ("done" if done else "interrupted")


def test_a_name_is_there_although_a_listing_that_was_cached_lacks_it(tmp_path, monkeypatch):
    """As an NFS client does: what it did not find once stays missing until its folder is opened again."""
    journal = Journal(tmp_path / "x.duckdb")
    journal.write(a_record())
    real, opened = os.lstat, set()
    scandir = os.scandir

    def cached(path, **options):
        if Path(path).suffix == ".json" and str(Path(path).parent) not in opened:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return real(path, **options)

    def noted(folder="."):
        opened.add(str(folder))
        return scandir(folder)

    with monkeypatch.context() as patch:
        patch.setattr(os.path, "exists", lambda _path: False)
        patch.setattr(os.path, "lexists", lambda _path: False)
        patch.setattr(os, "lstat", cached)
        patch.setattr(os, "scandir", noted)
        assert journal.has(a_record().id)
        assert not journal.has(a_record(5).id)
        assert not is_there(tmp_path / "no" / "such" / "folder.json")
        assert journal.write(a_record()) == a_record()
    assert len(journal.pending()) == 1


def test_a_file_that_moves_between_two_looks_is_not_missed(store, monkeypatch):
    store.journal.write(a_record())
    taken = []

    def moved(path):
        found = os.path.lexists(path)
        if not taken and not found:
            taken.append(store.ingest())
        return found

    monkeypatch.setattr("scalelab.store.journal.is_there", moved)
    assert store.journal.has(a_record().id)


@pytest.mark.parametrize("ahead", [60, 400 * 86400])
def test_a_registration_under_a_clock_set_back_is_the_newest(store, monkeypatch, ahead):
    import time

    now = time.time()
    monkeypatch.setattr("scalelab.store.kind.time.time", lambda: now + ahead)
    store.register("s", "one", [a_trial(0)])
    store.register("other", "o", [a_trial(0)])
    monkeypatch.setattr("scalelab.store.kind.time.time", lambda: now)
    store.register("s", "two", [a_trial(1)])
    assert store.rows("select text from studies where study = 's'")[1] == [("two",)]
    store.register("s", "three", [a_trial(2)])
    store.rebuild()
    assert store.rows("select text from studies where study = 's'")[1] == [("three",)]
