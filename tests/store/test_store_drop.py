"""A study is taken out of a store, from the database and the journal, and comes back by no way."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_samples import a_measurement, a_record, a_trial

import scalelab.store.drop as module
from scalelab.errors import InputError, StoreLockedError
from scalelab.store import Store, open_store

TABLES = ("studies", "study_trials", "trials", "records", "curve_points", "measurements")


@pytest.fixture
def filled(store) -> Store:
    """Two studies: trials 0 and 1 of `s` alone, 2 of both, 3 of `other` alone."""
    store.register("s", "text of s", [a_trial(0), a_trial(1), a_trial(2)])
    store.register("s", "another text", [a_trial(0), a_trial(1), a_trial(2)])
    store.register("other", "text", [a_trial(2), a_trial(3)])
    for record in (a_record(0, status="failed"), a_record(0, attempt=2), a_record(1), a_record(2)):
        store.journal.write(record)
    store.journal.write(a_record(3, study="other"))
    for width, study in ((8, "s"), (16, "other")):
        store.journal.write(a_measurement(width).model_copy(update={"study": study}))
    shared = a_measurement(32)
    benchmark = shared.benchmark.model_copy(update={"weights": a_trial(2).id})
    store.journal.write(shared.model_copy(update={"benchmark": benchmark}))
    for seed in range(4):
        trial_id = a_trial(seed).id
        for path in (
            store.journal.weights(trial_id),
            store.journal.checkpoint(trial_id),
            store.journal.log(f"{trial_id}-1"),
            store.journal.reports(trial_id),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
    store.ingest()
    return store


def content(store: Store) -> dict[str, list]:
    with store.database.read() as connection:
        rows = {name: connection.execute(f"select * from {name} order by all").fetchall() for name in TABLES}
    return {name: sorted(map(repr, own)) for name, own in rows.items()}


def journal_files(store: Store) -> set[str]:
    folder = store.journal.folder
    return {
        path.name
        for name in ("new", "kept", "weights", "checkpoints", "scripts", "logs")
        for path in (folder / name).rglob("*")
        if path.is_file()
    }


def test_a_study_goes_with_all_that_only_it_has(filled):
    dropped = filled.drop("s")
    assert (dropped.trials, dropped.shared, dropped.records, dropped.measurements) == (2, 1, 3, 1)
    assert dropped.files == 8
    assert [one.study for one in filled.studies()] == ["other"]
    assert sorted(filled.runs()["trial_id"]) == sorted([a_trial(2).id, a_trial(3).id])
    gone = {a_trial(0).id, a_trial(1).id}
    assert not [name for name in journal_files(filled) if any(one in name for one in gone)]
    assert filled.journal.weights(a_trial(2).id).exists()
    assert len(filled.latencies()) == 2
    assert filled.check().healthy


def test_what_is_left_is_the_same_after_a_rebuild(filled):
    filled.drop("s")
    before = content(filled)
    filled.rebuild()
    assert content(filled) == before
    assert "text of s" not in str(before)
    filled.ingest()
    assert content(filled) == before


def test_a_trial_of_two_studies_counts_as_made_for_the_other_one(filled):
    filled.drop("s")
    (row,) = filled.sql(f"select study from records where trial_id = '{a_trial(2).id}'").values.tolist()
    assert row == ["other"]
    assert set(filled.latencies("other")["status"]) == {"ok"}


def test_a_dropped_study_can_be_run_again(filled):
    filled.drop("s")
    filled.register("s", "text of s", [a_trial(0), a_trial(2)])
    filled.journal.write(a_record(0))
    filled.ingest()
    assert {one.study: one.done for one in filled.studies()} == {"other": 2, "s": 2}


@pytest.mark.parametrize("n_removed", [0, 8, 12, 40])
@pytest.mark.parametrize("rebuilt", [False, True])
def test_a_kill_half_way_leaves_a_study_that_can_be_dropped_again(filled, monkeypatch, n_removed, rebuilt):
    class Killed(BaseException):
        pass

    twin = content(filled)
    count = 0
    remove = Path.unlink

    def unlink(path: Path, *args: object, **options: object) -> None:
        nonlocal count
        if filled.journal.folder in path.parents and path.suffix in (".json", ".pt", ".txt"):
            count += 1
            if count > n_removed:
                raise Killed
        remove(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        patch.setattr(module, "_delete", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            filled.drop("s")
    again = open_store(filled.path)
    if rebuilt:
        again.rebuild()
    assert "s" in [one.study for one in again.studies()]
    assert content(again)["curve_points"] == twin["curve_points"]
    again.drop("s")
    assert [one.study for one in again.studies()] == ["other"]
    before = content(again)
    again.rebuild()
    assert content(again) == before


def test_a_study_that_is_run_is_not_dropped(filled):
    assert filled.claims.claim(a_trial(1).id, "s", 2) is not None
    with pytest.raises(StoreLockedError, match=r"study 's' is being run by process \d+ on .*; stop the run"):
        filled.drop("s")
    assert len(filled.runs("s")) == 3
    filled.drop("other")


@pytest.mark.parametrize(
    ("name", "line"), [("othr", r"has no study 'othr'; did you mean 'other'\?; it has studies: other, s$")]
)
def test_a_name_that_is_none_is_one_line(filled, name, line):
    with pytest.raises(InputError, match=line):
        filled.drop(name)


def test_an_imported_table_is_removed_by_import(filled, tmp_path):
    from scalelab import import_runs

    (tmp_path / "t.csv").write_text("n_params,loss\n10,1.0\n20,0.5\n", encoding="utf-8")
    import_runs([tmp_path / "t.csv"], filled, study="table")
    with pytest.raises(InputError, match="scalelab import --remove table"):
        filled.drop("table")


def test_a_store_of_imported_tables_says_so(tmp_path):
    from scalelab import import_runs

    (tmp_path / "t.csv").write_text("n_params,loss\n10,1.0\n20,0.5\n", encoding="utf-8")
    store = open_store(tmp_path / "tables.duckdb", create=True)
    import_runs([tmp_path / "t.csv"], store, study="table")
    with pytest.raises(
        InputError, match=r"it has imported tables: table; scalelab import --remove NAME --store"
    ):
        store.drop("other")


def test_saying_what_would_go_changes_nothing(filled):
    before, files = content(filled), journal_files(filled)
    counted = filled.drop("s", dry_run=True)
    assert (content(filled), journal_files(filled)) == (before, files)
    assert filled.drop("s") == counted
