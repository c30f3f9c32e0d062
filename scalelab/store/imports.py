"""Imported tables as content of a store: file, rows and back; see `scalelab.store.kinds`.

Trade-off: a table is one file of the journal and is taken in whole, so that replacing one is atomic; the file
of an earlier version stays in the journal, as everything there does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from scalelab.records import Frozen, canonical_json
from scalelab.store.envelope import Member
from scalelab.store.insert import described
from scalelab.store.kind import Latest, later, timed
from scalelab.store.schema import create_views, transaction

if TYPE_CHECKING:
    import duckdb


class ImportedTable(Frozen):
    """An imported table as the journal holds it.

    Attributes:
        study: The name under which its rows are runs.
        source: The file's name, or `DataFrame`.
        imported_at: Seconds since the epoch.
        n_runs: Rows; none where the import takes an earlier one of that name away.
        mapping: By column of `runs`, the expression that gave it.
        condition: Which rows of the file were taken; `None` for all.
        columns: Names and types of the columns that `scalelab.store.schema.imported_columns` shows.
        rows: JSON of its columns: an object of equally long lists.
    """

    study: str
    source: str
    imported_at: float = Field(ge=0, lt=9e10)
    n_runs: int
    mapping: dict[str, str]
    condition: str | None = None
    columns: dict[str, Literal["NULL", "BOOLEAN", "BIGINT", "DOUBLE", "VARCHAR"]]
    rows: str = Field(repr=False)

    @property
    def digest(self) -> str:
        """Changes when the name, the values or the columns' types do; not with time, file or expressions."""
        content = "\0".join([self.study, canonical_json(self.columns), self.rows])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def after(self, last: str | None) -> ImportedTable:
        """Returns the table with the time of its import, after that of the earlier one's file."""
        return self.model_copy(update={"imported_at": later([last])})


def nothing(study: str) -> ImportedTable:
    """Returns the table that takes an earlier one of its name away."""
    return ImportedTable(study=study, source="", imported_at=0.0, n_runs=0, mapping={}, columns={}, rows="{}")


def rows_json(content: Mapping[str, Sequence[Any]]) -> str:
    """Returns the text of an imported table's rows, column by column; columns without values are left out."""
    given = {name: values for name, values in content.items() if any(value is not None for value in values)}
    return json.dumps(given, separators=(",", ":"), sort_keys=True, allow_nan=False, ensure_ascii=False)


def parts(name: str) -> tuple[str, str, str]:
    """Splits the name of a table's file: microseconds since the epoch, digest, the table's name."""
    at, digest, study = name.split("-", 2)
    return at, digest, study


class Imports(Latest[ImportedTable]):
    """Imported tables as content of a store."""

    name = "imported table"
    model = ImportedTable
    suffix = ".import.json"
    folder = "imports"
    keys = ("import", "rows")
    table = "imports"
    key = f"left(journal_file, -{len(suffix)})"
    rows = "select *, epoch_us(imported_at) / 1e6 as at from imports where {piece}"

    def name_of(self, table: ImportedTable) -> str:
        """Returns the name of its file: the time, so that names sort by it, a digest and the table's name."""
        return f"{timed(table.imported_at)}-{table.digest}-{table.study}"

    def members(self, table: ImportedTable) -> dict[str, str]:
        """Returns the members of its file."""
        head = table.model_dump(mode="json", exclude={"rows"})
        return {"import": canonical_json(head), "rows": table.rows}

    def parse(self, name: str, members: list[Member]) -> ImportedTable:
        """Reads its file."""
        self.check_name(name)
        head, rows = members
        return ImportedTable.model_validate({**head.value, "rows": rows.text})

    def apply(self, connection: duckdb.DuckDBPyConnection, table: ImportedTable, name: str) -> bool:
        """Puts a table in the place of the earlier one of its name; one that is older does nothing."""
        last = self.last_of(connection, table.study)
        if last is not None and last >= name:
            return False
        with transaction(connection):
            connection.execute("delete from imported_runs where study = ?", [table.study])
            connection.execute("delete from imports where study = ?", [table.study])
            if table.n_runs:
                connection.execute(
                    "insert into imports values (?, ?, ?, ?, ?, ?, ?, make_timestamp((? * 1e6)::bigint))",
                    [
                        table.study, table.source, table.condition, canonical_json(table.mapping),
                        canonical_json(table.columns), table.n_runs, name + self.suffix, table.imported_at,
                    ],
                )  # fmt: skip
                _insert_rows(connection, table)
            create_views(connection)
        connection.execute("checkpoint")
        return True

    def restore(self, connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> ImportedTable:
        """Returns the imported table of a row."""
        names = list(_columns(connection))
        values = connection.execute(
            f"select {', '.join(names)} from imported_runs where study = ? order by position", [row["study"]]
        ).fetchall()
        content = dict(zip(names, map(list, zip(*values, strict=True)), strict=True))
        content["extra"] = [text if text is None else json.loads(text) for text in content["extra"]]
        return ImportedTable(
            mapping=json.loads(row["mapping"]),
            columns=json.loads(row["columns"]),
            imported_at=row["at"],
            rows=rows_json(content),
            **{name: row[name] for name in ("study", "source", "n_runs", "condition")},
        )

    def missing(self, connection: duckdb.DuckDBPyConnection, taken: list[str], *_: object) -> list[str]:
        """Returns the names of tables that the database lacks, or holds in part or in an older version."""
        found = connection.execute(
            f"select study, {self.key}, "
            "n_runs = (select count(*) from imported_runs r where r.study = i.study) from imports i"
        ).fetchall()
        current = {study: name for study, name, _ in found}
        wrong = {study for study, _, whole in found if not whole}
        for study, name in {parts(name)[2]: name for name in taken}.items():
            removed = parts(name)[1] == nothing(study).digest
            last = current.get(study)
            if (last is None and not removed) or (last is not None and last < name):
                wrong.add(study)
        return sorted(wrong)


def sizes(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Returns how many runs each imported table has, by its name."""
    return dict(connection.execute("select study, n_runs from imports order by study").fetchall())


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    kinds = described(connection, "imported_runs")
    return {name: kind for name, kind in kinds.items() if name not in ("study", "position")}


def _insert_rows(connection: duckdb.DuckDBPyConnection, table: ImportedTable) -> None:
    kinds = _columns(connection)
    layout = json.dumps({column: [kind] for column, kind in kinds.items()})
    # Read once, before it is taken apart: a million rows take seconds so, and hours in one statement.
    connection.execute(
        "create or replace temp table staged as select from_json(?, ?) as rows", [table.rows, layout]
    )
    columns = ", ".join(f"unnest(rows.{column}) as {column}" for column in kinds)
    connection.execute(
        "insert into imported_runs by name "
        f"select ?::varchar as study, unnest(range({table.n_runs})) as position, {columns} from staged",
        [table.study],
    )
    connection.execute("drop table staged")
