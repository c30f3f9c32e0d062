"""Several tables as one: every row of one belongs to a row of the other, or the import is refused."""

from __future__ import annotations

import pandas as pd
import pytest
from store_samples import rows_of

from scalelab.errors import InputError
from scalelab.store.mapping import read_runs
from scalelab.store.targets import Wanted

RUNS = pd.DataFrame({"run_id": ["a", "b", "c"], "loss": [3.0, 2.0, 1.0], "note": ["x", "y", "z"]})
SIZES = pd.DataFrame({"Run_ID": ["c", "a", "b"], "n_params": [30, 10, 20], "note": ["u", "v", "w"]})


def read(*tables, **options):
    found = read_runs(list(tables), Wanted(study="t", **options))
    return found, rows_of(found.table)


def test_rows_of_one_key_are_one_row():
    found, rows = read(RUNS, SIZES, join="run_id")
    assert (rows["n_params"], rows["loss"]) == ([10, 20, 30], [3.0, 2.0, 1.0])
    assert [fact["feature_note_2"] for fact in rows["extra"]] == ["v", "w", "u"]
    assert any("it is called 'note_2' here" in note for note in found.notes)


def test_three_tables_are_joined(tmp_path):
    RUNS.to_csv(tmp_path / "runs.csv", index=False)
    SIZES.to_json(tmp_path / "sizes.jsonl", orient="records", lines=True)
    lengths = pd.DataFrame({"run_id": ["b", "c", "a"], "tokens": [2, 3, 1]})
    _, rows = read(tmp_path / "runs.csv", tmp_path / "sizes.jsonl", lengths, join="run_id")
    assert rows["n_examples"] == [1, 2, 3]


def test_numbers_and_texts_are_the_same_keys():
    one = pd.DataFrame({"k": [1, 2], "loss": [3.0, 2.0]})
    other = pd.DataFrame({"k": ["2", "1"], "N": [20, 10]})
    assert read(one, other, join="k")[1]["n_params"] == [10, 20]


def test_numbers_with_and_without_a_point_are_the_same_keys(tmp_path):
    one = pd.DataFrame({"k": [1, 2], "loss": [3.0, 2.0]})
    assert read(one, pd.DataFrame({"k": [2.0, 1.0], "N": [20, 10]}), join="k")[1]["n_params"] == [10, 20]
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text('{"k": "2", "N": 20}\n{"k": 1, "N": 10}\n')
    assert read(one, mixed, join="k")[1]["n_params"] == [10, 20]
    halves = pd.DataFrame({"k": [1.5, 2.0], "loss": [3.0, 2.0]})
    with pytest.raises(InputError, match=r"rows of DataFrame have no row in mixed.jsonl: '1.5'"):
        read(halves, mixed, join="k")


def test_files_of_one_name_are_told_apart(tmp_path):
    for folder, text in (("a", "k,loss\n1,2\n"), ("b", "k,N\n2,5\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text(text)
    with pytest.raises(InputError, match=r"rows of .*/a/t.csv have no row in .*/b/t.csv: '1'"):
        read(tmp_path / "a" / "t.csv", tmp_path / "b" / "t.csv", join="k")


def test_of_runs_of_a_tracker_only_their_own_columns_are_named(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,val_loss\n0,1,3.5\n")
    with pytest.raises(InputError) as error:
        read(tmp_path / "metrics.csv", SIZES, join="run of loaded_0")
    assert "metrics.csv has no such column" in str(error.value)
    assert "loaded" not in str(error.value).replace("join run of loaded_0", "")


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ([], {}, "there is nothing to import; give a DataFrame, a file, a folder, or a list of these"),
        (None, {}, "NoneType is no table; give a DataFrame"),
        (5, {}, "int is no table"),
        (RUNS["loss"], {}, "Series is no table"),
        ((row for row in ()), {}, "generator is no table"),
        (RUNS, {"kind": "optuna"}, "kind 'optuna' is said of a file or folder; drop it"),
        (RUNS, {"experiment": "x"}, "experiment 'x' is said of a file or folder"),
    ],
)
def test_what_is_no_table_is_one_line(table, options, message):
    with pytest.raises(InputError, match=message):
        read_runs(table, Wanted(study="t", **options))


def test_the_text_of_an_object_of_python_says_how_to_export_it(tmp_path):
    (tmp_path / "t.csv").write_text("loss,config\n1.5,\"{'n_params': 5}\"\n")
    with pytest.raises(InputError, match=r"Python's text of an object; export JSON lines: frame.to_json"):
        read(tmp_path / "t.csv", map={"n_params": "config->>'$.n_params'"})


def test_a_chart_alone_asks_for_its_table_of_runs(tmp_path):
    (tmp_path / "c.csv").write_text("Step,a - val_loss,a - val_loss__MIN,a - val_loss__MAX\n1,2.5,2.5,2.5\n")
    with pytest.raises(InputError, match=r"in the table of runs: import CHART.csv RUNS.csv --join Name"):
        read(tmp_path / "c.csv")


def test_reports_are_joined_with_what_their_runs_are():
    reports = pd.DataFrame(
        {"trial_id": ["a", "a", "b"], "training_iteration": [1, 2, 1], "val_loss": [3.0, 2.0, 4.0]}
    )
    sizes = pd.DataFrame({"trial_id": ["a", "b"], "params": [10, 20]})
    _, rows = read(reports, sizes, join="trial_id")
    assert (rows["n_params"], rows["loss"]) == ([10, 20], [2.0, 4.0])


@pytest.mark.parametrize(
    ("tables", "join", "message"),
    [
        ((RUNS,), "run_id", "there is DataFrame alone; name the other files, too"),
        ((RUNS, SIZES), None, "say which column joins their rows: --join KEY"),
        ((RUNS, SIZES), "loss", r"join loss: DataFrame 2 has no such column \(columns: Run_ID, "),
        ((RUNS, SIZES.iloc[:2]), "run_id", "rows of DataFrame 1 have no row in DataFrame 2: 'b'"),
        ((RUNS.iloc[:1], SIZES), "run_id", "rows of DataFrame 2 have no row in DataFrame 1: 'b', 'c'"),
        ((RUNS, pd.concat([SIZES, SIZES])), "run_id", "have the same one: 'a', 'b', 'c'; leave all but"),
        ((pd.concat([RUNS, RUNS]), SIZES), "run_id", "several rows of DataFrame 1 have the same one: 'a'"),
        ((RUNS.assign(run_id=["a", None, "c"]), SIZES), "run_id", "1 rows of DataFrame 1 have no run_id"),
    ],
)  # fmt: skip
def test_keys_that_do_not_fit_are_one_line(tables, join, message):
    with pytest.raises(InputError, match=message):
        read(*tables, join=join)
