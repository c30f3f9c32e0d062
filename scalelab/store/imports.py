"""Imported tables as content of a store: file, rows and back; see `scalelab.store.kinds`.

Trade-off: a table is one file of the journal and is taken in whole, so that replacing one is atomic; the file
of an earlier version stays in the journal, as everything there does. Its rows are Parquet, behind a line that
says what they are: a quarter of the text that they would be, and read and written in pieces.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field

from scalelab.records import Frozen, canonical_json
from scalelab.regular_files import expanded
from scalelab.store.envelope import Member, seal_beside, unseal_beside
from scalelab.store.files import writing
from scalelab.store.insert import described
from scalelab.store.kind import Latest, Text, later, timed
from scalelab.store.rows import COLUMNS, MAX_ROWS, PIECE_BYTES, PIECE_ROWS, Collected, Rows, sorted_json
from scalelab.store.schema import create_views, literal, quoted, sparing, transaction

if TYPE_CHECKING:
    import duckdb

_SEALED = "table.import"
ORIGIN = ("experiment", "place")
"""Of a mapping, what is no column of `runs`; see `origin`."""


class ImportedTable(Frozen):
    """An imported table as the journal holds it.

    Attributes:
        study: The name under which its rows are runs.
        source: The file's name, or `DataFrame`.
        imported_at: Seconds since the epoch.
        n_runs: Rows; none where the import takes an earlier one of that name away.
        mapping: By column of `runs`, the expression that gave it; and `experiment` and `place`, see
            `origin`.
        condition: Which rows of the file were taken; `None` for all.
        columns: Names and types of the columns that `scalelab.store.schema.imported_columns` shows.
        digest: Changes when the name, the values or the columns' types do; not with time, file, expressions.
        rows: Its rows; `None` where there are none.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    study: str
    source: str
    imported_at: float = Field(ge=0, lt=9e10)
    n_runs: int = Field(ge=0, le=MAX_ROWS)
    mapping: dict[str, str]
    condition: str | None = None
    columns: dict[str, Literal["NULL", "BOOLEAN", "BIGINT", "DOUBLE", "VARCHAR"]]
    digest: str = Field(exclude=True)
    rows: Rows | None = Field(default=None, repr=False, exclude=True)

    def after(self, last: str | None) -> ImportedTable:
        """Returns the table with the time of its import, after that of the earlier one's file."""
        return self.model_copy(update={"imported_at": later([last])})


def imported(rows: Collected, **head: Any) -> ImportedTable:
    """Returns an imported table, given its rows and the other attributes."""
    taken, digest = rows.close([head["study"], canonical_json(head["columns"])])
    return ImportedTable(rows=taken, digest=digest[:16], **head)


def origin(tables: Sequence[object], experiments: Sequence[str]) -> dict[str, str]:
    """Returns what the mapping of an imported table says of where it came from.

    Args:
        tables: What was read.
        experiments: The trackers' names, and those of experiments.

    Returns:
        `experiment`, and `place`: a digest, for paths name people.
    """
    paths = [str(expanded(one).resolve()) for one in tables if isinstance(one, (str, Path))]
    place = hashlib.sha256(json.dumps(paths).encode()).hexdigest()[:16]
    return dict(zip(ORIGIN, (", ".join(experiments), place), strict=True))


def nothing(study: str) -> ImportedTable:
    """Returns the table that takes an earlier one of its name away."""
    return imported(Collected(), study=study, source="", imported_at=0.0, n_runs=0, mapping={}, columns={})


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
        """Returns the members of the first line of its file; the last is how many bytes follow, if any do."""
        size = 0 if table.rows is None else table.rows.path.stat().st_size
        return {"import": canonical_json(table.model_dump(mode="json")), "rows": str(size) if size else "{}"}

    def parse(self, name: str, members: list[Member]) -> ImportedTable:
        """Reads a file of format 1, whose rows are JSON: an object of equally long lists."""
        head, told = members
        return self._table(name, head.value, _read_lists(json.loads(told.text)))

    def seal(self, table: ImportedTable) -> Text:
        """Returns its file, which goes with the table where it has rows."""
        if table.rows is None:
            return super().seal(table)
        path = table.rows.folder / _SEALED
        with writing(path):
            seal_beside(path, self.members(table), table.rows.path)
        return path

    def read(self, path: Path) -> tuple[ImportedTable, int]:
        """Reads a file; its rows become a file of their own."""
        return self.open(path.name.removesuffix(self.suffix), path), path.stat().st_size

    def open(self, name: str, text: Text) -> ImportedTable:
        """Reads a file, or its text where it is of format 1."""
        if isinstance(text, bytes):
            return super().open(name, text)
        rows = Rows()
        members = unseal_beside(text, self.keys, self.name, rows.path)
        if members is None:
            return super().open(name, text)
        with self.refusing():
            return self._table(name, members[0].value, rows)

    def _table(self, name: str, head: Any, rows: Rows | None) -> ImportedTable:
        self.check_name(name)
        table = ImportedTable.model_validate({**head, "digest": parts(name)[1], "rows": rows})
        if rows is not None:
            rows.check(table.n_runs)
        elif table.n_runs:
            raise ValueError(f"it has no rows, and says {table.n_runs}")
        return table

    def apply(self, connection: duckdb.DuckDBPyConnection, table: ImportedTable, name: str) -> bool:
        """Puts a table in the place of the earlier one of its name; one that is older does nothing."""
        last = self.last_of(connection, table.study)
        if last is not None and last >= name:
            return False
        with sparing(connection):
            with transaction(connection):
                connection.execute("delete from imported_runs where study = ?", [table.study])
                connection.execute("delete from imports where study = ?", [table.study])
                if table.rows is not None:
                    _insert_head(connection, table, name + self.suffix)
                    _insert_rows(connection, table.study, table.rows)
                create_views(connection)
            connection.execute("checkpoint")
        return True

    def restore(self, connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> ImportedTable:
        """Returns the imported table of a row.

        Raises:
            ValueError: It has no rows.
        """
        rows, mine = Collected(), f"(from imported_runs where study = {literal(row['study'])})"
        for piece in pieces(connection, mine):
            rows.add(canonical(piece))
        if not rows.n_rows:
            raise ValueError(f"the database has no rows of {row['study']}")
        return imported(
            rows,
            mapping=json.loads(row["mapping"]),
            columns=json.loads(row["columns"]),
            imported_at=row["at"],
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


def pieces(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[dict[str, list[Any]]]:
    """Yields rows as they are in the table `imported_runs`, a few at a time, by column.

    Args:
        connection: Of the store.
        table: SQL of a table of such rows, with their `position`.
    """
    ((last, size),) = connection.execute(
        f"select max(position), avg(length(extra::varchar)) from {table}"
    ).fetchall()
    n_rows = max(1, min(PIECE_ROWS, PIECE_BYTES // max(1, int(size or 0))))
    given = [row[0] for row in connection.execute(f"describe from {table}").fetchall()]
    shown = ", ".join(quoted(name) for name in _columns(connection) if name in given)
    for start in range(0, -1 if last is None else last + 1, n_rows):
        found = connection.execute(
            f"select {shown} from {table} where position >= {start} and position < {start + n_rows} "
            "order by position"
        )
        values = {name: own.tolist() for name, own in found.fetchnumpy().items()}
        if values["trial_id"]:
            yield values


def sizes(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Returns how many runs each imported table has, by its name."""
    return dict(connection.execute("select study, n_runs from imports order by study").fetchall())


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    kinds = described(connection, "imported_runs")
    return {name: kind for name, kind in kinds.items() if name not in ("study", "position")}


def _insert_head(connection: duckdb.DuckDBPyConnection, table: ImportedTable, file: str) -> None:
    connection.execute(
        "insert into imports values (?, ?, ?, ?, ?, ?, ?, make_timestamp((? * 1e6)::bigint))",
        [
            table.study, table.source, table.condition, canonical_json(table.mapping),
            canonical_json(table.columns), table.n_runs, file, table.imported_at,
        ],
    )  # fmt: skip


def _insert_rows(connection: duckdb.DuckDBPyConnection, study: str, rows: Rows) -> None:
    there = _columns(connection)
    file = f"read_parquet({literal(str(rows.path))}, file_row_number = true)"
    given = [row[0] for row in connection.execute(f"describe from {file}").fetchall()]
    shown = ", ".join(f"{quoted(name)}::{there[name]} as {quoted(name)}" for name in given if name in there)
    connection.execute(
        f"insert into imported_runs by name select {literal(study)} as study, file_row_number as position, "
        f"{shown} from {file}"
    )


def _read_lists(content: Any) -> Rows | None:
    """Returns rows that are given as lists, by column, with facts and options as objects.

    Raises:
        ValueError: They are not equally long.
    """
    content = {name: values for name, values in content.items() if name in COLUMNS}
    lengths = {len(values) for values in content.values()}
    if len(lengths) > 1:
        raise ValueError("its columns are not equally long")
    rows = Collected()
    for start in range(0, max(lengths, default=0), PIECE_ROWS):
        piece = {name: values[start : start + PIECE_ROWS] for name, values in content.items()}
        if "extra" in piece:
            piece["extra"] = [own if own is None else sorted_json(own) for own in piece["extra"]]
        rows.add(piece)
    return rows.close([])[0]


def canonical(content: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Returns rows whose facts and options are written as `sorted_json` does it, not as DuckDB did."""
    extra = [text if text is None else sorted_json(json.loads(text)) for text in content["extra"]]
    return {**content, "extra": extra}
