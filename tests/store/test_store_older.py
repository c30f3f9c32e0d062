"""An older database beside a newer journal, rebuilds that find nothing, and what killed ones leave."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from store_samples import a_measurement, a_record, a_trial

from scalelab.errors import StoreError
from scalelab.store import Store, ingest, open_store, tally
from scalelab.store.kinds import KINDS


@pytest.fixture
def older(store, tmp_path) -> Store:
    """A store whose database is that of before its last records."""
    store.register("s", "first", [a_trial(0)])
    store.journal.write(a_record(0))
    store.ingest()
    copy = shutil.copy2(store.path, tmp_path / "copy.duckdb")
    store.register("s", "second", [a_trial(0), a_trial(1)])
    store.journal.write(a_record(1))
    store.journal.write(a_measurement())
    store.ingest()
    shutil.move(copy, store.path)
    return open_store(store.path)


def test_an_older_database_takes_in_again_what_its_journal_gave(older, caplog):
    assert older.claims.claim(a_trial(1).id, "s", 1) is None
    assert older.outcomes([a_trial(1).id]) == {}
    assert older.ingest() == 1
    assert "was older than its journal; 1 record was taken in again" in caplog.text
    assert older.outcomes([a_trial(1).id])[a_trial(1).id].status == "done"
    assert older.rows("select text from studies")[1] == [("second",)]
    assert older.rows("select count(*) from latencies")[1] == [(1,)]
    assert older.check().healthy
    assert older.ingest() == 0


def test_an_older_database_is_noticed_while_a_run_goes_on(store, tmp_path):
    store.journal.write(a_record(0))
    store.ingest()
    content = store.path.read_bytes()
    store.journal.write(a_record(1))
    store.ingest()
    store.path.write_bytes(content)
    assert store.ingest() == 1
    assert len(store.runs()) == 2


def test_a_journal_without_a_tally_is_looked_through_once(store, monkeypatch):
    store.journal.write(a_record(0))
    store.ingest()
    (store.journal.folder / "tally.json").write_text("{")
    looked = []
    monkeypatch.setattr(tally, "lacking", lambda *args: looked.append(args) or [])
    for _ in range(3):
        assert open_store(store.path).ingest() == 0
    assert len(looked) == len(KINDS)


def test_nothing_new_costs_one_look_at_the_file(store, monkeypatch):
    store.journal.write(a_record(0))
    store.ingest()
    monkeypatch.setattr(store.database, "current", lambda *_args: pytest.fail("opened"))
    monkeypatch.setattr(store.database, "alone", lambda *_args: pytest.fail("locked"))
    assert ingest.ingest(store.database) == 0


def test_a_kill_between_commit_and_tally_is_mended(store, monkeypatch):
    store.journal.write(a_record(0))
    with monkeypatch.context() as patch:
        patch.setattr(tally, "note", lambda *_args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.ingest()
    again = open_store(store.path)
    again.ingest()
    assert len(again.runs()) == 1
    assert again.check().healthy


@pytest.mark.parametrize("database", ["missing", "broken"])
def test_a_rebuild_that_finds_nothing_names_what_is_lost(store, database):
    store.journal.write(a_record(0))
    store.ingest()
    (path,) = store.journal.taken()
    path.write_bytes(b"torn")
    store.path.unlink() if database == "missing" else store.path.write_bytes(b"broken")
    before = sorted(store.path.parent.glob("x.duckdb*"))
    with pytest.raises(StoreError, match="nothing to rebuild from; lost: " + a_record(0).id) as told:
        store.rebuild()
    assert told.value.exit_code == 3
    assert "\n" not in str(told.value)
    assert sorted(store.path.parent.glob("x.duckdb*")) == before
    with pytest.raises(StoreError, match="nothing to rebuild from"):
        store.rebuild()


def test_a_rebuild_that_lost_something_names_it_and_says_so_by_its_exit_code(store):
    from typer.testing import CliRunner

    from scalelab.cli.app import app

    for seed in range(2):
        store.journal.write(a_record(seed))
    store.ingest()
    torn = store.journal.kept / a_trial(0).id[:2] / f"{a_record(0).id}.json"
    torn.write_bytes(b"torn")
    store.path.unlink()
    result = CliRunner().invoke(app, ["store", "rebuild", "--store", str(store.path)])
    assert result.exit_code == 3, result.output
    assert f"lost: {a_record(0).id}" in result.output
    assert len(store.runs()) == 1


def _leave(store: Store) -> list[Path]:
    beside = store.path.with_name(f"{store.path.name}.new-999999-0a1b2c3d")
    left = [beside, Path(f"{beside}.wal"), store.journal.scratch / "salvage-17.duckdb"]
    left.append(store.journal.scratch / f"{a_record(7).id}.json.999999.0a1b2c3d")
    store.journal.scratch.mkdir(parents=True, exist_ok=True)
    for path in left:
        path.write_bytes(b"half")
        os.utime(path, (time.time() - 4000,) * 2)
    return left


@pytest.mark.parametrize("by", ["run", "rebuild"])
def test_what_killed_rebuilds_left_is_shown_and_removed(store, by):
    store.journal.write(a_record(0))
    left = _leave(store)
    stranger = store.path.with_name(f"{store.path.name}.new-and-mine")
    stranger.write_text("mine")
    report = store.check()
    assert report.leftovers == left[:3]
    assert left[3] in report.unfinished
    assert report.healthy
    open_store(store.path, create=True) if by == "run" else store.rebuild()
    assert [path for path in left if path.exists()] == []
    assert stranger.exists()
    assert store.check().leftovers == []


def test_a_file_that_is_being_written_is_left_alone(store):
    left = _leave(store)
    os.utime(left[3])
    store.rebuild()
    assert left[3].exists()


def test_a_writer_whose_unfinished_file_was_removed_writes_it_again(store, monkeypatch):
    store.journal.write(a_record(1))
    real, calls = os.link, []

    def removed_before(part, target, **options):
        calls.append(part)
        if len(calls) == 1:
            os.unlink(part)
        return real(part, target, **options)

    monkeypatch.setattr(os, "link", removed_before)
    store.journal.write(a_record(0))
    assert store.journal.has(a_record(0).id)
