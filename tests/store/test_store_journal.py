"""Records as files: whole, never replaced, and readable again to the last digit."""

from __future__ import annotations

import errno
import json
import logging
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import a_record, a_trial, kept, opened, records

from scalelab.errors import StoreError
from scalelab.store import Journal
from scalelab.store.envelope import TornError
from scalelab.store.kinds import RECORDS


@given(records())
def test_a_record_comes_back_as_it_was(record):
    assert opened(record.id, RECORDS.seal(record)) == record


@given(records(), st.data())
def test_a_file_that_was_cut_or_changed_is_told(record, data):
    content = RECORDS.seal(record)
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(TornError):
        RECORDS.open(record.id, content[:cut])
    place = data.draw(st.integers(0, len(content) - 1))
    changed = (
        content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :]
    )
    with pytest.raises(TornError):
        RECORDS.open(record.id, changed)


def test_the_file_is_one_json_object(tmp_path):
    journal = Journal(tmp_path / "x.duckdb")
    record = a_record()
    journal.write(record)
    (path,) = journal.pending()
    assert path == tmp_path / "x.duckdb.journal" / "new" / f"{record.id}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["trial_id"] == record.trial.id
    assert content["record"]["status"] == "done"
    assert content["trial"]["architecture"]["params"] == {"width": 8, "depths": [1, 2]}
    assert kept(journal, record.id) == record
    assert journal.has(record.id)


def test_a_record_is_never_replaced(store):
    first, second = a_record(loss=0.25), a_record(loss=0.75)
    assert first.id == second.id
    assert store.journal.write(first) == first
    late = store.journal.write(second)
    assert kept(store.journal, first.id) == first
    assert (late.attempt, late.loss) == (2, 0.75)
    assert store.ingest() == 2
    assert store.journal.write(second) == late
    assert store.journal.pending() == []
    assert kept(store.journal, first.id) == first
    assert kept(store.journal, late.id) == late


def test_a_second_file_of_a_kept_name_becomes_an_attempt_of_its_own(store):
    """As a process writes it that looked before the first one came, and wrote after that was kept."""
    store.journal.write(a_record(loss=0.25))
    store.ingest()
    second = store.journal.new / f"{a_record().id}.json"
    second.write_bytes(RECORDS.seal(a_record(loss=0.75)))
    assert store.ingest() == 1
    assert store.journal.pending() == store.journal.quarantined() == []
    attempts = store.rows("select attempt, loss, error from records order by attempt")[1]
    assert attempts == [(1, 0.25, None), (2, 0.75, "came late: attempt 1 had a record by then")]
    second.write_bytes(RECORDS.seal(a_record(loss=0.75)))
    assert store.ingest() == 0
    assert len(store.journal.taken()) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"format":1,"sha', b"\xff\xfe\x00garbage", b"[1,2]\n", b"null"]
)
def test_torn_files_are_set_aside_and_hold_up_nobody(store, caplog, content):
    good = [a_record(seed) for seed in range(3)]
    for record in good:
        store.journal.write(record)
    torn = store.journal.new / f"{a_trial(9).id}-1.json"
    torn.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert store.ingest() == 3
    assert torn.name in caplog.text
    assert not torn.exists()
    assert [path.read_bytes() for path in store.journal.quarantined()] == [content]
    assert store.check().healthy


def test_a_file_of_a_wrong_name_or_format_is_set_aside(store, caplog):
    store.journal.write(a_record())
    store.ingest()
    (store.journal.new / f"{a_trial(9).id}-1.json").write_bytes(RECORDS.seal(a_record(5)))
    newer = RECORDS.seal(a_record(6)).replace(b'"format":1', b'"format":2')
    (store.journal.new / f"{a_record(6).id}.json").write_bytes(newer)
    assert store.ingest() == 0
    assert f"it holds record {a_record(5).id}" in caplog.text
    assert "its format is 2, this scalelab reads 1" in caplog.text


def test_two_torn_files_of_one_name_are_both_kept(store):
    for content in (b"one", b"two"):
        (store.journal.new / f"{a_trial(9).id}-1.json").parent.mkdir(parents=True, exist_ok=True)
        (store.journal.new / f"{a_trial(9).id}-1.json").write_bytes(content)
        store.ingest()
    assert sorted(path.read_bytes() for path in store.journal.quarantined()) == [b"one", b"two"]


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path, monkeypatch, call):
    journal = Journal(tmp_path / "x.duckdb")
    journal.write(a_record(0))

    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(StoreError, match="disk full; free some space and run again"):
            journal.write(a_record(1))
    assert not journal.has(a_record(1).id)
    assert list((journal.folder / "tmp").iterdir()) == []
    journal.write(a_record(1))
    assert len(journal.pending()) == 2


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "x.duckdb.journal").write_text("in the way")
    with pytest.raises(StoreError, match=r"x\.duckdb\.journal.* cannot be written"):
        Journal(tmp_path / "x.duckdb").write(a_record())


def test_without_hard_links_nothing_is_replaced_either(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    journal = Journal(tmp_path / "x.duckdb")
    journal.write(a_record(loss=0.25))
    content = RECORDS.seal(a_record(loss=0.75))
    journal._put(f"{a_record().id}.json", content, durable=True)
    assert kept(journal, a_record().id).loss == 0.25


def test_numbers_that_do_not_fit_are_refused_before_they_are_kept(tmp_path):
    journal = Journal(tmp_path / "x.duckdb")
    with pytest.raises(StoreError, match=r"n_params = 9223372036854775808 does not fit"):
        journal.write(a_record(n_params=2**63))
    trial = a_trial().model_copy(update={"data_seed": 2**64})
    with pytest.raises(StoreError, match="data_seed"):
        journal.write(a_record(trial))
    assert journal.pending() == []


def test_links_lead_to_one_journal(tmp_path):
    (tmp_path / "real.duckdb").touch()
    (tmp_path / "link.duckdb").symlink_to(tmp_path / "real.duckdb")
    assert Journal(tmp_path / "link.duckdb").folder == tmp_path / "real.duckdb.journal"


def test_checkpoints_and_logs_have_their_places(tmp_path):
    journal = Journal(tmp_path / "x.duckdb")
    assert journal.checkpoint("abc").parent.is_dir()
    journal.add_to_log("abc-1", "a trace")
    journal.add_to_log("abc-1", "back")
    assert journal.log("abc-1").read_text(encoding="utf-8") == "a traceback"
