"""Tables of tools that track runs: how a run ended is read, and its reports are its curve."""

from __future__ import annotations

import pandas as pd
import pytest
from store_samples import rows_of

import scalelab
from scalelab.errors import InputError
from scalelab.store.mapping import read_runs
from scalelab.store.targets import Wanted


def read(table, **options):
    found = read_runs(pd.DataFrame(table), Wanted(study="t", **options))
    return found, rows_of(found.table)


@pytest.mark.parametrize(
    ("column", "words", "statuses"),
    [
        ("state", ["COMPLETE", "PRUNED", "FAIL"], ["done", "interrupted", "failed"]),
        ("state", ["finished", "crashed", "killed"], ["done", "failed", "interrupted"]),
        ("status", ["TERMINATED", "ERROR", "PENDING"], ["done", "failed", "interrupted"]),
        ("status", ["FINISHED", "FAILED", "RUNNING"], ["done", "failed", "interrupted"]),
        ("done", [True, False, True], ["done", "interrupted", "done"]),
    ],
)
def test_the_words_of_trackers_are_statuses(column, words, statuses):
    found, columns = read({"N": [1, 2, 3], "loss": [3.0, 2.0, 1.0], column: words})
    assert columns["status"] == statuses
    unfinished = 3 - statuses.count("done")
    assert any(note.endswith(f"left out of every fit: {unfinished}") for note in found.notes)


def test_a_run_that_did_not_finish_needs_no_loss():
    _, columns = read({"N": [1, 2], "loss": [3.0, None], "state": ["COMPLETE", "PRUNED"]})
    assert columns["loss"] == [3.0, None]


def test_a_state_that_is_none_of_a_run_stays_a_fact():
    _, columns = read({"N": [1, 2], "loss": [3.0, 2.0], "state": ["Utah", "Ohio"]})
    assert columns["status"] == ["done", "done"]
    assert [fact["feature_state"] for fact in columns["extra"]] == ["Utah", "Ohio"]


def test_a_word_that_nobody_knows_beside_known_ones_is_refused():
    with pytest.raises(InputError, match=r"row 2 .*status 'gone' is not one of"):
        read({"N": [1, 2], "loss": [3.0, 2.0], "state": ["COMPLETE", "gone"]})


REPORTS = {
    "trial_id": ["a", "b", "a", "a"],
    "training_iteration": [2, 1, 1, 3],
    "val_loss": [2.0, 4.0, 3.0, 2.5],
    "time_total_s": [20.0, 5.0, 10.0, 30.0],
    "done": [False, True, False, True],
    "params": [100, 200, 100, 100],
}


def test_reports_of_a_run_are_one_run_with_a_curve(tmp_path):
    found, columns = read(REPORTS)
    assert (found.n_rows, found.n_runs) == (4, 2)
    # The best loss along the run and the last of everything else, in any order of the rows.
    assert columns["loss"] == [4.0, 2.0]
    assert columns["wall_seconds"] == [5.0, 30.0]
    assert columns["status"] == ["done", "done"]
    path = tmp_path / "s.duckdb"
    store = scalelab.open_store(path, create=True)
    scalelab.import_runs(pd.DataFrame(REPORTS), store, study="t")
    curves = store.curves("t")
    assert curves["step"].tolist() == [1, 2, 3]
    assert curves["loss"].tolist() == [3.0, 2.0, 2.5]
    assert curves["wall_seconds"].tolist() == [10.0, 20.0, 30.0]
    runs = store.runs("t")
    assert set(curves["trial_id"]) == set(runs.loc[runs["n_params"] == 100, "trial_id"])


def test_a_rebuild_keeps_the_curves_of_imported_runs(tmp_path):
    path = tmp_path / "s.duckdb"
    store = scalelab.open_store(path, create=True)
    scalelab.import_runs(pd.DataFrame(REPORTS), store, study="t")
    before = store.curves("t")
    store.rebuild()
    pd.testing.assert_frame_equal(scalelab.open_store(path).curves("t"), before)


def test_a_run_whose_last_report_is_not_done_was_cut_short():
    _, columns = read({**REPORTS, "done": [False] * 4})
    assert columns["status"] == ["interrupted", "interrupted"]


def test_a_run_that_ends_without_a_finite_loss_diverged():
    _, columns = read(
        {**REPORTS, "val_loss": [2.0, 4.0, 3.0, float("inf")], "done": [False, True, False, False]}
    )
    assert columns["status"] == ["done", "interrupted"]
    assert columns["loss"] == [4.0, None]


def test_a_metric_to_be_maximized_has_its_highest_value():
    table = {**REPORTS, "accuracy": [0.7, 0.1, 0.4, 0.6]}
    _, columns = read(table, metric="accuracy", direction="maximize")
    assert columns["objective"] == [0.1, 0.7]


def test_reports_that_their_step_does_not_tell_apart_are_refused():
    with pytest.raises(InputError, match=r"run a has several rows.*training_iteration"):
        read({**REPORTS, "training_iteration": [1, 1, 1, 3]})


def test_the_last_report_of_a_run_that_was_cut_short_is_no_loss():
    states = ["COMPLETE", "PRUNED", "crashed", "diverged"]
    found, columns = read({"N": [1, 2, 3, 4], "loss": [3.0, 9.0, 8.0, float("nan")], "state": states})
    assert columns["loss"] == [3.0, None, None, None]
    assert [(one.word, one.status, one.n_runs) for one in found.states] == [
        ("COMPLETE", "done", 1), ("PRUNED", "interrupted", 1), ("crashed", "failed", 1),
        ("diverged", "diverged", 1),
    ]  # fmt: skip


def test_a_run_that_was_cut_short_needs_no_size():
    _, columns = read({"N": [1, None], "loss": [3.0, None], "state": ["COMPLETE", "FAIL"]})
    assert columns["n_params"] == [1.0, None]


def test_the_state_column_of_an_export_of_weights_and_biases_is_read():
    table = {"Name": ["a", "b"], "State": ["finished", "crashed"], "Created": ["x", "y"], "Runtime": [10, 20]}
    found, columns = read(table | {"n_params": [1, 2], "val_loss": [2.0, 9.0]})
    assert (columns["status"], columns["loss"]) == (["done", "failed"], [2.0, None])
    assert columns["wall_seconds"] == [10.0, 20.0]
    assert (found.title, found.key) == ("a table of runs of Weights & Biases", "feature_Name")
