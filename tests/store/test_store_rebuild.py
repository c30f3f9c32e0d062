"""The database again from the journal, and the journal from the database: nothing is lost or deleted."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import a_record, a_trial, kept, records

from scalelab.errors import StoreError, StoreLockedError
from scalelab.store import Journal, Store, open_store
from scalelab.store.files import put_new
from scalelab.store.kinds import REGISTRATIONS
from scalelab.store.registrations import Registration

TABLES = ("studies", "study_trials", "trials", "records", "curve_points", "runs", "curves")


@pytest.fixture
def filled(store) -> Store:
    store.register("s", "the text", [a_trial(seed) for seed in range(8)])
    store.register("t", "another", [a_trial(7), a_trial(6, depth=0.5)])
    store.register("s", "edited", [a_trial(seed) for seed in reversed(range(7))])
    store.journal.write(a_record(0, 1, "interrupted"))
    for seed in range(5):
        store.journal.write(a_record(seed, 2 if seed == 0 else 1, "diverged" if seed == 1 else "done"))
    store.journal.write(
        a_record(a_trial(6, depth=0.5), study="t", features={"stages": 4, "last width": 0.25})
    )
    store.ingest()
    return store


def content(store: Store) -> dict[str, list]:
    tables = {}
    for table in TABLES:
        names, rows = store.rows(f"select * from {table}")
        order = sorted(range(len(names)), key=names.__getitem__)
        skipped = [i for i, name in enumerate(names) if name == "registration"]
        tables[table] = sorted(repr([row[i] for i in order if i not in skipped]) for row in rows)
    return tables


def spoil_wal(store: Store) -> None:
    """Leaves a WAL behind, as a kill does, and breaks it."""
    code = (
        "import duckdb, os, signal, sys; c = duckdb.connect(sys.argv[1]);"
        "q = \"insert into parameters values ('a', 'records', repeat('b', 500), 'c')\";"
        "[c.execute(q) for _ in range(9)];"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(store.path)])
    assert killed.returncode == -signal.SIGKILL
    wal = Path(f"{store.path}.wal")
    broken = bytearray(wal.read_bytes())
    broken[len(broken) // 2] ^= 0xFF
    wal.write_bytes(broken)


def test_a_rebuilt_store_shows_the_same(filled):
    before, old = content(filled), filled.path.read_bytes()
    report = filled.rebuild()
    assert content(filled) == before
    assert (report.records, report.studies, report.salvaged, report.lost, report.problem) == (
        7,
        2,
        0,
        (),
        None,
    )
    (aside,) = report.set_aside
    assert aside.parent == filled.journal.quarantine
    assert aside.read_bytes() == old
    assert filled.check().healthy


def test_records_that_only_the_database_holds_are_salvaged(filled):
    before = content(filled)
    there = {path.stem: kept(filled.journal, path.stem) for path in filled.journal.taken()}
    shutil.rmtree(filled.journal.folder)
    report = filled.rebuild()
    assert report.salvaged == 7
    assert content(filled) == before
    assert {name: kept(filled.journal, name) for name in there} == there
    assert filled.check().healthy
    assert filled.check().without_journal == 0


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(records(), min_size=3, max_size=6, unique_by=lambda record: record.id))
def test_a_salvaged_record_is_the_record(tmp_path_factory, made):
    store = open_store(tmp_path_factory.mktemp("salvage") / "x.duckdb", create=True)
    for record in made:
        store.journal.write(record)
    assert store.ingest() == len(made)
    before = content(store)
    shutil.rmtree(store.journal.folder)
    assert store.rebuild().salvaged == len(made)
    assert [kept(store.journal, record.id) for record in made] == made
    assert content(store)["curves"] == before["curves"]


def test_many_records_are_salvaged_in_pieces(store, monkeypatch):
    monkeypatch.setattr("scalelab.store.salvage.PIECE", 3)
    for seed in range(10):
        store.journal.write(a_record(seed))
    store.ingest()
    before = content(store)
    for path in list(store.journal.taken())[::2]:
        path.unlink()
    assert store.rebuild().salvaged == 5
    assert content(store) == before


def test_pending_records_are_in_the_rebuilt_store(filled):
    filled.journal.write(a_record(20))
    late = Registration(study="late", text="", registered_at=1.9e9, trials=(a_trial(20),))
    filled.journal.write(late)
    report = filled.rebuild()
    assert (report.records, report.studies) == (8, 3)
    assert filled.check().pending == 0
    assert filled.ingest() == 0


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "missing"])
def test_a_damaged_store_comes_back_from_its_journal(filled, damage):
    before = content(filled)
    whole = filled.path.read_bytes()
    broken = {"truncated": whole[: len(whole) // 3], "garbage": b"\x07" * 9000, "empty": b""}
    if damage == "missing":
        filled.path.unlink()
        with pytest.raises(StoreError, match="its journal exists: `scalelab store rebuild"):
            open_store(filled.path)
    else:
        filled.path.write_bytes(broken[damage])
        assert not filled.check().healthy
    report = Store(filled.path).rebuild()
    assert content(filled) == before
    assert (report.problem is None) == (damage == "missing")
    assert [path.read_bytes() for path in report.set_aside] == (
        [] if damage == "missing" else [broken[damage]]
    )


def test_a_store_that_was_deleted_is_made_from_its_journal_when_it_is_next_written(filled):
    before = content(filled)
    filled.path.unlink()
    open_store(filled.path, create=True)
    assert content(filled) == before


def test_a_broken_wal_is_set_aside_and_what_it_stood_beside_is_salvaged(filled):
    before = content(filled)
    shutil.rmtree(filled.journal.folder)
    spoil_wal(filled)
    wal = Path(f"{filled.path}.wal").read_bytes()
    with pytest.raises(StoreError, match=r"replaying WAL.*scalelab store rebuild"):
        filled.runs()
    report = filled.check()
    assert not report.healthy
    assert report.wal == len(wal)
    rebuilt = filled.rebuild()
    assert rebuilt.salvaged == 7
    assert content(filled) == before
    assert wal in [path.read_bytes() for path in rebuilt.set_aside]
    assert not Path(f"{filled.path}.wal").exists()


def test_a_whole_wal_is_replayed_not_lost(filled):
    code = (
        "import os, signal, sys; from scalelab.store import Store; s = Store(sys.argv[1])\n"
        "with s.database.write() as c:\n"
        "    c.execute('update studies set text = upper(text)'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(filled.path)])
    assert Path(f"{filled.path}.wal").exists()
    assert filled.check().wal > 0
    assert filled.check().healthy
    assert filled.rows("select text from studies order by study")[1] == [("EDITED",), ("ANOTHER",)]


def test_what_a_damaged_database_names_but_cannot_give_is_reported(filled):
    (gone,) = [path for path in filled.journal.taken() if path.stem == a_record(3).id]
    gone.unlink()
    with filled.database.write() as connection:
        connection.execute("update records set status = 'nonsense' where trial_id = ?", [a_trial(3).id])
    report = filled.rebuild()
    assert report.lost == (a_record(3).id,)
    assert report.problem
    assert report.records == 6


def test_duplicates_and_missing_records_are_found_and_mended(filled):
    with filled.database.write() as connection:
        connection.execute("insert into records select * from records where trial_id = ?", [a_trial(2).id])
        connection.execute("delete from records where trial_id = ?", [a_trial(4).id])
        connection.execute("delete from trials where trial_id = ?", [a_trial(1).id])
    report = filled.check()
    assert report.duplicates == [a_record(2).id]
    assert report.missing["records"] == [a_record(4).id]
    assert report.orphans == [a_trial(1).id]
    assert len(report.problems) == 3
    filled.rebuild()
    assert filled.check().healthy
    assert len(filled.runs("s")) == 5


def test_a_disk_that_fills_up_leaves_the_old_store(filled, monkeypatch):
    before = filled.path.read_bytes()

    def full(*_args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(StoreError, match="disk full; free some space"):
            filled.rebuild()
    assert filled.path.read_bytes() == before
    assert not list(filled.path.parent.glob("*.new-*"))
    assert filled.rebuild().records == 7


def test_a_rebuild_waits_for_other_writers(filled):
    with filled.database.alone(), pytest.raises(StoreLockedError, match="another process has been writing"):
        Store(filled.path, wait=0.1).rebuild()


def test_nothing_to_rebuild_from_is_told(tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        Store(tmp_path / "x.duckdb").rebuild()
    assert list(tmp_path.iterdir()) == []


def test_torn_files_of_the_journal_do_not_stop_a_rebuild(filled, caplog):
    torn = next(iter(filled.journal.taken()))
    torn.write_bytes(torn.read_bytes()[:-9])
    registration = filled.journal.files(REGISTRATIONS)[0]
    registration.write_bytes(b"{")
    filled.path.unlink()
    report = filled.rebuild()
    assert report.records == 6
    assert caplog.text.count("cannot be used") == 2
    assert len(filled.journal.quarantined()) == 2


def test_put_new_tells_whether_the_name_was_free(tmp_path):
    assert put_new(tmp_path / "a", b"1", tmp_path) is True
    assert put_new(tmp_path / "a", b"2", tmp_path) is False
    assert (tmp_path / "a").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_rebuilding_an_empty_store_makes_an_empty_store(store):
    assert store.rebuild().records == 0
    assert isinstance(store.runs(), pd.DataFrame)
    assert Journal(store.path).pending() == []
