"""What does not belong into a journal is set aside alone; what is good beside it is taken in."""

from __future__ import annotations

import json
import logging
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import a_measurement, a_record, a_trial, json_values, records

from scalelab.errors import StoreError
from scalelab.records import canonical_json
from scalelab.store.envelope import TornError, seal
from scalelab.store.kinds import IMPORTS, KINDS, MEASUREMENTS, RECORDS, REGISTRATIONS
from scalelab.store.registrations import Registration

ID = a_trial(9).id


def forged(**members: str) -> bytes:
    """A file of a record whose checksum is right, with other members than it should have."""
    true = RECORDS.members(a_record(9))
    return seal({**true, **members})


def but(**fields: object) -> str:
    """The JSON of a record with other fields."""
    return json.dumps({**json.loads(RECORDS.members(a_record(9))["record"]), **fields})


DEEP = "[" * 100_000 + "]" * 100_000
CASES = {
    "features list": {"features": "[1,2]"},
    "features null": {"features": "null"},
    "features deep": {"features": f'{{"a":{DEEP}}}'},
    "features nested": {"features": '{"a":[1]}'},
    "features infinite": {"features": '{"a":1e999}'},
    "trial null": {"trial": "null"},
    "trial another": {"trial": canonical_json(a_trial(8).model_dump(mode="json"))},
    "trial text": {"trial": json.dumps({**a_trial(9).model_dump(mode="json"), "n_examples": "many"})},
    "record null": {"record": "null"},
    "record empty": {"record": "{}"},
    "record more": {"record": '{}},{"a":1'},
    "record deep": {"record": f'{{"study":{DEEP}}}'},
    "loss text": {"record": but(loss="0.001")},
    "loss NaN": {"record": but(loss=float("nan"))},
    "status": {"record": but(status="wonderful")},
    "study": {"record": but(study=5)},
    "n_params": {"record": but(n_params=2**70)},
    "n_params fraction": {"record": but(n_params=1.5)},
    "curve": {"record": but(curve=["a", 1, None])},
    "curve step": {"record": but(curve=[{"step": 2**70}])},
    "metrics": {"record": but(metrics=[1])},
    "machine": {"record": but(machine="x")},
    "started": {"record": but(started_at=1e300)},
    "finished": {"record": but(finished_at=-1e18)},
    "attempt 0": {"attempt": "0"},
    "attempt 010": {"attempt": "010"},
    "attempt big": {"attempt": str(2**40)},
    "attempt true": {"attempt": "true"},
}


@pytest.mark.parametrize("case", CASES)
def test_a_forged_record_is_refused_with_a_reason(case):
    members = CASES[case]
    name = f"{ID}-{members.get('attempt', '1')}"
    with pytest.raises(TornError) as told:
        RECORDS.open(name, forged(**members))
    assert str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


def test_forged_files_are_set_aside_alone_and_check_tells(store, caplog):
    for case, members in CASES.items():
        if "attempt" not in members:
            store.journal.write(a_record(1))
            (store.journal.new / f"{ID}-1.json").write_bytes(forged(**members))
            assert not store.check().healthy, case
            store.ingest()
            assert store.journal.pending() == [], case
    assert len(store.runs()) == 1
    assert len(store.journal.quarantined()) == sum("attempt" not in members for members in CASES.values())
    assert caplog.text.count("cannot be used") == len(store.journal.quarantined())
    assert store.check().healthy


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["trial_id", "attempt", "features", "trial", "record"]),
    json_values.map(lambda value: json.dumps(value)) | st.text(max_size=30),
)
def test_any_member_may_be_anything(member, text):
    try:
        content = forged(**{member: text})
    except UnicodeEncodeError:
        return
    try:
        entry = RECORDS.open(f"{ID}-1", content)
    except TornError:
        return
    assert RECORDS.content(entry).trial.id == ID


@settings(max_examples=40, deadline=None)
@given(records())
def test_no_record_that_was_made_is_refused(record):
    assert RECORDS.content(RECORDS.open(record.id, RECORDS.seal(record))) == record


def test_fields_of_a_later_scalelab_are_no_reason_to_refuse():
    entry = RECORDS.open(f"{ID}-1", forged(record=but(later=[1], curve=[])))
    assert json.loads(entry.record)["later"] == [1]


def test_other_kinds_are_checked_too(store):
    measurement = a_measurement()
    members = MEASUREMENTS.members(measurement)
    wrong = json.dumps({**json.loads(members["measurement"]), "latency": "quick"})
    for content, says in ((wrong, "latency"), ("[]", "measurement"), (DEEP, "measurement")):
        with pytest.raises(TornError, match=says):
            MEASUREMENTS.open(measurement.id, seal({**members, "measurement": content}))
    registration = Registration(study="s", text="", registered_at=1.8e9, trials=())
    name, text = REGISTRATIONS.name_of(registration), REGISTRATIONS.seal(registration)
    assert REGISTRATIONS.open(name, text) == registration
    with pytest.raises(TornError, match="does not begin with a time"):
        REGISTRATIONS.open(f"z{name}", text)
    with pytest.raises(TornError):
        IMPORTS.open("00000000000000001-a-b", seal({"import": "[]", "rows": "{}"}))


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_text("x")


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path may have a hundred characters
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**32)


STRANGE = {
    "folder": _folder,
    "fifo": os.mkfifo,
    "socket": _socket,
    "link to nowhere": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "huge": _huge,
    "empty": lambda path: path.touch(),
}


@pytest.mark.parametrize("what", STRANGE)
@pytest.mark.parametrize("where", ["new", "kept", "claims"])
def test_what_is_no_file_is_set_aside_and_holds_up_nobody(store, caplog, what, where):
    store.journal.write(a_record(0))
    store.ingest()
    store.journal.write(a_record(1))
    folder = {"new": store.journal.new, "kept": store.journal.kept / ID[:2], "claims": store.claims.folder}
    folder[where].mkdir(parents=True, exist_ok=True)
    path = folder[where] / (f"{ID}.json" if where == "claims" else f"{ID}-1.json")
    STRANGE[what](path)
    report = store.check()
    assert not report.healthy
    assert path in report.unreadable
    with caplog.at_level(logging.WARNING):
        store.claims.reap()
        assert store.ingest() == 1
        report = store.rebuild()
    assert (report.records, report.lost) == (2, () if where != "kept" else (f"{ID}-1",))
    assert not os.path.lexists(path)
    assert any(one.name == path.name for one in store.journal.quarantined())
    assert caplog.text.count("\n") <= 2
    assert store.check().healthy


def test_a_file_that_may_not_be_read_stays_and_is_told(store, monkeypatch, caplog):
    for seed in range(2):
        store.journal.write(a_record(seed))
    closed = store.journal.new / f"{a_record(1).id}.json"
    real = os.open

    def refuse(path, *args, **options):
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert store.ingest() == 1
        assert "Permission denied; make it readable" in caplog.text
        report = store.check()
        assert report.unreadable == {closed: "Permission denied"}
        assert not report.healthy
    assert store.ingest() == 1


def test_a_kept_file_that_was_damaged_comes_back_from_the_database(store):
    for seed in range(3):
        store.journal.write(a_record(seed))
    store.ingest()
    path = next(iter(store.journal.taken()))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    report = store.check()
    assert list(report.unreadable) == [path]
    assert "scalelab store rebuild" in report.problems[0]
    rebuilt = store.rebuild()
    assert (rebuilt.records, rebuilt.salvaged, rebuilt.lost) == (3, 1, ())
    assert store.check().healthy


def test_what_could_not_be_read_again_is_not_acknowledged(store):
    record = a_record(0).model_copy(update={"started_at": 1e300})
    with pytest.raises(StoreError, match="started_at"):
        store.journal.write(record)
    assert store.journal.pending() == []


def test_every_kind_has_files_of_its_own():
    assert len({kind.suffix for kind in KINDS}) == len(KINDS)


def test_what_is_said_of_a_forged_second_file_is_one_line(store, caplog):
    store.journal.write(a_record(9))
    store.ingest()
    record = json.loads(RECORDS.members(a_record(9))["record"])
    maker = {"plugin": "a", "distribution": "b", "version": "1", "more\n": "\n"}
    more = {**record, "provenance": {"architecture": maker}}
    (store.journal.new / f"{ID}-1.json").write_bytes(forged(record=json.dumps(more)))
    with caplog.at_level(logging.WARNING):
        store.ingest()
    assert "cannot be kept as another attempt" in caplog.text
    assert all("\n" not in message for message in caplog.messages)
