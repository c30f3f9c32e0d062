"""Databases of trackers that are damaged, or hold bytes or nothing where texts and numbers belong."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tracker_samples import mlflow_database, optuna_database

from scalelab.errors import InputError
from scalelab.store.mapping import read_runs
from scalelab.store.targets import Wanted

FUZZ = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def optuna(path):
    trials = [("COMPLETE", size, [2.0], [3.0, 2.0]) for size in (1000, 4000)]
    return optuna_database(path, [*trials, ("PRUNED", 8000, [5.0], [5.0])])


def mlflow(path):
    reports = [(0, 3.0), (1, 0.0)]
    runs = [(key, "FINISHED", size, reports) for key, size in (("a", 1000), ("b", 4000))]
    return mlflow_database(path, [*runs, ("c", "KILLED", 8000, [])])


def told(path, **wanted):
    """What is said of a database: problems of its runs, or why nothing is taken; a traceback passes."""
    try:
        return "\n".join(read_runs(path, Wanted(study="t", **wanted)).problems)
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    return said


def put(path, table, column, value, row=1):
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(f"update {table} set {column} = ? where rowid = ?", [value, row])


@pytest.mark.parametrize(
    ("write", "table", "column", "value", "says"),
    [
        (optuna, "studies", "study_name", None, "has a study whose name is None, not a text"),
        (optuna, "studies", "study_name", b"\xff", r"has a study whose name is b'\xff', not a text"),
        (optuna, "trials", "state", b"x", "trial 0: its state is b'x', not a text; it was left out"),
        (optuna, "trials", "number", None, "trial None: its number is None, not a number"),
        (optuna, "trial_values", "value", b"x", "trial 0: its value is b'x', neither number nor text"),
        (optuna, "trial_params", "param_name", None, "trial 0: it has a value called None"),
        (optuna, "trial_params", "param_name", b"x", "trial 0: it has a value called b'x'"),
        (mlflow, "experiments", "name", None, "has an experiment whose name is None, not a text"),
        (mlflow, "runs", "run_uuid", b"\xff", r"its key is b'\xff', not a text"),
        (mlflow, "runs", "status", b"x", "its state is b'x', not a text"),
        (mlflow, "params", "value", b"\xff", r"its n_params is b'\xff', neither number nor text"),
        (mlflow, "params", "key", None, "run run a: it has a value called None"),
        (mlflow, "params", "key", b"x", "run run a: it has a value called b'x'"),
    ],
)  # fmt: skip
def test_what_is_no_text_costs_its_run(tmp_path, write, table, column, value, says):
    path = write(tmp_path / "x.db")
    put(path, table, column, value)
    assert says in told(path)


def columns(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        return [(name, row[1]) for name in tables for row in db.execute(f"pragma table_info({name})")]


@pytest.mark.parametrize("write", [optuna, mlflow])
@FUZZ
@given(data=st.data())
def test_any_value_anywhere_is_told_in_a_line(tmp_path_factory, write, data):
    path = write(tmp_path_factory.mktemp("spoiled") / "x.db")
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(columns(path)))
        value = data.draw(
            st.none() | st.binary(max_size=5) | st.text(max_size=5) | st.integers(-(2**63), 2**63 - 1)
            | st.floats() | st.sampled_from(["[[", "null", "{}", "[1]", '"x"', "1" * 400])
        )  # fmt: skip
        with contextlib.suppress(sqlite3.IntegrityError, UnicodeEncodeError):  # no such value can be there
            put(path, *place, value, data.draw(st.integers(1, 2)))
    told(path)


@pytest.mark.parametrize("write", [optuna, mlflow])
@FUZZ
@given(data=st.data())
def test_a_damaged_database_is_told_in_a_line(tmp_path_factory, write, data):
    path = write(tmp_path_factory.mktemp("spoiled") / "x.db")
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        whole[data.draw(st.integers(16, 4095) | st.integers(16, len(whole) - 1))] ^= data.draw(
            st.sampled_from([1, 128, 255])
        )
    path.write_bytes(whole[: data.draw(st.just(len(whole)) | st.integers(16, len(whole)))])
    told(path, kind=data.draw(st.sampled_from([None, "optuna", "mlflow-sqlite"])))


def test_a_schema_that_is_no_text_is_told_in_a_line(tmp_path):
    path = optuna(tmp_path / "x.db")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"CREATE TABLE studies", b"\xff\xfe\xff\xff\xff TABLE studies"))
    assert "x.db cannot be read: " in told(path)


def test_a_metric_of_zero_is_no_warning(tmp_path, recwarn):
    assert told(mlflow(tmp_path / "x.db")) == ""
    assert [str(one.message) for one in recwarn if one.category is RuntimeWarning] == []


def test_a_database_in_use_that_was_copied_says_where_to_put_it(tmp_path, monkeypatch):
    path = optuna(tmp_path / "x.db")

    def refuse(*_, **__):  # as SQLite does where files beside a database in WAL mode cannot be made
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    assert "copy it, with its -wal where there is one, to a folder that can be written" in told(path)
