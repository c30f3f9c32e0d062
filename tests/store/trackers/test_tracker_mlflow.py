"""MLflow's folder and database: whole histories, statuses, nested and deleted runs."""

from __future__ import annotations

import math
import sqlite3

import pytest
from tracker_samples import SIZES, check_law, loss_of, mlflow_database, mlflow_folder, mlflow_run, read

import scalelab
from scalelab.errors import InputError

KEYS = [f"{at:032x}" for at in range(10)]
RUNS = [
    *((KEYS[at], "FINISHED", size, [(0, 9.0), (10, loss_of(size)), (20, loss_of(size) + 0.1)])
      for at, size in enumerate(SIZES)),
    (KEYS[6], "FAILED", 640, [(0, 5.0)]),
    (KEYS[7], "KILLED", 650, [(0, 5.0)]),
    (KEYS[8], "RUNNING", 660, [(0, 5.0)]),
    (KEYS[9], "FINISHED", 670, [(0, 5.0), (10, math.nan)]),
]  # fmt: skip
NUMBERS = {"RUNNING": 1, "SCHEDULED": 2, "FINISHED": 3, "FAILED": 4, "KILLED": 5}


@pytest.fixture(params=["database", "folder"])
def source(request, tmp_path):
    return written(request.param, tmp_path, RUNS)


def written(kind, tmp_path, runs):
    if kind == "database":
        told = [
            (key, status, n_params, [(step, None if math.isnan(v) else v) for step, v in reports])
            for key, status, n_params, reports in runs
        ]
        return mlflow_database(tmp_path / "mlflow.db", told)
    for key, status, n_params, reports in runs:
        mlflow_folder(tmp_path / "mlruns", key, NUMBERS[status], n_params, reports)
    return tmp_path / "mlruns"


def test_histories_and_states_are_read(source):
    found, rows = read(source)
    rows = rows.sort_values("feature_run_id").reset_index()
    assert (found.study, found.problems) == ("sizes", ())
    assert {(state.word, state.status, state.n_runs) for state in found.states} == {
        ("FINISHED", "done", 6), ("FINISHED", "diverged", 1), ("FAILED", "failed", 1),
        ("KILLED", "interrupted", 1), ("RUNNING", "interrupted", 1),
    }  # fmt: skip
    assert rows["loss"].tolist()[:6] == [loss_of(size) for size in SIZES], "the best of the curve"
    assert rows["loss"].isna().tolist() == [False] * 6 + [True] * 4
    assert rows["curve"][0] == {
        "loss": [9.0, loss_of(SIZES[0]), loss_of(SIZES[0]) + 0.1],
        "step": [0, 10, 20],
        "wall_seconds": [1.0, 1.001, 1.002],
    }
    assert rows["curve"][9]["loss"] == [5.0, None]
    assert rows["wall_seconds"].tolist() == [60.0] * 10
    assert rows["n_params"].tolist()[:6] == SIZES
    assert rows["feature_run_name"][0] == f"run {KEYS[0]}"


def test_the_law_is_that_of_the_numbers(source, tmp_path):
    check_law(source, tmp_path)


def test_curves_are_those_of_the_store(source, tmp_path):
    store = scalelab.open_store(tmp_path / "t.duckdb", create=True)
    scalelab.import_runs(source, store, study="t")
    curves, runs = store.curves("t"), store.runs("t")
    assert len(curves) == 6 * 3 + 3 + 2
    own = curves[curves["trial_id"] == runs.loc[runs["n_params"] == SIZES[1], "trial_id"].item()]
    assert own.sort_values("step")["loss"].tolist() == [9.0, loss_of(SIZES[1]), loss_of(SIZES[1]) + 0.1]


def test_a_step_that_was_logged_twice_is_the_last_one(tmp_path):
    reports = [(0, 9.0), (5, 3.0), (5, 2.5), (3, 4.0)]
    for kind in ("database", "folder"):
        source = written(kind, tmp_path, [(KEYS[0], "FINISHED", 10, reports)])
        assert read(source)[1]["curve"][0]["loss"] == [9.0, 4.0, 2.5]


def test_infinity_is_stored_as_the_largest_number(tmp_path):
    path = mlflow_database(tmp_path / "m.db", [(KEYS[0], "FINISHED", 10, [(0, 1.7976931348623157e308)])])
    assert read(path)[1]["status"].tolist() == ["diverged"]


def test_deleted_runs_are_left_out_and_said(tmp_path):
    path = written("database", tmp_path, RUNS[:2])
    with sqlite3.connect(path) as db:
        mlflow_run(db, "gone", "FINISHED", 10, [(0, 1.0)], stage="deleted")
    db.close()
    folder = written("folder", tmp_path, RUNS[:2])
    mlflow_folder(folder, "a" * 32, 3, 10, [(0, 1.0)], stage="deleted")
    for source, name in ((path, "run run gone"), (folder, f"1/{'a' * 32}")):
        found, rows = read(source)
        assert len(rows) == 2
        assert found.problems == (f"{name}: it was deleted in MLflow; it was left out",)


def test_a_run_without_a_loss_failed(tmp_path):
    path = written("database", tmp_path, [*RUNS[:2], ("parent", "FINISHED", 10, [])])
    found, rows = read(path)
    assert rows["status"].tolist().count("failed") == 1
    assert rows["error"].dropna().tolist() == ["it ended without a loss"]
    assert ("FINISHED", "failed", 1) in {(one.word, one.status, one.n_runs) for one in found.states}


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda run: (run / "meta.yaml").write_text("run_id: [1"), "meta.yaml is torn, or no YAML"),
        (lambda run: (run / "meta.yaml").write_text(""), "meta.yaml is empty, or torn"),
        (lambda run: (run / "meta.yaml").unlink(), "it has no meta.yaml; it was not written to its end"),
        (lambda run: (run / "meta.yaml").write_text("run_id: x\n"), "it has no status; was it written to"),
        (lambda run: (run / "meta.yaml").write_text("run_id: x\nstatus: done\n"), "its status is 'done'"),
        (lambda run: (run / "metrics" / "val_loss").write_text(""), "metrics/val_loss is empty"),
        (lambda run: (run / "metrics" / "val_loss").write_text("1 x 3"), "it cannot be read: ValueError"),
        (lambda run: (run / "metrics" / "val_loss").write_bytes(b"\xff\xfe"), "it is not UTF-8 text"),
        (lambda run: (run / "meta.yaml").write_text("a: &a 1\n" + "b: *a\n" * 40), "meta.yaml has 40 al"),
    ],
)  # fmt: skip
def test_a_half_written_run_costs_itself(tmp_path, harm, reason):
    folder = written("folder", tmp_path, RUNS)
    harm(folder / "1" / KEYS[3])
    found, rows = read(folder)
    assert len(rows) == 9
    (problem,) = found.problems
    assert problem.startswith(f"1/{KEYS[3]}: {reason}")
    assert problem.endswith("; it was left out")


def test_a_pipe_among_the_files_is_not_waited_for(tmp_path):
    import os

    folder = written("folder", tmp_path, RUNS[:3])
    os.mkfifo(folder / "1" / KEYS[0] / "params" / "pipe")
    found, rows = read(folder)
    assert len(rows) == 2
    assert "it is a pipe, not a file" in found.problems[0]


def test_a_folder_where_no_run_can_be_read_is_one_line(tmp_path):
    folder = written("folder", tmp_path, RUNS[:1])
    (folder / "1" / KEYS[0] / "meta.yaml").unlink()
    with pytest.raises(
        InputError, match=r"without any run that can be imported; 1 could not be read, such as"
    ):
        read(folder)


def test_folders_of_nobody_are_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no tracker's runs were recognized"):
        read(tmp_path / "empty")


def test_yaml_that_nothing_reads_is_one_line(tmp_path, monkeypatch):
    folder = written("folder", tmp_path, RUNS[:1])
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(
        InputError, match=r"needs the package pyyaml; run: pip install 'scalelab\[trackers\]'"
    ):
        read(folder)
