"""Opening: what is in the way is said in one line, and reading changes nothing."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import a_record, a_trial

from scalelab.errors import InputError, StoreDamagedError, StoreError, StoreLockedError, StoreNewerError
from scalelab.store import Store, open_store, schema
from scalelab.store.connection import explain

HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
connection.execute("select * from records").fetchall()
print("open", flush=True)
sys.stdin.read()
"""


class Holder:
    """Another process that has the file open."""

    def __init__(self, path: Path, mode: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout.readline() == b"open\n"

    def __enter__(self) -> Holder:
        return self

    def let_go(self) -> None:
        self.process.stdin.close()
        self.process.wait()

    def __exit__(self, *_error) -> None:
        self.let_go()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_missing_store_is_not_made(tmp_path):
    with pytest.raises(StoreError, match=r"there is no store .*x\.duckdb; `scalelab run` makes one"):
        open_store(tmp_path / "x.duckdb")
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_made_with_its_folders(tmp_path):
    store = open_store(str(tmp_path / "deep" / "er" / "x.duckdb"), create=True)
    assert store.runs().empty
    assert store.studies() == []
    assert store.outcomes() == {}
    assert open_store(store.path, create=True).check().healthy
    assert {path.name for path in store.path.parent.iterdir()} == {"x.duckdb.journal", "x.duckdb"}


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file.* cannot be (read|written): Not a directory"):
        open_store(tmp_path / "file" / "x.duckdb", create=True)


@pytest.mark.parametrize("create", [False, True])
def test_a_folder_is_no_store(tmp_path, create):
    with pytest.raises(StoreError, match="is a folder; --store wants a file"):
        open_store(tmp_path, create=create)


def _text(path):
    path.write_text("n_params,loss\n1,2\n")


def _empty(path):
    path.touch()


def _random(path):
    path.write_bytes(bytes(range(256)) * 400)


def _sqlite(path):
    connection = sqlite3.connect(path)
    connection.execute("create table t (a)")
    connection.commit()
    connection.close()


def _foreign(path):
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table mine (a integer)")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_text, "is not a DuckDB file"),
        (_empty, "is not a DuckDB file"),
        (_random, "is not a DuckDB file"),
        (_sqlite, "is not a DuckDB file"),
        (_foreign, "not a scalelab store"),
    ],
)
@pytest.mark.parametrize("create", [False, True])
def test_other_files_are_refused_and_left_alone(tmp_path, make, says, create):
    path = tmp_path / "x.duckdb"
    make(path)
    before = digest(path)
    with pytest.raises(StoreDamagedError, match=says) as caught:
        open_store(path, create=create)
    assert "\n" not in str(caught.value)
    with pytest.raises(StoreError):
        Store(path).ingest() or Store(path).register("s", "", [])
    with pytest.raises(StoreError, match="nothing to rebuild from"):
        Store(path).rebuild()
    assert digest(path) == before


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> bytes:
    store = open_store(tmp_path_factory.mktemp("sample") / "x.duckdb", create=True)
    for seed in range(20):
        store.journal.write(a_record(seed))
    store.ingest()
    return store.path.read_bytes()


@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.6, 0.99])
def test_a_truncated_store_names_the_way_out(tmp_path, sample, share):
    path = tmp_path / "x.duckdb"
    path.write_bytes(sample[: int(len(sample) * share)])
    with pytest.raises(StoreDamagedError, match=r"scalelab store rebuild --store .*x\.duckdb") as caught:
        open_store(path).runs()
    assert "\n" not in str(caught.value)
    assert not Store(path).check().healthy


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_never_gives_another_answer(tmp_path, sample, data):
    path = tmp_path / "x.duckdb"
    content = bytearray(sample)
    for _ in range(4):
        content[data.draw(st.integers(0, len(sample) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        runs = open_store(path).runs()
    except StoreError:
        return
    assert sorted(runs.loss) == [0.1 + seed / 7 for seed in range(20)]


def test_reading_does_not_change_the_file(store):
    store.register("s", "", [a_trial(0), a_trial(1)])
    store.journal.write(a_record(0))
    store.ingest()
    before, listing = digest(store.path), sorted(store.path.parent.rglob("*"))
    reader = open_store(store.path)
    reader.runs("s")
    reader.curves("s")
    reader.studies()
    reader.outcomes()
    reader.sql("select * from trials")
    reader.check()
    reader.register("s", "", [a_trial(0), a_trial(1)])
    reader.ingest()
    with pytest.raises(InputError, match="read-only"):
        reader.sql("delete from records")
    with pytest.raises(InputError, match="read-only"):
        reader.sql("create table more (a integer)")
    assert digest(store.path) == before
    assert sorted(store.path.parent.rglob("*")) == listing


def test_a_store_without_a_journal_can_be_read_and_stays_alone(tmp_path, sample):
    path = tmp_path / "x.duckdb"
    path.write_bytes(sample)
    store = open_store(path)
    assert len(store.runs()) == 20
    assert len(store.studies()) == 1
    assert store.check().without_journal == 20
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_elsewhere_is_waited_for_and_named(store):
    store.journal.write(a_record(0))
    with Holder(store.path, "write") as holder:
        with pytest.raises(
            StoreLockedError, match=rf"held by process {holder.process.pid} \(python"
        ) as caught:
            open_store(store.path, wait=0.3)
        assert "\n" not in str(caught.value)
        with pytest.raises(StoreLockedError):
            store.ingest(wait=0.1)
        assert len(store.journal.pending()) == 1
        release = threading.Timer(0.3, holder.let_go)
        release.start()
        assert store.ingest() == 1
        release.join()


def test_readers_share_and_a_writer_waits_for_them(store):
    store.journal.write(a_record(0))
    with Holder(store.path, "read") as holder:
        assert open_store(store.path, wait=0.2).runs().empty
        with pytest.raises(StoreLockedError, match=f"process {holder.process.pid}"):
            store.ingest(wait=0.2)
        release = threading.Timer(0.3, holder.let_go)
        release.start()
        assert store.ingest() == 1
        release.join()


def test_a_connection_of_ones_own_is_named(store):
    with (
        duckdb.connect(str(store.path)),
        pytest.raises(StoreLockedError, match="held by a connection in this process"),
    ):
        open_store(store.path, wait=0.1)


def test_threads_share_a_store(store):
    """Readers and writers in one process, whose DuckDB refuses mixed ways of opening one file."""
    problems = []

    def write(start):
        for seed in range(start, start + 5):
            store.journal.write(a_record(seed))
            store.ingest()

    def read():
        for _ in range(10):
            store.outcomes()

    def guarded(action, *args):
        try:
            action(*args)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=guarded, args=(write, 10 * i)) for i in range(2)]
    threads += [threading.Thread(target=guarded, args=(read,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    store.ingest()
    report = store.check()
    assert report.healthy
    assert report.rows["records"] == 10


def test_a_newer_schema_is_refused_with_the_command_that_helps(store):
    with store.database.write() as connection:
        connection.execute(
            f"insert into scalelab_schema values ({schema.VERSION + 1}, '9.9', now()::timestamp)"
        )
    store.journal.write(a_record(0))
    before = digest(store.path)
    for action in (
        store.runs,
        store.ingest,
        store.rebuild,
        store.migrate,
        store.check,
        lambda: open_store(store.path),
    ):
        with pytest.raises(StoreNewerError, match="pip install -U scalelab"):
            action()
    assert digest(store.path) == before


def test_an_older_schema_is_read_after_a_migration(store, monkeypatch):
    store.journal.write(a_record(0))
    store.ingest()
    step = "create table notes (trial_id varchar, note varchar)"
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, step])
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    before = digest(store.path)
    with pytest.raises(StoreError, match=f"run: scalelab store migrate --store {re.escape(str(store.path))}"):
        open_store(store.path)
    assert digest(store.path) == before
    assert store.migrate() == (schema.VERSION - 1, schema.VERSION)
    assert store.migrate() == (schema.VERSION, schema.VERSION)
    assert open_store(store.path).rows("select count(*) from notes")[1] == [(0,)]
    assert not Path(f"{store.path}.wal").exists()
    assert len(store.runs()) == 1


def test_whoever_writes_brings_an_older_schema_up_to_date(store, monkeypatch):
    def step(connection):
        connection.execute("create table notes (trial_id varchar)")

    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, step])
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    open_store(store.path, create=True)
    assert store.rows("select max(version) from scalelab_schema")[1] == [(schema.VERSION,)]


def test_a_migration_that_fails_changes_nothing(store, monkeypatch):
    monkeypatch.setattr(
        schema, "MIGRATIONS", [*schema.MIGRATIONS, "create table notes (a integer); select nonsense"]
    )
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with pytest.raises(StoreError):
        store.migrate()
    monkeypatch.undo()
    assert store.runs().empty
    assert "notes" not in [row[0] for row in store.rows("show tables")[1]]


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("Could not write all bytes to file x: wanted=9 wrote=0", StoreError, "disk full; free some space"),
        ("Out of Memory Error: failed to offload data block of size 256.0 KiB (90 GiB/90 GiB used). This "
         "limit was set by the 'max_temp_directory_size' setting.", StoreError, "disk full; free some space"),
        ("IO Error: Cannot open file: Permission denied", StoreError, "permission denied"),
        ("Could not write file: No space left on device", StoreError, "cannot be written: disk full"),
        ("Trying to read a database file with version 99, but we can only read versions between 64 and 68",
         StoreNewerError, "pip install -U duckdb scalelab"),
        ("Out of Memory Error: could not allocate", StoreError, "needs more memory"),
        ("IO Error: Could not fsync file: Stale file handle", StoreError, "cannot be used now"),
        ("Corrupt database file: computed checksum", StoreDamagedError, "scalelab store rebuild"),
    ],
)  # fmt: skip
def test_errors_of_duckdb_are_explained(text, kind, says):
    error = explain(duckdb.IOException(text), Path("x.duckdb"))
    assert type(error) is kind
    assert says in str(error)
    assert error.exit_code == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_store_that_may_not_be_read_is_told(store):
    store.path.chmod(0)
    with pytest.raises(StoreError, match="Permission denied"):
        open_store(store.path)


def test_any_duckdb_that_we_accept_can_read_the_file(store):
    tags = store.rows("select tags['storage_version'] from duckdb_databases() where not internal")[1]
    assert tags[0][0].startswith("v1.2.0")


INTERRUPTED = """
import os, signal, sys
from scalelab.store.connection import load_duckdb

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background has ignored

class CtrlC:
    def find_spec(self, name, *rest):
        if name == "_duckdb":
            came.append(name)
            os.kill(os.getpid(), signal.SIGINT)

came = []
sys.meta_path.insert(0, CtrlC())
try:
    load_duckdb()
except KeyboardInterrupt:
    import duckdb
    print(came, duckdb.connect().execute("select 7").fetchone())
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


def test_ctrl_c_while_duckdb_is_imported_comes_afterwards():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=True)
    assert done.stdout == "['_duckdb'] (7,)\n"
    assert not done.stderr
