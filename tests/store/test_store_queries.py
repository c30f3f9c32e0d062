"""What callers and users ask, what they are told when they ask wrongly, and how fast."""

from __future__ import annotations

import json
import subprocess
import sys

import duckdb
import pandas as pd
import pytest
from store_samples import a_record, a_trial

from scalelab.errors import InputError, StoreDamagedError
from scalelab.store import Store
from scalelab.store.questions import frame


@pytest.fixture
def filled(store) -> Store:
    store.register("small", "text", [a_trial(seed) for seed in range(4)])
    for seed in range(3):
        store.journal.write(a_record(seed, study="small"))
    store.ingest()
    return store


@pytest.mark.parametrize("method", ["runs", "curves"])
def test_an_unknown_study_is_told_with_those_there_are(filled, method):
    with pytest.raises(InputError, match=r"has no study 'smal'; did you mean 'small'\? \(studies: small\)"):
        getattr(filled, method)("smal")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("selct 1", 'syntax error at or near "selct"'),
        ("select losss from runs", 'Referenced column "losss" not found.*Candidate bindings: .*"loss'),
        ("select * from runz", "Table with name runz does not exist"),
        ("delete from records", "read-only"),
        ("select cast(study as integer) from runs", "Could not convert string 'small' to INT32"),
        ("select * from 'no/such.csv'", "No files found"),
        ("", "the query is empty"),
        ("-- nothing", "the query is empty"),
    ],
)
@pytest.mark.parametrize("method", ["sql", "rows"])
def test_a_wrong_query_is_told_in_one_line(filled, query, says, method):
    with pytest.raises(InputError, match=says) as caught:
        getattr(filled, method)(query)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_broken_store_is_not_blamed_on_the_query(filled):
    content = bytearray(filled.path.read_bytes())
    filled.path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreDamagedError):
        filled.sql("select * from runs")


def test_ctrl_c_in_a_query_is_ctrl_c(store):
    """DuckDB tells of it with a RuntimeError, which must not look like a broken store."""
    with pytest.raises(KeyboardInterrupt), store.database.read():
        raise RuntimeError("Query interrupted")
    with pytest.raises(RuntimeError, match="something else"), store.database.read():
        raise RuntimeError("something else")
    assert store.outcomes() == {}


def test_results_have_the_types_of_numpy(filled):
    filled.journal.write(a_record(3, 1, "failed", study="small"))
    filled.ingest()
    runs = filled.runs("small")
    assert runs.n_params.dtype == "float64"
    assert runs.n_params.isna().sum() == 1
    assert runs.seed.dtype == "int64"
    assert runs.started_at.dtype.kind == "M"
    assert filled.sql("select n_steps from runs").n_steps.dtype == "float64"
    assert filled.rows("select n_steps, seed from runs where seed = 0") == (["n_steps", "seed"], [(30, 0)])


def test_columns_of_one_name_are_told_apart_as_in_a_dataframe(filled):
    query = "select a.seed, b.seed, a.n_steps as seed_1 from runs a join runs b using (trial_id) limit 1"
    names, rows = filled.rows(query)
    assert len(set(names)) == len(names) == len(rows[0]) == 3
    two = filled.sql(query.replace(", a.n_steps as seed_1", ""))
    assert names[:2] == list(two.columns) == ["seed", "seed_1"]


def test_outcomes_of_a_thousand_trials_need_no_pandas(store):
    trials = [a_trial(seed) for seed in range(1000)]
    store.register("s", "", trials)
    for trial in trials:
        store.journal.write(a_record(trial), durable=False)
    store.ingest()
    code = """
import json, sys
import duckdb
from scalelab.store import open_store
store = open_store(sys.argv[1])
ids = json.load(sys.stdin)
outcomes = store.outcomes(ids)
assert len(outcomes) == 1000 and all(outcome.status == "done" for outcome in outcomes.values())
print(sorted({"pandas", "numpy", "torch"} & set(sys.modules)))
"""
    ids = json.dumps([trial.id for trial in trials])
    done = subprocess.run(
        [sys.executable, "-c", code, str(store.path)], input=ids, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_export_writes_parquet_that_holds_the_same(filled, tmp_path):
    folder = tmp_path / "it's" / "out"
    files = filled.export(folder)
    assert [path.name for path in files] == [
        "runs.parquet",
        "curves.parquet",
        "trials.parquet",
        "studies.parquet",
        "latencies.parquet",
        "predictions.parquet",
    ]
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in files)
    with duckdb.connect() as connection:
        runs = connection.execute(
            "select * from read_parquet(?) order by started_at, trial_id", [str(files[0])]
        ).df()
        assert len(connection.execute("select * from read_parquet(?)", [str(files[2])]).fetchall()) == 4
    pd.testing.assert_frame_equal(runs, filled.sql("select * from runs order by started_at, trial_id"))
    assert filled.export(folder) == files


def test_export_of_one_study(filled, tmp_path):
    filled.register("other", "", [a_trial(9)])
    filled.export(tmp_path / "out", "other")
    with duckdb.connect() as connection:
        for name, count in {"runs": 0, "curves": 0, "trials": 1, "studies": 1}.items():
            path = str(tmp_path / "out" / f"{name}.parquet")
            assert len(connection.execute("select * from read_parquet(?)", [path]).fetchall()) == count
    with pytest.raises(InputError, match="has no study 'none'"):
        filled.export(tmp_path / "out", "none")


def test_export_to_a_place_that_cannot_be_written_is_told(filled, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        filled.export(tmp_path / "file" / "out")


def test_times_with_a_zone_are_returned(store):
    _, ((at,),) = store.rows("select to_timestamp(0)")
    assert at.timestamp() == 0


@pytest.mark.filterwarnings("error")
def test_a_table_of_many_columns_takes_more_without_a_warning():
    table = ", ".join(f"{n} as option_{n}" for n in range(140)) + ", unnest([1, null]) as gaps"
    with duckdb.connect() as connection:
        found = frame(connection.execute(f"select {table}"))
    for n in range(30):
        found[f"added_{n}"] = n
    assert found.shape == (2, 171)
