"""docs/store.md and the schema say the same, and its queries run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from store_samples import a_measurement, a_prediction, a_record, a_trial

from scalelab.store import open_store
from scalelab.store.check import TABLES
from scalelab.store.claims import HEARTBEAT_LIMIT
from scalelab.store.fleet import Fleet
from scalelab.store.parameters import PREFIXES
from scalelab.store.store import WAIT

PAGE = (Path(__file__).parents[2] / "docs" / "store.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = open_store(tmp_path_factory.mktemp("docs") / "x.duckdb", create=True)
    store.register("s", "", [a_trial(seed) for seed in range(4)])
    for seed in range(2):
        store.journal.write(a_record(seed))
    store.journal.write(a_record(2, 1, "failed"))
    for precision in ("f32", "int8"):
        store.journal.write(a_measurement(precision=precision))
    store.ingest()
    store.register_predictions([a_prediction()])
    return store


def documented() -> dict[str, list[tuple[str, str]]]:
    sections = re.split(r"^### `(\w+)`$", PAGE, flags=re.MULTILINE)[1:]
    found = {}
    for name, text in zip(sections[::2], sections[1::2], strict=True):
        first_table = re.split(r"\n\n(?!\|)", text[text.index("| column |") :])[0]
        found[name] = re.findall(r"^\| `(\w+)` \| (\w+) \|", first_table, re.MULTILINE)
    return found


def test_every_table_view_and_column_is_documented(store):
    rows = store.rows(
        "select table_name, column_name, data_type from duckdb_columns() where not internal "
        "order by table_name, column_index"
    )[1]
    schema: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in rows:
        # Columns that plugins bring are documented as a family.
        of_plugins = column.startswith(tuple(f"{prefix}_" for prefix in PREFIXES))
        if not of_plugins and column not in ("test_accuracy", "test_auroc"):
            schema.setdefault(table, []).append((column, kind))
    assert documented() == schema
    assert set(TABLES) == set(schema) - {"runs", "curves", "best_attempts", "latencies"}


def test_every_family_of_columns_is_documented():
    for prefix in PREFIXES:
        assert re.search(rf"^\| `{prefix}_<(option|name)>` \|", PAGE, re.MULTILINE), prefix


def test_limits_are_those_of_the_code():
    assert f"younger than {HEARTBEAT_LIMIT:.0f} seconds" in PAGE
    assert f"waits up to {WAIT:.0f} seconds" in PAGE


@pytest.mark.parametrize("query", QUERIES)
def test_queries_can_be_pasted(store, query):
    names, rows = store.rows(query)
    assert names
    assert rows


def test_there_are_queries():
    assert len(QUERIES) >= 8


def test_every_folder_of_the_journal_is_documented(store):
    store.claims.claim(a_trial(3).id, "s", 1)
    store.journal.checkpoint("x")
    store.journal.weights("x").parent.mkdir()
    store.journal.script("x").mkdir(parents=True)
    store.journal.add_to_log("x", "")
    Fleet(store.journal, "run").write({})
    (store.journal.new / f"{a_trial(9).id}-1.json").write_text("torn")
    store.ingest()
    folders = {path.name for path in store.journal.folder.iterdir() if path.is_dir()}
    assert folders == set(re.findall(r"^\| `(\w+)/` \|", PAGE, re.MULTILINE))


def test_commands_are_those_of_the_command_line():
    from scalelab.cli.store import store_app

    commands = {command.callback.__name__ for command in store_app.registered_commands}
    assert set(re.findall(r"^\| `scalelab store (\w+)", PAGE, re.MULTILINE)) == commands
