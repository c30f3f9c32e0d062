"""Imported tables in the store: into journal and database, out of both, and back where one of them is lost.

Trade-off: a table is one file of the journal and is taken in whole, so that replacing one is atomic; the file
of an earlier version stays in the journal, as everything there does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace as changed
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.errors import InputError, suggest
from scalelab.records import canonical_json
from scalelab.store import queries, schema
from scalelab.store.connection import Database
from scalelab.store.envelope import ImportedTable, ImportHead
from scalelab.store.insert import transaction
from scalelab.store.journal import IMPORT_SUFFIX, Journal
from scalelab.store.mapping import Import, rows_json

if TYPE_CHECKING:
    import duckdb

# The columns of an imported table's rows, as DuckDB is to read them from its journal file.
_ROWS = {
    "trial_id": "VARCHAR", "status": "VARCHAR", "error": "VARCHAR", "dataset": "VARCHAR",
    "architecture": "VARCHAR", "optimizer": "VARCHAR", "seed": "BIGINT", "n_params": "DOUBLE",
    "n_params_body": "DOUBLE", "n_examples": "DOUBLE", "forward_flops": "DOUBLE", "train_flops": "DOUBLE",
    "n_steps": "BIGINT", "epochs": "DOUBLE", "loss": "DOUBLE", "objective": "DOUBLE", "metric": "VARCHAR",
    "direction": "VARCHAR", "batch_size": "BIGINT", "wall_seconds": "DOUBLE", "extra": "JSON",
}  # fmt: skip


def import_table(database: Database, read: Import, *, replace: bool) -> Import:
    """Takes a table into journal and database; nothing happens where it is there already.

    Raises:
        InputError: A study, or a table with other runs, has that name.
        StoreError: The store cannot be written.
    """
    study = read.study
    with database.alone():
        with database.opened() as connection:
            _refuse_study(connection, study, database.path)
            last = queries.imported(connection, study)
            if last is not None:
                if _parts(last)[1] == read.table.digest:
                    return changed(read, outcome="unchanged")
                if not replace:
                    raise InputError(
                        f"{database.path} has other runs under the name {study!r}; replace them with "
                        "--replace, or give these another name with --study"
                    )
            table = _dated(read.table, last)
            path = database.journal.write_import(table)
            apply_import(connection, table, path.name)
        database.journal.keep([path])
    return changed(read, outcome="imported" if last is None else "replaced")


def remove_import(database: Database, study: str) -> int:
    """Takes an imported table out of the database, and says so in the journal; returns how many runs it had.

    Raises:
        InputError: There is no imported table of that name.
        StoreError: The store cannot be written.
    """
    with database.alone():
        with database.opened() as connection:
            tables = dict(connection.execute("select study, n_runs from imports order by study").fetchall())
            if study not in tables:
                there = f"{suggest(study, tables)} (there are: {', '.join(tables) or 'none'})"
                raise InputError(f"{database.path} has no imported table {study!r}{there}")
            table = _dated(_nothing(study), queries.imported(connection, study))
            path = database.journal.write_import(table)
            apply_import(connection, table, path.name)
        database.journal.keep([path])
    return int(tables[study])


def apply_import(connection: duckdb.DuckDBPyConnection, table: ImportedTable, name: str) -> None:
    """Puts a table in the place of the earlier one of its name; one that is older than that does nothing.

    Args:
        connection: Of a store, for writing.
        table: The table; one without runs takes the earlier one away.
        name: Of its file in the journal, which starts with its time.
    """
    head = table.head
    last = queries.imported(connection, head.study)
    if last is not None and last >= name:
        return
    with transaction(connection):
        connection.execute("delete from imported_runs where study = ?", [head.study])
        connection.execute("delete from imports where study = ?", [head.study])
        if head.n_runs:
            connection.execute(
                "insert into imports values (?, ?, ?, ?, ?, ?, ?, make_timestamp((? * 1e6)::bigint))",
                [
                    head.study, head.source, head.condition, canonical_json(head.mapping),
                    canonical_json(head.columns), head.n_runs, name, head.imported_at,
                ],
            )  # fmt: skip
            _insert_rows(connection, table)
        schema.create_views(connection)
    connection.execute("checkpoint")


def _insert_rows(connection: duckdb.DuckDBPyConnection, table: ImportedTable) -> None:
    layout = json.dumps({column: [kind] for column, kind in _ROWS.items()})
    # Read once, before it is taken apart: a million rows take seconds so, and hours in one statement.
    connection.execute(
        "create or replace temp table staged as select from_json(?, ?) as rows", [table.rows, layout]
    )
    columns = ", ".join(f"unnest(rows.{column}) as {column}" for column in _ROWS)
    connection.execute(
        "insert into imported_runs by name "
        f"select ?::varchar as study, unnest(range({table.head.n_runs})) as position, {columns} from staged",
        [table.head.study],
    )
    connection.execute("drop table staged")


def save_imports(connection: duckdb.DuckDBPyConnection, journal: Journal) -> int:
    """Writes the imported tables that only the database holds into the journal; returns how many."""
    there = {path.name for path in journal.imports()}
    found = connection.execute(
        "select journal_file, study, source, epoch_us(imported_at) / 1e6, n_runs, mapping, condition, "
        "columns from imports"
    ).fetchall()
    only_here = [row for row in found if row[0] not in there]
    for _, study, source, imported_at, n_runs, mapping, condition, columns in only_here:
        names = ", ".join(_ROWS)
        values = connection.execute(
            f"select {names} from imported_runs where study = ? order by position", [study]
        ).fetchall()
        content = dict(zip(_ROWS, map(list, zip(*values, strict=True)), strict=True))
        content["extra"] = [text if text is None else json.loads(text) for text in content["extra"]]
        head = ImportHead(
            study=study,
            source=source,
            imported_at=imported_at,
            n_runs=n_runs,
            mapping=json.loads(mapping),
            condition=condition,
            columns=json.loads(columns),
        )
        journal.write_import(ImportedTable(head, rows_json(content)))
    return len(only_here)


def compare_imports(
    connection: duckdb.DuckDBPyConnection, kept: Sequence[str], pending: Sequence[str]
) -> tuple[list[str], int]:
    """Compares the database's imported tables with the journal's.

    Args:
        connection: Of a store.
        kept: The journal's files of tables that the database has taken in, oldest first.
        pending: Those that it has not.

    Returns:
        Names of tables that the database lacks or holds in part or in an older version, and how many tables
        the journal does not hold.
    """
    found = connection.execute(
        "select study, journal_file, n_runs = (select count(*) from imported_runs r where r.study = i.study) "
        "from imports i"
    ).fetchall()
    there = {study: file for study, file, _ in found}
    wrong = {study for study, _, whole in found if not whole}
    newest = {_parts(name)[2]: name for name in kept}
    for study, name in newest.items():
        removed = _parts(name)[1] == _nothing(study).digest
        file = there.get(study)
        if (file is None and not removed) or (file is not None and file < name):
            wrong.add(study)
    return sorted(wrong), len(set(there.values()) - {*kept, *pending})


def _refuse_study(connection: duckdb.DuckDBPyConnection, study: str, path: Path) -> None:
    known = connection.execute("select 1 from study_trials where study = ? limit 1", [study]).fetchone()
    if known or connection.execute("select 1 from studies where study = ?", [study]).fetchone():
        raise InputError(
            f"{path} has a study {study!r} that was run, not imported; "
            "give the table another name with --study"
        )


def _nothing(study: str) -> ImportedTable:
    """Returns the table that takes an earlier one of its name away."""
    return ImportedTable(
        ImportHead(study=study, source="", imported_at=0.0, n_runs=0, mapping={}, columns={}), "{}"
    )


def _dated(table: ImportedTable, last: str | None) -> ImportedTable:
    """Returns the table with the time of its import: after that of the earlier one, whose file is given."""
    # A clock that was set back must not make a replacement look older than what it replaces.
    at = time.time() if last is None else max(time.time(), (int(_parts(last)[0]) + 2) / 1e6)
    return changed(table, head=table.head.model_copy(update={"imported_at": at}))


def _parts(name: str) -> tuple[str, str, str]:
    """Splits the name of a table's journal file: microseconds since the epoch, digest, the table's name."""
    at, digest, study = name.removesuffix(IMPORT_SUFFIX).split("-", 2)
    return at, digest, study
