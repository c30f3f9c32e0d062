"""The same source imported again: what is new or changed is taken, and nothing is there twice."""

from __future__ import annotations

import sqlite3

import pytest
from tracker_samples import OPTUNA

import scalelab
from scalelab.errors import InputError

ONE_STUDY = """
insert into studies values (1, 's');
insert into study_directions values (1, 0, 'MINIMIZE');
"""


def add(path, number, loss, state="COMPLETE"):
    with sqlite3.connect(path) as db:
        if not db.execute("select count(*) from sqlite_master").fetchone()[0]:
            db.executescript(OPTUNA + ONE_STUDY)
        db.execute("delete from trials where number = ?", [number])
        db.execute("delete from trial_values where trial_id = ?", [number + 1])
        db.execute("insert into trials values (?, ?, 1, ?, null, null)", [number + 1, number, state])
        size = str(1000 * (number + 1))
        db.execute("delete from trial_user_attributes where trial_id = ?", [number + 1])
        db.execute("insert into trial_user_attributes values (?, 'n_params', ?)", [number + 1, size])
        db.execute("insert into trial_values values (?, 0, ?, 'FINITE')", [number + 1, loss])
    db.close()


@pytest.fixture
def source(tmp_path):
    for number in range(4):
        add(tmp_path / "o.db", number, 3.0 - number / 10)
    add(tmp_path / "o.db", 4, 9.0, "RUNNING")
    return tmp_path / "o.db"


@pytest.fixture
def store(source, tmp_path):
    store = scalelab.open_store(tmp_path / "t.duckdb", create=True)
    assert scalelab.import_runs(source, store, study="t").outcome == "imported"
    return store


def losses(store):
    return store.runs("t").set_index("feature_run_id")["loss"].to_dict()


def test_nothing_new_is_unchanged(source, store):
    assert scalelab.import_runs(source, store, study="t").outcome == "unchanged"


def test_what_is_new_or_changed_is_taken(source, store):
    before = store.runs("t").set_index("feature_run_id")["trial_id"].to_dict()
    add(source, 4, 2.5)
    add(source, 5, 2.4)
    again = scalelab.import_runs(source, store, study="t")
    assert (again.outcome, again.counts) == ("updated", {"new": 1, "changed": 1, "unchanged": 4, "kept": 0})
    assert losses(store) == {"0": 3.0, "1": 2.9, "2": 2.8, "3": 2.7, "4": 2.5, "5": 2.4}
    after = store.runs("t").set_index("feature_run_id")["trial_id"].to_dict()
    assert sorted(key for key in before if before[key] == after[key]) == ["0", "1", "2", "3"]
    assert scalelab.import_runs(source, store, study="t").outcome == "unchanged"


def test_runs_that_are_gone_from_the_source_are_kept(source, store):
    before = losses(store)
    source.unlink()
    add(source, 3, 2.7)
    add(source, 7, 2.0)
    again = scalelab.import_runs(source, store, study="t")
    assert again.counts == {"new": 1, "changed": 0, "unchanged": 1, "kept": 4}
    assert {key: loss for key, loss in losses(store).items() if key != "7"} == pytest.approx(
        before, nan_ok=True
    )
    assert scalelab.import_runs(source, store, study="t").outcome == "unchanged"
    store.rebuild()
    assert len(losses(store)) == 6
    assert scalelab.import_runs(source, store, study="t", replace=True).outcome == "replaced"
    assert set(losses(store)) == {"3", "7"}


def test_runs_that_were_read_otherwise_are_not_mixed(source, store):
    with pytest.raises(InputError, match="read with another --only; take them away with --replace"):
        scalelab.import_runs(source, store, study="t", only="n_params < 3000")
    doubled = {"loss": "value * 2"}
    assert scalelab.import_runs(source, store, study="t", map=doubled).counts["changed"] == 5
    source.unlink()
    add(source, 0, 1.0)
    with pytest.raises(InputError, match=r"4 runs under the name 't' are not among.*with another --map loss"):
        scalelab.import_runs(source, store, study="t", map={"loss": "value"})
    assert losses(store)["3"] == 5.4


def test_another_source_of_the_name_is_refused(source, store, tmp_path):
    other = source.rename(tmp_path / "other.db")
    add(other, 9, 1.0)
    with pytest.raises(InputError, match="other runs under the name 't'; replace them with --replace"):
        scalelab.import_runs(other, store, study="t")


def test_a_table_with_ids_is_updated_too(tmp_path):
    path, store = tmp_path / "r.csv", scalelab.open_store(tmp_path / "t.duckdb", create=True)
    path.write_text("run_id,N,loss,state\na,10,3.0,finished\nb,20,9.0,running\n")
    scalelab.import_runs(path, store)
    path.write_text("run_id,N,loss,state\na,10,3.0,finished\nb,20,2.0,finished\nc,30,1.0,finished\n")
    assert scalelab.import_runs(path, store).counts == {"new": 1, "changed": 1, "unchanged": 1, "kept": 0}
    path.write_text("run_id,N,loss,state\na,10,3.0,finished\na,20,2.5,finished\n")
    with pytest.raises(InputError, match="other runs under the name 'r'"):
        scalelab.import_runs(path, store)


def test_another_source_of_the_same_file_name_is_refused(source, store, tmp_path):
    other = tmp_path / "p2" / "o.db"
    other.parent.mkdir()
    for number in range(4):
        add(other, number, 5.0 - number / 10)
    before = losses(store)
    with pytest.raises(
        InputError, match="other runs under the name 't'; replace them with --replace, or give"
    ):
        scalelab.import_runs(other, store, study="t")
    with sqlite3.connect(source) as db:
        db.execute("update studies set study_name = 'other'")
        db.execute("update trial_values set value = 2.0 where trial_id = 1")
    db.close()
    with pytest.raises(InputError, match="other runs under the name 't'"):
        scalelab.import_runs(source, store, study="t")
    assert losses(store) == pytest.approx(before, nan_ok=True)


def test_a_copy_of_the_source_is_the_same_one(source, store, tmp_path):
    (tmp_path / "p2").mkdir()
    moved = source.rename(tmp_path / "p2" / "o.db")
    add(moved, 4, 2.5)
    counts = {"new": 0, "changed": 1, "unchanged": 4, "kept": 0}
    assert scalelab.import_runs(moved, store, study="t").counts == counts


def test_a_place_whose_runs_were_all_made_anew_is_another_source(tmp_path):
    path, store = tmp_path / "r.csv", scalelab.open_store(tmp_path / "t.duckdb", create=True)
    path.write_text("run_id,N,loss\n0,10,3.0\n1,20,2.0\n")
    scalelab.import_runs(path, store)
    path.write_text("run_id,N,loss\n0,10,2.9\n1,20,1.9\n")
    assert scalelab.import_runs(path, store).counts["changed"] == 2
    path.write_text("run_id,N,loss\n0,30,1.8\n1,40,1.7\n")
    with pytest.raises(InputError, match="other runs under the name 'r'"):
        scalelab.import_runs(path, store)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "r.csv").write_text("run_id,N,loss\n0,10,7.0\n1,20,6.0\n2,30,5.0\n")
    with pytest.raises(InputError, match="other runs under the name 'r'"):
        scalelab.import_runs(tmp_path / "b" / "r.csv", store)
    assert sorted(store.runs("r")["loss"]) == [1.9, 2.9]


def test_a_column_that_one_run_brings_changes_no_other(tmp_path):
    path, store = tmp_path / "r.csv", scalelab.open_store(tmp_path / "t.duckdb", create=True)
    path.write_text("run_id,N,loss,k\n0,10,3.0,1\n1,20,2.0,1\n")
    scalelab.import_runs(path, store)
    path.write_text("run_id,N,loss,k,note\n0,10,3.0,1,\n1,20,2.0,0.5,x\n")
    assert scalelab.import_runs(path, store).counts == {"new": 0, "changed": 1, "unchanged": 1, "kept": 0}
    path.write_text("run_id,N,loss,k,note,none\n0,10,3.0,1,,\n1,20,2.0,0.5,x,\n")
    assert scalelab.import_runs(path, store).outcome == "unchanged"


def test_runs_that_are_kept_are_said(source, store):
    with sqlite3.connect(source) as db:
        db.execute("delete from trials where number = 2")
    db.close()
    for _ in range(2):
        again = scalelab.import_runs(source, store, study="t")
        assert (again.outcome, again.counts["kept"]) == ("unchanged", 1)
        assert again.notes[-1] == (
            "runs of an earlier import that o.db no longer has, or that were left out now, stay in the store "
            "as they were: 1 ('2'); --replace drops them"
        )
