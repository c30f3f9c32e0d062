"""Two stores that went apart: one takes over what the other holds, each content once."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from functools import cache
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import a_measurement, a_prediction, a_record, a_trial, merge_after_mark, records

import scalelab
from scalelab.errors import InputError, StoreDamagedError, StoreError, StoreNewerError
from scalelab.store import Store, open_store
from scalelab.store.envelope import seal
from scalelab.store.kinds import KINDS, MEASUREMENTS, RECORDS
from scalelab.store.merge import said
from scalelab.store.salvage import contents, only_in_database


@cache
def empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return open_store(Path(folder, "empty.duckdb"), create=True).path.read_bytes()


def a_store(folder: Path, name: str, *contents) -> Store:
    (folder / name).write_bytes(empty())
    store = open_store(folder / name)
    for content in contents:
        store.journal.write(content, durable=False)
    store.ingest()
    return store


def told(store: Store) -> Counter[str]:
    """What the attempts of a store say, whatever their numbers."""
    return Counter(
        said(kind, path.read_bytes())
        for kind in (RECORDS, MEASUREMENTS)
        for path in store.journal.files(kind)
    )


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_record_of_both_is_there_once(tmp_path):
    one = a_store(tmp_path, "one.duckdb", a_record(0), a_record(1), a_measurement(8))
    two = a_store(tmp_path, "two.duckdb", a_record(1), a_record(2), a_measurement(8), a_measurement(16))
    before = snapshot(tmp_path / "two.duckdb.journal")
    two.journal.write(a_record(3))  # Pending: its database does not have it.
    report = one.merge(two.path)
    assert report.counts == {"records": 2, "measurements": 1}
    assert report.renumbered == {}
    assert sorted(one.runs().seed) == [0, 1, 2, 3]
    assert len(one.latencies()) == 2
    assert one.check().healthy
    assert one.merge(two.path).counts == {}
    assert {name: snapshot(tmp_path / "two.duckdb.journal")[name] for name in before} == before
    assert len(two.journal.pending()) == 1
    one.rebuild()
    assert len(one.runs()) == 4


def test_another_attempt_of_the_same_number_is_kept_under_the_next_free_one(tmp_path):
    one = a_store(tmp_path, "one.duckdb", a_record(0, loss=0.5), a_record(0, 2, "failed"))
    two = a_store(tmp_path, "two.duckdb", a_record(0, loss=0.25), a_record(0, 2, "failed"), a_record(0, 3))
    (two.journal.folder / "logs").mkdir()
    two.journal.log(a_record(0).id).write_text("printed there")
    trial = a_trial(0).id
    report = one.merge(two.path)
    assert report.renumbered == {f"{trial}-1": f"{trial}-4"}
    assert report.records == 2
    rows = one.rows(f"select attempt, loss from records where trial_id = '{trial}' order by attempt")[1]
    assert [row[0] for row in rows] == [1, 2, 3, 4]
    assert (rows[0][1], rows[3][1]) == (0.5, 0.25)
    assert one.journal.log(f"{trial}-4").read_text() == "printed there"
    assert one.check().healthy
    again = one.merge(two.path)
    assert again.counts == {}
    assert two.merge(one.path).records == 1
    assert told(one) == told(two)


def test_a_claimed_number_is_left_to_the_attempt_under_way(tmp_path):
    one = a_store(tmp_path, "one.duckdb", a_record(0, 1, "interrupted"))
    two = a_store(tmp_path, "two.duckdb", a_record(0, 2))
    assert one.claims.claim(a_trial(0).id, "s", 2)
    assert one.merge(two.path).renumbered == {f"{a_trial(0).id}-2": f"{a_trial(0).id}-3"}


samples = st.lists(
    st.tuples(
        st.builds(
            a_record,
            st.integers(0, 2),
            st.integers(1, 3),
            st.sampled_from(["done", "failed", "interrupted"]),
            loss=st.sampled_from([0.5, 0.25]),
        )
        | st.builds(a_measurement, st.sampled_from([8, 16]), st.integers(1, 2)),
        st.sampled_from(["one", "two", "both"]),
    ),
    max_size=6,
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(samples)
def test_merging_both_ways_gives_stores_that_hold_the_same(split):
    with tempfile.TemporaryDirectory() as folder:
        where = {
            name: [content for content, side in split if side in (name, "both")] for name in ("one", "two")
        }
        one = a_store(Path(folder), "one.duckdb", *where["one"])
        two = a_store(Path(folder), "two.duckdb", *where["two"])
        apart = told(one) | told(two)
        one.merge(two.path)
        assert told(one) == apart
        two.merge(one.path)
        assert told(two) == apart
        assert one.merge(two.path).counts == {}
        assert two.merge(one.path).counts == {}
        for store in (one, two):
            held = store.rows("select count(*) from records union all select count(*) from measurements")[1]
            assert sum(row[0] for row in held) == sum(apart.values())


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(records(), min_size=1, max_size=5, unique_by=lambda record: record.id))
def test_what_a_record_says_is_the_same_from_file_and_database(samples):
    with tempfile.TemporaryDirectory() as folder:
        store = a_store(Path(folder), "one.duckdb", *samples)
        before = told(store)
        shutil.rmtree(store.journal.folder)
        two = a_store(Path(folder), "two.duckdb", *samples)
        assert two.merge(store.path).counts == {}
        assert told(two) == before
        assert store.merge(two.path).counts == {}
        assert store.check().healthy


def test_what_only_a_database_holds_is_taken_over(tmp_path):
    one = a_store(tmp_path, "one.duckdb")
    two = a_store(tmp_path, "two.duckdb", a_record(0), a_measurement(8))
    two.register("s", "text", [a_trial(0), a_trial(1)], precision="fp32")
    table = pd.DataFrame({"n_params": [1.0, 2.0], "loss": [2.0, 1.5]})
    scalelab.import_runs(table, two, study="table")
    two.register_predictions([a_prediction()])
    for kind in KINDS:
        with two.database.read() as connection:
            shutil.rmtree(two.journal.folder, ignore_errors=True)
            (start, names), *_ = only_in_database(connection, two.journal, kind)
            assert [name for name, _ in contents(connection, kind, start, names)] == names
    report = one.merge(two.path)
    assert report.counts == {
        "records": 1,
        "registrations": 1,
        "imported tables": 1,
        "measurements": 1,
        "predictions": 1,
    }
    assert one.merge(two.path).counts == {}
    assert one.study("s").text == "text"
    assert len(one.runs("table")) == 2
    assert one.check().healthy
    assert not two.journal.folder.exists()


def test_a_journal_alone_is_enough(tmp_path):
    one = a_store(tmp_path, "one.duckdb")
    two = a_store(tmp_path, "two.duckdb", a_record(0))
    two.register("s", "text", [a_trial(0)])
    two.path.unlink()
    assert one.merge(two.path).counts == {"records": 1, "registrations": 1}
    assert not two.path.exists()


def test_the_study_that_was_run_last_holds_and_both_versions_are_files(tmp_path):
    one, two = (a_store(tmp_path, name) for name in ("one.duckdb", "two.duckdb"))
    one.register("s", "earlier", [a_trial(0)])
    two.register("s", "later", [a_trial(1)])
    for first, second in ((one, two), (two, one)):
        report = first.merge(second.path)
        assert report.changed == ["s"] or first is two
        assert first.study("s").text == "later"
        assert first.rows("select trial_id, planned from study_trials order by planned")[1] == [
            (a_trial(0).id, False),
            (a_trial(1).id, True),
        ]
        assert len(list((first.journal.kept / "studies").iterdir())) == 2
        assert first.check().healthy


def table(*losses: float) -> pd.DataFrame:
    return pd.DataFrame({"n_params": [float(2**i) for i in range(len(losses))], "loss": losses})


def test_imported_tables_of_one_name(tmp_path):
    one, two = (a_store(tmp_path, name) for name in ("one.duckdb", "two.duckdb"))
    scalelab.import_runs(table(2, 1), one, study="t")
    scalelab.import_runs(table(2, 1), two, study="t")
    assert one.merge(two.path).counts == {}
    scalelab.import_runs(table(3, 2, 1), two, study="t", replace=True)
    report = one.merge(two.path)  # A later version of what is here is no contradiction.
    assert (report.imports, report.replaced) == (2, ["t"])
    assert sorted(one.runs("t").loss) == [1, 2, 3]
    scalelab.import_runs(table(5), one, study="t", replace=True)
    scalelab.import_runs(table(6), two, study="t", replace=True)
    one.journal.write(a_record(9))
    before = snapshot(one.journal.kept / "imports")
    with pytest.raises(InputError, match="different imported tables 't'; with --replace"):
        one.merge(two.path)
    assert snapshot(one.journal.kept / "imports") == before
    for first, second in ((one, two), (two, one)):
        first.merge(second.path, replace=True)
        assert list(first.runs("t").loss) == [6]
        assert first.check().healthy
        assert first.merge(second.path).counts == {}


def test_a_table_that_was_removed_later_stays_removed(tmp_path):
    one, two = (a_store(tmp_path, name) for name in ("one.duckdb", "two.duckdb"))
    scalelab.import_runs(table(2, 1), one, study="t")
    two.merge(one.path)
    one.remove_import("t")
    assert one.merge(two.path).counts == {}
    assert one.studies() == []
    assert two.merge(one.path).imports == 1
    assert two.studies() == []


def test_a_name_that_means_different_things_is_refused_before_anything_changes(tmp_path):
    one, two = (a_store(tmp_path, name) for name in ("one.duckdb", "two.duckdb"))
    one.register("s", "text", [a_trial(0)])
    two.journal.write(a_record(5, study="another"))
    with pytest.raises(InputError, match="was run, not imported"):
        scalelab.import_runs(table(2, 1), one, study="s")
    scalelab.import_runs(table(2, 1), two, study="s")
    for first, second in ((one, two), (two, one)):
        before = first.rows("select count(*) from records")[1]
        with pytest.raises(InputError, match=r"'s' is a study that was run in \S+one\.duckdb"):
            first.merge(second.path)
        assert first.rows("select count(*) from records")[1] == before


def test_weights_checkpoints_and_logs_are_copied_where_they_are_lacking(tmp_path):
    one = a_store(tmp_path, "one.duckdb", a_record(0))
    two = a_store(tmp_path, "two.duckdb", a_record(1), a_record(2, 1, "interrupted"))
    for store, text in ((one, "here"), (two, "there")):
        for folder in ("weights", "logs"):
            (store.journal.folder / folder).mkdir()
        for seed in range(3):
            store.journal.checkpoint(a_trial(seed).id).write_text(text)
        store.journal.weights(a_trial(0).id).write_text(text)
    one.journal.checkpoint(a_trial(2).id).unlink()
    one.journal.checkpoint(a_trial(1).id).unlink()
    two.journal.weights(a_trial(1).id).write_text("there")
    two.journal.log("bench-fast").write_text("printed")
    os.mkfifo(two.journal.weights("a-fifo"))
    report = one.merge(two.path)
    assert (report.weights, report.checkpoints, report.logs) == (1, 1, 1)
    assert one.journal.weights(a_trial(0).id).read_text() == "here"
    assert one.journal.weights(a_trial(1).id).read_text() == "there"
    # The trial of seed 1 is done: nobody goes on with its checkpoint.
    assert not one.journal.checkpoint(a_trial(1).id).exists()
    assert one.journal.checkpoint(a_trial(2).id).read_text() == "there"
    assert one.merge(two.path).counts == {}


def test_files_that_cannot_be_read_are_left_where_they_are(tmp_path):
    one = a_store(tmp_path, "one.duckdb")
    two = a_store(tmp_path, "two.duckdb", a_record(0))
    torn = two.journal.new / f"{a_record(1).id}.json"
    torn.write_bytes(b'{"format":1,"sha')
    (two.journal.new / "not-a-number.json").write_bytes(b"{}")
    report = one.merge(two.path)
    assert report.records == 1
    assert list(report.unreadable) == [torn]
    assert torn.exists()


def test_a_damaged_attempt_of_the_store_itself_is_named_with_what_helps(tmp_path):
    one = a_store(tmp_path, "one.duckdb", a_record(0))
    two = a_store(tmp_path, "two.duckdb", a_record(0), a_record(1))
    kept = one.journal.find(a_record(0).id, RECORDS)
    assert kept is not None
    kept.write_bytes(kept.read_bytes()[:40])
    with pytest.raises(StoreDamagedError, match=rf"{a_trial(0).id} .*truncated.*store rebuild") as refusal:
        one.merge(two.path)
    assert "\n" not in str(refusal.value)
    one.rebuild()
    one.merge(two.path)
    assert sorted(one.runs().seed) == [0, 1]


def test_a_forged_attempt_with_half_a_character_is_compared_like_any_other(tmp_path):
    one = a_store(tmp_path, "one.duckdb", a_record(0))
    two = a_store(tmp_path, "two.duckdb", a_record(0))
    kept = two.journal.find(a_record(0).id, RECORDS)
    assert kept is not None
    texts = [member.text for member in RECORDS.unsealed(kept.read_bytes())]
    *first, last = texts
    forged = json.dumps({**json.loads(last), "device": "\ud800"})
    kept.write_bytes(seal(dict(zip(RECORDS.keys, [*first, forged], strict=True))))
    assert one.merge(two.path).records <= 1
    assert one.check().healthy


@pytest.mark.parametrize("kind", ["itself", "a link", "a folder", "a fifo", "text", "no store", "nothing"])
def test_what_is_no_other_store_is_refused(tmp_path, kind):
    store = a_store(tmp_path, "one.duckdb", a_record(0))
    path = tmp_path / "other"
    if kind == "itself":
        path = store.path
    elif kind == "a link":
        path.hardlink_to(store.path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a fifo":
        os.mkfifo(path)
    elif kind == "text":
        path.write_text("not a database, whatever it may be")
    elif kind == "no store":
        duckdb.connect(str(path)).close()
    with pytest.raises((InputError, StoreError)) as refusal:
        scalelab.merge_stores(store, path)
    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)
    if kind not in ("itself", "a link"):
        with pytest.raises((InputError, StoreError)):
            scalelab.merge_stores(tmp_path / "missing.duckdb", path)
        assert not (tmp_path / "missing.duckdb").exists()


def test_other_schemas_and_locks_are_refused_with_what_helps(tmp_path, spawn):
    store = a_store(tmp_path, "one.duckdb")
    other = a_store(tmp_path, "two.duckdb", a_record(0))
    with duckdb.connect(str(other.path)) as connection:
        connection.execute("insert into scalelab_schema values (999, '9', null)")
    with pytest.raises(StoreNewerError, match="pip install -U scalelab"):
        store.merge(other.path)
    with duckdb.connect(str(other.path)) as connection:
        connection.execute("delete from scalelab_schema where version > 9")
    with pytest.raises(StoreError, match=r"scalelab store migrate --store \S+two\.duckdb"):
        store.merge(other.path)


def test_a_merge_that_is_killed_is_completed_by_the_next(tmp_path, spawn):
    contents = [a_record(seed, loss=0.5) for seed in range(150)] + [a_record(0, 2, "failed")]
    two = a_store(tmp_path, "two.duckdb", *contents)
    two.register("s", "text", [a_trial(seed) for seed in range(200)])
    (two.journal.folder / "weights").mkdir()
    for seed in range(5):
        two.journal.weights(a_trial(seed).id).write_bytes(bytes(10_000))
    # Half of the numbers are taken by other attempts.
    one = a_store(tmp_path, "one.duckdb", *(a_record(seed, loss=0.25) for seed in range(75)))
    apart = told(one) | told(two)
    start = tmp_path / "start.duckdb"
    shutil.copy(one.path, start)
    shutil.copytree(one.journal.folder, f"{start}.journal")
    dice = random.Random(0)
    for kill in range(4):
        target = tmp_path / f"target-{kill}.duckdb"
        shutil.copy(start, target)
        shutil.copytree(f"{start}.journal", f"{target}.journal")
        mark = tmp_path / f"mark-{kill}"
        process = spawn(merge_after_mark, str(target), str(two.path), str(mark))
        while not mark.exists():
            time.sleep(0.001)
        time.sleep(dice.random() * 0.4)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        store = open_store(target, create=True)
        store.merge(two.path)
        assert told(store) == apart
        assert store.check().healthy
        assert store.check().pending == 0
        ids = [f"{t}-{n}" for t, n in store.rows("select trial_id, attempt from records")[1]]
        assert len(ids) == len(set(ids)) == 226
        assert len(list((store.journal.folder / "weights").glob("*.pt"))) == 5
        assert store.merge(two.path).counts == {}
