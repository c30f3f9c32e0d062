"""`scalelab store …` and `scalelab export`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import duckdb
import pytest
import typer
from store_samples import a_prediction, a_record, a_trial
from typer.testing import CliRunner

from scalelab.cli.context import Context
from scalelab.cli.store import export, store_app
from scalelab.errors import InputError, StoreError
from scalelab.store import Store, open_store
from scalelab.store.export import EXPORTED
from scalelab.store.schema import VERSION


@pytest.fixture
def filled(store) -> Store:
    store.register("s", "text", [a_trial(0), a_trial(1)])
    store.journal.write(a_record(0))
    store.ingest()
    return store


def call(*arguments, code: int = 0, stdin: str = "") -> str:
    app = typer.Typer()
    app.add_typer(store_app, name="store")
    app.command()(export)
    result = CliRunner().invoke(app, list(map(str, arguments)), input=stdin, obj=Context(plain=True))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def test_check_of_a_healthy_store(filled):
    text = call("store", "check", "--store", filled.path)
    assert f"{filled.path}: healthy" in text
    assert "2 trials, 1 records, 3 curve_points" in text
    report = json.loads(call("store", "check", "--store", filled.path, "--json"))
    assert report["healthy"] is True
    assert report["rows"]["records"] == 1


def test_check_of_a_store_in_disorder(filled):
    filled.journal.write(a_record(1))
    (filled.journal.quarantine).mkdir()
    (filled.journal.quarantine / "torn.json").write_text("")
    with filled.database.write() as connection:
        connection.execute("insert into records select * from records")
    text = call("store", "check", "--store", filled.path, code=3)
    assert "NOT healthy" in text
    assert "1 entry waits in the journal, which the next run takes in" in text
    assert "torn.json" in text
    assert (
        f"problem: 1 record is in the database more than once: {a_record(0).id}; run `scalelab store" in text
    )
    filled.path.write_bytes(filled.path.read_bytes()[:5000])
    assert json.loads(call("store", "check", "--store", filled.path, "--json", code=3))["healthy"] is False


def test_rebuild(filled):
    text = call("store", "rebuild", "--store", filled.path)
    assert "1 record of 1 study, 0 salvaged" in text
    assert "set aside: " in text
    assert json.loads(call("store", "rebuild", "--store", filled.path, "--json"))["records"] == 1


def test_migrate(filled):
    assert f"already has schema {VERSION}" in call("store", "migrate", "--store", filled.path)


def test_sql(filled):
    query = "select seed, loss, error, [1, 2] as several, 'two words' as text from runs"
    text = call("store", "sql", query, "--store", filled.path)
    assert text.splitlines() == [
        "seed  loss  error  several  text",
        "   0   0.1  -      [1, 2]   two words",
    ]
    rows = json.loads(call("store", "sql", query, "--store", filled.path, "--json"))["rows"]
    assert rows == [{"seed": 0, "loss": 0.1, "error": None, "several": [1, 2], "text": "two words"}]
    table = list(csv.reader(io.StringIO(call("store", "sql", query, "--store", filled.path, "--csv"))))
    assert table == [["seed", "loss", "error", "several", "text"], ["0", "0.1", "", "[1, 2]", "two words"]]
    assert "loss" in call("store", "sql", "-", "--store", filled.path, stdin="select loss from runs")
    dates = json.loads(call("store", "sql", "select started_at from runs", "--store", filled.path, "--json"))[
        "rows"
    ]
    assert dates[0]["started_at"].startswith("2027-01-15 08:00:01")


def test_sql_shows_all_that_it_is_asked_or_refuses(filled):
    with pytest.raises(InputError, match="2 statements, of which only the last would be shown"):
        call("store", "sql", "select 1 as a; select 2 as b", "--store", filled.path)
    assert call("store", "sql", "select 2 as b;", "--store", filled.path).splitlines() == ["b", "2"]


def test_sql_writes_no_file(filled, tmp_path):
    victim, before = tmp_path / "victim", filled.path.read_bytes()
    victim.write_text("kept", encoding="utf-8")
    for target in (victim, filled.path):
        copy = f"copy (select 1) to '{target}'"
        for query in (
            copy,
            f"select 1; {copy}",
            f"explain analyze {copy}",
            f"prepare p as {copy}; execute p",
        ):
            with pytest.raises(InputError, match="the query would write a file"):
                call("store", "sql", query, "--store", filled.path)
    assert victim.read_text(encoding="utf-8") == "kept"
    assert filled.path.read_bytes() == before


@pytest.mark.parametrize(
    "query",
    [
        "select * from read_text('{file}')", "select * from '{file}'", "from glob('/etc/*')",
        "select getenv('HOME')", "attach '{folder}/new.duckdb' as new", "install httpfs", "load httpfs",
        "set enable_external_access = true", "set lock_configuration = false", "reset enable_external_access",
        "pragma profiling_output = '{folder}/new'", "set temp_directory = '{folder}/new'",
        "import database '{folder}'", "export database '{folder}/new'", "from read_parquet('http://x/y')",
        "copy (select 1) to '{folder}/new'", "copy (select 1) to '{store}.tmp/new'",
        "create macro m() as table from read_csv('{file}')", "create persistent secret s (type http)",
        "select 1; select * from read_text('{file}')", "explain analyze from read_csv('{file}')",
        "from query_table(['{file}'])", "from sniff_csv('{file}')",
        "attach '{store}' as s; create table s.t (i int)",
    ],
)  # fmt: skip
def test_sql_reaches_nothing_but_the_store(filled, tmp_path, query):
    file, folder = tmp_path / "other.csv", tmp_path / "folder"
    file.write_text("a,b\n1,2\n")
    folder.mkdir()
    Path(f"{filled.path}.tmp").mkdir()
    text = query.format(file=file, folder=folder, store=filled.path)
    with pytest.raises(InputError) as refusal:
        call("store", "sql", text, "--store", filled.path)
    assert "\n" not in str(refusal.value)
    assert list(folder.iterdir()) == list(Path(f"{filled.path}.tmp").iterdir()) == []
    assert filled.check().healthy


def test_unsafe_sql_reads_and_writes_other_files_but_not_the_store(filled, tmp_path):
    target = tmp_path / "new.csv"
    call("store", "sql", f"copy (select 1 as a) to '{target}'", "--store", filled.path, "--unsafe")
    assert target.read_text() == "a\n1\n"
    text = call("store", "sql", f"from '{target}'", "--store", filled.path, "--unsafe", "--csv")
    assert text == "a\n1\n"
    with pytest.raises(InputError, match="give --unsafe"):
        call("store", "sql", f"from '{target}'", "--store", filled.path)
    with pytest.raises(InputError, match="read-only"):
        call("store", "sql", "delete from records", "--store", filled.path, "--unsafe")


def test_merge(filled, tmp_path):
    other = open_store(tmp_path / "other.duckdb", create=True)
    other.register("s", "another text", [a_trial(0)])
    other.journal.write(a_record(0, loss=0.5))
    (other.journal.new / f"{a_record(7).id}.json").write_text("torn")
    text = call("store", "merge", other.path, "--store", filled.path)
    assert f"{filled.path}: 1 record, 1 registration new from {other.path}" in text
    assert f"{a_trial(0).id}-1 is {a_trial(0).id}-2 here" in text
    assert "study s: its file is not the same in both" in text
    assert f"nothing new in {other.path}" in call("store", "merge", other.path, "--store", filled.path)
    report = json.loads(call("store", "merge", other.path, "--store", filled.path, "--json"))
    assert (report["records"], report["renumbered"]) == (0, {})
    with pytest.raises(InputError, match="is the store"):
        call("store", "merge", filled.path, "--store", filled.path)


def test_export_needs_a_name(filled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="has no name"):
        call("export", "", "--store", filled.path)
    assert not list(tmp_path.glob("*.parquet"))


def test_a_refused_rebuild_leaves_nothing_behind(tmp_path):
    path = tmp_path / "no.duckdb"
    path.write_bytes(bytes(8) + b"DUCK" + bytes(5000))
    with pytest.raises(StoreError, match="holds nothing to rebuild from"):
        call("store", "rebuild", "--store", path)
    assert list(tmp_path.iterdir()) == [path]


def test_sql_that_is_wrong(filled):
    with pytest.raises(InputError, match="the query cannot be run"):
        call("store", "sql", "selct", "--store", filled.path)
    with pytest.raises(InputError, match="mutually exclusive"):
        call("store", "sql", "select 1", "--store", filled.path, "--json", "--csv")
    with pytest.raises(StoreError, match="there is no store"):
        call("store", "sql", "select 1", "--store", filled.path.with_name("no.duckdb"))


def test_export(filled, tmp_path):
    out = tmp_path / "out"
    assert call("export", out, "--store", filled.path).split() == [
        str(out / f"{name}.parquet") for name in EXPORTED
    ]
    filled.register("other", "", [a_trial(9)])
    filled.register_predictions([a_prediction()])
    for study, n in (("s", 1), ("other", 0)):
        files = json.loads(call("export", out, "--store", filled.path, "--study", study, "--json"))["files"]
        assert [Path(file).stem for file in files] == list(EXPORTED)
        assert len(duckdb.sql(f"from '{out / 'predictions.parquet'}'").fetchall()) == n


def test_drop_asks_or_needs_a_yes(filled):
    with pytest.raises(InputError, match=r"2 trials, 1 record of s would go from .*; add --yes to drop them"):
        call("store", "drop", "s", "--store", filled.path)
    assert len(filled.studies()) == 1
    assert "study s is dropped: 2 trials, 1 record" in call(
        "store", "drop", "s", "--yes", "--store", filled.path
    )
    assert filled.studies() == []
