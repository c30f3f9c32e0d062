"""Tables from elsewhere in the store: read right, kept whatever happens, refused in one line."""

from __future__ import annotations

import json
import math
import shutil
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import a_record, a_trial

from scalelab.errors import InputError
from scalelab.store import Store, open_store, schema
from scalelab.store.foreign import opened
from scalelab.store.mapping import KNOWN_AS, TARGETS, Wanted, read_runs

TABLE = pd.DataFrame(
    {"N": [10, 20, 40], "D": [100.0, 200.0, 400.5], "loss": [3.0, 2.5, 2.25], "lr": [0.1, 0.2, 0.3]}
)


def columns_of(read) -> dict[str, list]:
    return json.loads(read.table.rows)


def read(table=TABLE, **options):
    return read_runs(table, Wanted(study="t", **options))


def written(folder, text, name="t.csv") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def refusal(action) -> str:
    """What is said where the input is refused; any other error passes."""
    try:
        action()
    except InputError as error:
        return str(error)
    return ""


def content(store: Store) -> dict[str, tuple]:
    return {name: store.rows(f"select * from {name} order by all") for name in ("runs", "imported_runs")}


def only_tables(store: Store) -> list[tuple]:
    return store.rows("select study, source, mapping, columns, n_runs from imports order by all")[1]


# Reading


def test_known_names_are_taken_and_everything_is_listed():
    result = read()
    found = {item.column: (item.expression, item.how) for item in result.mapped}
    assert found["n_params"] == ('"N"', "by name")
    assert found["n_examples"] == ('"D"', "by name")
    assert found["feature_lr"] == ('"lr"', "kept")
    assert found["dataset"] == ("'t'", "default")
    assert (result.n_rows, result.n_runs, result.statuses, result.outcome) == (3, 3, {"done": 3}, "read")
    assert set(KNOWN_AS) == set(TARGETS)


def test_expressions_conditions_and_options():
    result = read(
        map={"train_flops": "6 * N * D", "architecture": "case when N > 15 then 'big' else 'small' end"},
        only="row_number() over (order by loss desc) > 1",
        rest="optimizer",
    )
    columns = columns_of(result)
    assert columns["n_params"] == [20.0, 40.0]
    assert columns["train_flops"] == [6 * 20 * 200.0, 6 * 40 * 400.5]
    assert columns["architecture"] == ["big", "big"]
    assert [fact["optimizer_lr"] for fact in columns["extra"]] == [0.2, 0.3]


def test_products_of_whole_numbers_do_not_overflow():
    table = TABLE.assign(N=[3 * 10**9] * 3, D=[10**12] * 3)
    assert columns_of(read(table, map={"train_flops": "6 * N * D"}))["train_flops"] == [1.8e22] * 3


def test_a_column_that_an_expression_uses_is_still_known_by_its_name():
    table = TABLE.rename(columns={"D": "flops"})
    found = {item.column for item in read(table, map={"n_examples": "flops / (6 * N)"}).mapped}
    assert {"n_examples", "train_flops"} <= found
    found = {item.column for item in read(table, map={"forward_flops": "flops"}).mapped}
    assert "train_flops" not in found


def test_another_metric_than_the_loss():
    table = TABLE.rename(columns={"loss": "accuracy"})
    result = read(table, metric="accuracy", direction="maximize")
    columns = columns_of(result)
    assert columns["objective"] == [3.0, 2.5, 2.25]
    assert set(columns["metric"]) == {"accuracy"}
    assert set(columns["direction"]) == {"maximize"}
    assert "loss" not in columns
    assert any("no loss" in note for note in result.notes)


def test_a_loss_that_is_not_finite_is_an_outcome(tmp_path):
    result = read_runs(written(tmp_path, "N,loss\n1,nan\n2,inf\n3,2.5\n"), Wanted())
    assert result.statuses == {"diverged": 2, "done": 1}
    assert columns_of(result)["loss"] == [None, None, 2.5]
    assert any("diverged and left out of every fit: 2" in note for note in result.notes)


def test_repeats_are_told_unless_there_are_seeds_or_options():
    table = TABLE.assign(N=10, D=100)
    assert any("repeats: 2" in note for note in read(table).notes)
    assert read(table.assign(seed=[1, 2, 3])).notes == ()
    assert read(table, rest="optimizer").notes == ()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators(tmp_path, separator):
    text = separator.join(["N", "Val, loss" if separator != "," else '"Val, loss"']) + "\n"
    text += separator.join(["7", "2.5"]) + "\r\n"
    result = read_runs(written(tmp_path, b"\xef\xbb\xbf" + text.encode()), Wanted(map={"loss": "Val, loss"}))
    assert columns_of(result)["loss"] == [2.5]


def test_files_of_every_kind_hold_the_same_table(tmp_path):
    import duckdb

    TABLE.to_csv(tmp_path / "t.csv", index=False)
    TABLE.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    TABLE.to_json(tmp_path / "t.json", orient="records")
    duckdb.from_df(TABLE).write_parquet(str(tmp_path / "t.parquet"))
    digests = {
        read_runs(tmp_path / name, Wanted()).table.digest
        for name in ("t.csv", "t.jsonl", "t.json", "t.parquet")
    }
    assert digests == {read_runs(TABLE, Wanted(study="t")).table.digest}


def test_a_name_with_the_signs_of_a_pattern_is_one_file(tmp_path):
    written(tmp_path, "N,loss\n5,5\n", "ab.csv")
    path = written(tmp_path, "N,loss\n1,2\n", "a[b]*.csv")
    assert columns_of(read_runs(path, Wanted(study="t")))["n_params"] == [1.0]


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(finite.filter(lambda value: value > 0), finite, st.none() | finite),
        min_size=1,
        max_size=6,
    )
)
def test_numbers_arrive_bit_for_bit(tmp_path, rows):
    text = "N,loss,x\n" + "".join(f"{n!r},{loss!r},{'' if x is None else repr(x)}\n" for n, loss, x in rows)
    columns = columns_of(read_runs(written(tmp_path, text), Wanted()))
    assert columns["n_params"] == [row[0] for row in rows]
    assert columns["loss"] == [row[1] for row in rows]
    if any(row[2] is not None for row in rows):
        assert [fact["feature_x"] for fact in columns["extra"]] == [row[2] for row in rows]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text(alphabet='N,loss;"\n1.5e-|\t', max_size=60).map(str.encode))
def test_any_file_is_read_or_refused_in_one_line(tmp_path, data):
    message = refusal(lambda: read_runs(written(tmp_path, data), Wanted()))
    assert "\n" not in message


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="Nlos+-*/()'\" ;,1e_%", min_size=1, max_size=16))
def test_any_expression_is_evaluated_or_refused_in_one_line(expression):
    with opened(TABLE) as source:
        message = refusal(lambda: source.numbers("loss", expression))
        assert "\n" not in message


# Refusals


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("N,loss\n", "has no rows"),
        ("N,loss,loss\n1,2,3\n", "'loss' and 'loss', which cannot be told apart"),
        ("N,n,loss\n1,2,3\n", "'N' and 'n', which cannot be told apart"),
        ("N:loss\n1:2\n", "columns are separated by a comma, a tab, a semicolon or a |"),
        ("# from a paper\nN,loss\n1,2\n", "line 2 of t.csv does not fit: 2 values for the 1 columns"),
        ("N,loss\n1,2\n3\n", "line 3 of t.csv does not fit: 1 values for the 2 columns"),
        ('N,loss\n1,"2\n', "is a quote left open?"),
        ("N,l\xf6ss\n1,2\n".encode("latin-1"), "is not UTF-8 text"),
        ("N,loss\n1,2\n".encode("utf-16"), "is not UTF-8 text"),
        ("N,loss\nten,2\n", "row 1 of t.csv gives 'ten', not a number"),
        ("N,loss\n1,2\n0,2\n", "row 2 of t.csv: n_params = 0 must be above zero"),
        ("N,loss\n-3,2\n", "n_params = -3 must be above zero"),
        ("N,loss\ninf,2\n", "n_params = inf must be finite"),
        ("N,loss\n1,\n", 'has no loss; leave such rows out with --only'),
        ("N,D,loss\n,,1\n1,2,3\n", "row 1 of t.csv has no scale at all"),
        ("N,loss,seed\n1,2,0.5\n", "seed = 0.5 must be a whole number"),
        ("N,loss,status\n1,2,finished\n", "status 'finished' is none of done, diverged"),
        ("N,loss,status\n1,nan,done\n", "is done, but its loss is nan"),
        ("N,params,loss\n1,2,3\n", "'params' and 'N', each of which may be n_params"),
        ("N,error rate\n1,2\n", "no column named loss or val_loss"),
        ("width,loss\n1,2\n", "no scale by a known name"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_taken(tmp_path, text, says):
    with pytest.raises(InputError) as refusal:
        read_runs(written(tmp_path, text), Wanted())
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"map": {"n_parms": "N"}}, "did you mean 'n_params'"),
        ({"map": {"n_params": "NN * 2"}}, "no column 'NN'; did you mean 'N'?"),
        ({"map": {"n_params": "N +"}}, "syntax error"),
        ({"map": {"n_params": "max(N)"}}, "add over ()"),
        ({"map": {"n_params": "unnest([N, N])"}}, "it gives 6 values for 3 rows"),
        ({"map": {"n_params": "N; drop table kept"}}, "more than one statement"),
        ({"map": {"n_params": "(select count(*) from read_csv('/etc/hostname'))"}}, "no files"),
        ({"map": {"architecture": "resnet"}}, "a text stands in single quotes: 'resnet'"),
        ({"only": "loss"}, "gives DOUBLE, not true or false"),
        ({"only": "loss > 99"}, "leaves none of 3 rows"),
        ({"metric": "accuracy", "direction": "maximize"}, "has no such column"),
        ({"metric": "loss"}, "go together"),
        ({"metric": "loss", "direction": "up"}, "none of minimize, maximize"),
        ({"rest": "features"}, "did you mean 'feature'"),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_met(options, says):
    with pytest.raises(InputError) as refusal:
        read(**options)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["a b", "", "../x", "x" * 101])
def test_names_of_studies_are_those_that_a_study_may_have(name):
    with pytest.raises(InputError, match="a name has letters, digits"):
        read_runs(TABLE, Wanted(study=name))


def test_files_that_are_none(tmp_path):
    for path, says in (
        (tmp_path, "is a folder"),
        (tmp_path / "no.csv", "there is no file"),
        (written(tmp_path, "x", "t.xlsx"), "ends in none of"),
        (written(tmp_path, "x", "t.parquet"), "cannot be read"),
    ):
        with pytest.raises(InputError, match=says):
            read_runs(path, Wanted())


def test_a_dataframe_needs_a_name():
    with pytest.raises(InputError, match="a DataFrame has no file name"):
        read_runs(TABLE, Wanted())


# In the store


def test_imported_runs_are_runs(store):
    result = store.import_runs(TABLE.assign(seed=[1, 2, 3]), study="t", map={"train_flops": "6 * N * D"})
    assert result.outcome == "imported"
    runs = store.runs("t").sort_values("n_params")
    assert runs.n_params.tolist() == [10, 20, 40]
    assert runs.n_params.dtype == np.int64
    assert runs.n_examples.tolist() == [100.0, 200.0, 400.5]
    assert runs.train_flops.tolist() == [6000.0, 24000.0, 96120.0]
    assert runs.objective.tolist() == runs.loss.tolist() == [3.0, 2.5, 2.25]
    assert runs.feature_lr.tolist() == [0.1, 0.2, 0.3]
    assert set(runs.status) == {"done"}
    assert runs.trial_id.is_unique
    (summary,) = store.studies()
    assert (summary.study, summary.planned, summary.done, summary.imported_from) == ("t", 3, 3, "DataFrame")


def test_importing_again_does_nothing_and_other_runs_need_replace(store):
    store.import_runs(TABLE, study="t")
    before = store.path.read_bytes()
    assert store.import_runs(TABLE, study="t").outcome == "unchanged"
    assert store.path.read_bytes() == before
    other = TABLE.assign(loss=[1.0, 0.9, 0.8]).drop(columns="lr")
    with pytest.raises(InputError, match="replace them with --replace"):
        store.import_runs(other, study="t")
    assert store.path.read_bytes() == before
    assert store.import_runs(other, study="t", replace=True).outcome == "replaced"
    assert sorted(store.runs("t").loss) == [0.8, 0.9, 1.0]
    assert "feature_lr" not in store.runs().columns
    assert len(store.journal.imports()) == 2


def test_a_replacement_counts_though_the_clock_was_set_back(store, monkeypatch):
    store.import_runs(TABLE, study="t")
    monkeypatch.setattr("time.time", lambda: 1e9)
    store.import_runs(TABLE.assign(loss=1.0), study="t", replace=True)
    store.rebuild()
    assert set(store.runs("t").loss) == {1.0}


def test_removing(store):
    store.import_runs(TABLE, study="t")
    with pytest.raises(InputError, match=r"no imported table 'tt'; did you mean 't'\?|there are: t"):
        store.remove_import("tt")
    assert store.remove_import("t") == 3
    assert store.runs().empty
    assert store.check().healthy
    store.rebuild()
    assert store.runs().empty
    assert store.check().healthy
    assert store.import_runs(TABLE, study="t").outcome == "imported"
    assert len(store.runs("t")) == 3


def test_beside_studies_that_were_run(store):
    store.register("s", "text", [a_trial(0)])
    store.journal.write(a_record(0))
    store.ingest()
    table = TABLE.assign(architecture_width=[8.5, 9, 10], feature_stages=["x", "y", "z"])
    store.import_runs(table, study="t")
    runs = store.runs()
    assert set(runs.study) == {"s", "t"}
    kinds = dict(store.rows("select column_name, column_type from (describe runs)")[1])
    assert (kinds["architecture_width"], kinds["feature_stages"]) == ("DOUBLE", "VARCHAR")
    assert (kinds["n_params"], kinds["n_examples"]) == ("BIGINT", "DOUBLE")
    assert runs.set_index("study").architecture_width["s"] == 8
    assert [summary.study for summary in store.studies()] == ["s", "t"]
    with pytest.raises(InputError, match="has a study 's' that was run"):
        store.import_runs(TABLE, study="s")
    with pytest.raises(InputError, match="has an imported table of the name 't'"):
        store.register("t", "text", [a_trial(1)])
    with pytest.raises(InputError, match="studies: s, t"):
        store.runs("none")


def test_a_column_of_several_tables_shows_the_values_of_all(store):
    store.import_runs(TABLE.assign(Flag=True, depth=[1, 2, 3]), study="a")
    store.import_runs(TABLE.assign(flag=["x", "y", "z"], depth=[0.5, 1.5, 2.5]), study="b")
    runs = store.runs()
    assert set(runs.feature_Flag) == {"true", "x", "y", "z"}
    assert set(runs.feature_depth) == {1.0, 2.0, 3.0, 0.5, 1.5, 2.5}


def test_a_rebuilt_store_shows_the_same(store):
    store.import_runs(TABLE, study="a")
    store.import_runs(TABLE.assign(loss=1.5), study="a", replace=True)
    store.import_runs(TABLE, study="b", only="N > 10")
    before, tables = content(store), only_tables(store)
    assert store.rebuild().imports == 2
    assert content(store) == before
    assert only_tables(store) == tables
    assert store.check().healthy


def test_tables_that_only_the_database_holds_are_salvaged(store):
    table = TABLE.assign(note=["a", None, 'q"\n'], big=2**60, huge=1e22, flag=[True, False, True])
    store.import_runs(table, study="t")
    before = content(store)
    shutil.rmtree(store.journal.folder)
    assert store.check().without_journal == 1
    store.rebuild()
    assert content(store) == before
    assert store.check().without_journal == 0
    assert store.import_runs(table, study="t").outcome == "unchanged"


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_store_comes_back_from_its_journal(store, damage):
    store.import_runs(TABLE, study="t")
    before = content(store)
    if damage == "missing":
        store.path.unlink()
        assert open_store(store.path, create=True).runs("t").shape[0] == 3
    else:
        store.path.write_bytes(store.path.read_bytes()[:9000])
        store.rebuild()
    assert content(store) == before


def test_a_table_that_was_cut_off_before_the_database_is_taken_in_next(store):
    path = store.journal.write_import(read().table)
    assert store.check().pending == 1
    assert store.runs().empty
    store.ingest()
    assert len(store.runs("t")) == 3
    assert store.check().pending == 0
    assert not path.exists()
    assert store.import_runs(TABLE, study="t").outcome == "unchanged"


def test_a_torn_file_goes_to_quarantine(store):
    store.import_runs(TABLE, study="a")
    path = store.journal.write_import(read().table)
    path.write_bytes(path.read_bytes()[:-20])
    store.ingest()
    assert [file.name for file in store.journal.quarantined()] == [path.name]
    assert set(store.runs().study) == {"a"}


def test_check_sees_tables_that_are_not_whole(store):
    store.import_runs(TABLE, study="a")
    store.import_runs(TABLE, study="b")
    with store.database.write() as connection:
        connection.execute("delete from imported_runs where study = 'a' and position = 1")
        connection.execute("delete from imports where study = 'b'")
    report = store.check()
    assert report.missing_imports == ["a", "b"]
    assert "not whole in the database: a, b" in report.problems[0]
    store.rebuild()
    assert store.check().healthy


def test_an_older_store_takes_a_table_in(store, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        older.setattr(schema, "create_views", lambda connection: None)
        store.path.unlink()
        store.database.create()
    assert store.database.version() == 1
    assert store.import_runs(TABLE, study="t").outcome == "imported"
    assert store.database.version() == schema.VERSION
    assert len(store.runs("t")) == 3


def test_an_export_goes_into_another_store(store, tmp_path):
    store.register("s", "text", [a_trial(0), a_trial(1)])
    for seed in (0, 1):
        store.journal.write(a_record(seed))
    store.ingest()
    files = store.export(tmp_path / "out")
    other = open_store(tmp_path / "other.duckdb", create=True)
    other.import_runs(files[0], study="theirs")
    mine, theirs = (s.runs().sort_values("seed", ignore_index=True) for s in (store, other))
    same = ["status", "architecture", "seed", "n_params", "n_examples", "loss", "objective", "metric"]
    options = [name for name in mine if name.startswith(("architecture_", "optimizer_", "training_"))]
    for name in [*same, *options]:
        assert (
            mine[name].astype(object).where(mine[name].notna(), None).tolist()
            == theirs[name].astype(object).where(theirs[name].notna(), None).tolist()
        ), name


def test_two_who_import_one_name_at_once_do_not_mix(store):
    tables = [TABLE.assign(loss=float(k)) for k in range(1, 5)]
    outcomes: list[str] = []

    def take(table):
        try:
            outcomes.append(Store(store.path).import_runs(table, study="t").outcome)
        except InputError:
            outcomes.append("refused")

    threads = [threading.Thread(target=take, args=(table,)) for table in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["imported", "refused", "refused", "refused"]
    assert store.runs("t").loss.nunique() == 1
    assert len(store.runs("t")) == 3


def test_rows_of_one_content_have_one_id_in_every_table(store):
    twice = pd.concat([TABLE, TABLE.iloc[:1]]).assign(dataset="same")
    store.import_runs(twice, study="a")
    store.import_runs(TABLE.assign(dataset="same"), study="b")
    ids = store.runs().groupby("study").trial_id.apply(set)
    assert len(ids["a"]) == 4
    assert ids["b"] < ids["a"]
    assert not any(math.isnan(value) for value in store.runs().loss)
