"""Tables from elsewhere in the store: kept whatever happens."""

from __future__ import annotations

import math
import shutil
import threading

import numpy as np
import pandas as pd
import pytest
from store_samples import a_record, a_trial

from scalelab.errors import InputError
from scalelab.store import Store, open_store, schema
from scalelab.store.kinds import IMPORTS
from scalelab.store.mapping import read_runs
from scalelab.store.targets import Wanted

TABLE = pd.DataFrame(
    {"N": [10, 20, 40], "D": [100.0, 200.0, 400.5], "loss": [3.0, 2.5, 2.25], "lr": [0.1, 0.2, 0.3]}
)


def read(table=TABLE, **options):
    return read_runs(table, Wanted(study="t", **options))


def take(store, table, *, replace=False, **wanted):
    return store.take_import(read_runs(table, Wanted(**wanted)), replace=replace)


def content(store: Store) -> dict[str, tuple]:
    return {name: store.rows(f"select * from {name} order by all") for name in ("runs", "imported_runs")}


def only_tables(store: Store) -> list[tuple]:
    return store.rows("select study, source, mapping, columns, n_runs from imports order by all")[1]


def test_imported_runs_are_runs(store):
    result = take(store, TABLE.assign(seed=[1, 2, 3]), study="t", map={"train_flops": "6 * N * D"})
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
    take(store, TABLE, study="t")
    before = store.path.read_bytes()
    assert take(store, TABLE, study="t").outcome == "unchanged"
    assert store.path.read_bytes() == before
    other = TABLE.assign(loss=[1.0, 0.9, 0.8]).drop(columns="lr")
    with pytest.raises(InputError, match="replace them with --replace"):
        take(store, other, study="t")
    assert store.path.read_bytes() == before
    assert take(store, other, study="t", replace=True).outcome == "replaced"
    assert sorted(store.runs("t").loss) == [0.8, 0.9, 1.0]
    assert "feature_lr" not in store.runs().columns
    assert len(store.journal.files(IMPORTS)) == 2


def test_a_replacement_counts_though_the_clock_was_set_back(store, monkeypatch):
    take(store, TABLE, study="t")
    monkeypatch.setattr("time.time", lambda: 1e9)
    take(store, TABLE.assign(loss=1.0), study="t", replace=True)
    store.rebuild()
    assert set(store.runs("t").loss) == {1.0}


def test_removing(store):
    take(store, TABLE, study="t")
    with pytest.raises(InputError, match=r"no imported table 'tt'; did you mean 't'\?|there are: t"):
        store.remove_import("tt")
    assert store.remove_import("t") == 3
    assert store.runs().empty
    assert store.check().healthy
    store.rebuild()
    assert store.runs().empty
    assert store.check().healthy
    assert take(store, TABLE, study="t").outcome == "imported"
    assert len(store.runs("t")) == 3


def test_beside_studies_that_were_run(store):
    store.register("s", "text", [a_trial(0)])
    store.journal.write(a_record(0))
    store.ingest()
    table = TABLE.assign(architecture_width=[8.5, 9, 10], feature_stages=["x", "y", "z"])
    take(store, table, study="t")
    runs = store.runs()
    assert set(runs.study) == {"s", "t"}
    kinds = dict(store.rows("select column_name, column_type from (describe runs)")[1])
    assert (kinds["architecture_width"], kinds["feature_stages"]) == ("DOUBLE", "VARCHAR")
    assert (kinds["n_params"], kinds["n_examples"]) == ("BIGINT", "DOUBLE")
    assert runs.set_index("study").architecture_width["s"] == 8
    assert [summary.study for summary in store.studies()] == ["s", "t"]
    with pytest.raises(InputError, match="has a study 's' that was run"):
        take(store, TABLE, study="s")
    with pytest.raises(InputError, match="has an imported table of the name 't'"):
        store.register("t", "text", [a_trial(1)])
    with pytest.raises(InputError, match="studies: s, t"):
        store.runs("none")


def test_a_column_of_several_tables_shows_the_values_of_all(store):
    take(store, TABLE.assign(Flag=True, depth=[1, 2, 3]), study="a")
    take(store, TABLE.assign(flag=["x", "y", "z"], depth=[0.5, 1.5, 2.5]), study="b")
    runs = store.runs()
    assert set(runs.feature_Flag) == {"true", "x", "y", "z"}
    assert set(runs.feature_depth) == {1.0, 2.0, 3.0, 0.5, 1.5, 2.5}


def test_a_rebuilt_store_shows_the_same(store):
    take(store, TABLE, study="a")
    take(store, TABLE.assign(loss=1.5), study="a", replace=True)
    take(store, TABLE, study="b", only="N > 10")
    before, tables = content(store), only_tables(store)
    assert store.rebuild().imports == 2
    assert content(store) == before
    assert only_tables(store) == tables
    assert store.check().healthy


def test_tables_that_only_the_database_holds_are_salvaged(store):
    table = TABLE.assign(note=["a", None, 'q"\n'], big=2**60, huge=1e22, flag=[True, False, True])
    take(store, table, study="t")
    before = content(store)
    shutil.rmtree(store.journal.folder)
    assert store.check().without_journal == 1
    store.rebuild()
    assert content(store) == before
    assert store.check().without_journal == 0
    assert take(store, table, study="t").outcome == "unchanged"


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_store_comes_back_from_its_journal(store, damage):
    take(store, TABLE, study="t")
    before = content(store)
    if damage == "missing":
        store.path.unlink()
        assert open_store(store.path, create=True).runs("t").shape[0] == 3
    else:
        store.path.write_bytes(store.path.read_bytes()[:9000])
        store.rebuild()
    assert content(store) == before


def test_a_table_that_was_cut_off_before_the_database_is_taken_in_next(store):
    path = store.journal.place(store.journal.write(read().table))
    assert store.check().pending == 1
    assert store.runs().empty
    store.ingest()
    assert len(store.runs("t")) == 3
    assert store.check().pending == 0
    assert not path.exists()
    assert take(store, TABLE, study="t").outcome == "unchanged"


def test_a_torn_file_goes_to_quarantine(store):
    take(store, TABLE, study="a")
    path = store.journal.place(store.journal.write(read().table))
    path.write_bytes(path.read_bytes()[:-20])
    store.ingest()
    assert [file.name for file in store.journal.quarantined()] == [path.name]
    assert set(store.runs().study) == {"a"}


def test_check_sees_tables_that_are_not_whole(store):
    take(store, TABLE, study="a")
    take(store, TABLE, study="b")
    with store.database.write() as connection:
        connection.execute("delete from imported_runs where study = 'a' and position = 1")
        connection.execute("delete from imports where study = 'b'")
    report = store.check()
    assert report.missing["imports"] == ["a", "b"]
    assert "incomplete there: a, b" in report.problems[0]
    store.rebuild()
    assert store.check().healthy


def test_an_older_store_takes_a_table_in(store, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        older.setattr(schema, "create_views", lambda connection: None)
        store.path.unlink()
        store.database.create()
    assert store.database.version() == 1
    assert take(store, TABLE, study="t").outcome == "imported"
    assert store.database.version() == schema.VERSION
    assert len(store.runs("t")) == 3


def test_an_export_goes_into_another_store(store, tmp_path):
    store.register("s", "text", [a_trial(0), a_trial(1)])
    for seed in (0, 1):
        store.journal.write(a_record(seed))
    store.ingest()
    files = store.export(tmp_path / "out")
    other = open_store(tmp_path / "other.duckdb", create=True)
    take(other, files[0], study="theirs")
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

    def take_one(table):
        try:
            outcomes.append(take(Store(store.path), table, study="t").outcome)
        except InputError:
            outcomes.append("refused")

    threads = [threading.Thread(target=take_one, args=(table,)) for table in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["imported", "refused", "refused", "refused"]
    assert store.runs("t").loss.nunique() == 1
    assert len(store.runs("t")) == 3


def test_rows_of_one_content_have_one_id_in_every_table(store):
    twice = pd.concat([TABLE, TABLE.iloc[:1]]).assign(dataset="same")
    take(store, twice, study="a")
    take(store, TABLE.assign(dataset="same"), study="b")
    ids = store.runs().groupby("study").trial_id.apply(set)
    assert len(ids["a"]) == 4
    assert ids["b"] < ids["a"]
    assert not any(math.isnan(value) for value in store.runs().loss)
