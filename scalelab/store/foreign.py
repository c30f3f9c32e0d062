"""Tables from elsewhere: read into a database of their own, where SQL expressions over their columns are run.

That database is in memory, or on the disk where it is large, and once the table is in it, it is locked: an
expression can reach no file, no network, no other database and no setting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import InputError, brief, plain_line, suggest
from scalelab.store.connection import load_duckdb
from scalelab.store.foreign_files import load
from scalelab.store.parameters import Kind
from scalelab.store.rows import MAX_ROWS
from scalelab.store.schema import CONFIG, one, quoted
from scalelab.store.temporary import temporary

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

THREADS = 2
MEMORY_MB = 192
"""What DuckDB may hold of a table, and a quarter of a megabyte for each column; the rest goes to the disk."""
PIECE_VALUES = 200_000
"""Values that are held as Python's objects at once, of all columns."""
FRAME = "DataFrame"
_ROW = "row of the foreign table"
PLACE = quoted(_ROW)
_WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
_REAL = {"FLOAT", "DOUBLE", "HUGEINT", "UHUGEINT", "UBIGINT"}
_SHOWN_COLUMNS = 12


@dataclass(frozen=True)
class Values:
    """The values of an expression, one for each row that is kept.

    Attributes:
        table: Of the source's database, with the number of the row as its first column.
        shown: Gives the value, as SQL over that table.
        finite: Whether a number that is not finite is missing.
    """

    table: str
    shown: str
    finite: bool = False

    @property
    def query(self) -> str:
        """Gives `place`, the number of the row, and `value`."""
        return f"select {PLACE} as place, {self.shown} as value from {self.table}"


class Source:
    """A foreign table, all of it or the rows that were kept; see `opened`.

    Args:
        connection: Holds the table `kept`; locked.
        name: What messages call the table.
        stem: The file's name without folder and suffix; `None` for a DataFrame.
        renamed: By new name the columns that got one.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, name: str, stem: str | None, renamed: dict[str, str]
    ) -> None:
        self._connection = connection
        self.name = name
        self.stem = stem
        self.renamed = renamed
        rows = connection.execute("describe kept").fetchall()
        self.kinds: dict[str, Kind] = {row[0]: row[1] for row in rows if row[0] != _ROW}
        self.n_rows = int(one(connection.execute("select count(*) from kept")))
        self._n_tables = 0
        self._plain = {form: name for name in self.kinds for form in (name, quoted(name))}
        doubles = ", ".join(
            f"{quoted(c)}::double as {quoted(c)}" for c, kind in self.kinds.items() if kind == "BIGINT"
        )
        # Products of whole numbers (6 N D) overflow 64 bits; where they do, they are calculated as doubles.
        connection.execute(
            f"create view kept_as_doubles as select * {f'replace ({doubles})' if doubles else ''} from kept"
        )

    @property
    def columns_named(self) -> str:
        """The columns' names, for a message."""
        names = [name if len(name) <= 60 else f"{name[:59]}…" for name in self.kinds]
        if len(names) == 1:
            return f"{names[0]} alone; columns are separated by a comma, a tab, a semicolon or a |"
        return ", ".join(names[:_SHOWN_COLUMNS]) + (" …" if len(names) > _SHOWN_COLUMNS else "")

    def keep(self, condition: str) -> None:
        """Keeps only the rows for which an SQL condition is true.

        Raises:
            InputError: It is not a condition over the columns, or true of no row.
        """
        found = self._evaluate("only", condition)
        kind = self._type_of(found)
        if kind != "BOOLEAN":
            raise InputError(
                f"only {brief(condition)} is not a condition: it gives {kind}, not true or false; "
                "write one such as loss < 4"
            )
        self._connection.execute(
            f"delete from kept where {PLACE} not in (select place from ({found.query}) where value)"
        )
        if not one(self._connection.execute("select count(*) from kept")):
            raise InputError(f"only {brief(condition)} leaves none of {self.n_rows} rows of {self.name}")

    def numbers(self, column: str, expression: str) -> Values:
        """Returns the values of an expression, which are numbers or missing.

        Raises:
            InputError: The expression is wrong, or a value is not a number.
        """
        found = self._evaluate(f"map {column}", expression)
        wrong = self._connection.execute(
            f"select place, value::varchar from ({found.query}) "
            "where value is not null and try_cast(value as double) is null order by place limit 1"
        ).fetchone()
        if wrong:
            raise InputError(
                f"map {column}={brief(expression)}: row {wrong[0]} of {self.name} gives {brief(wrong[1])}, "
                "not a number; fix it, or leave the row out with --only"
            )
        return Values(found.table, f"try_cast({found.shown} as double)")

    def texts(self, column: str, expression: str) -> Values:
        """Returns the values of an expression as texts.

        Raises:
            InputError: The expression is wrong.
        """
        found = self._evaluate(f"map {column}", expression)
        return Values(found.table, f"{found.shown}::varchar")

    def facts(self, column: str, expression: str) -> tuple[Kind, Values]:
        """Returns the type and the values of an expression; what is neither number nor truth value is text.

        Raises:
            InputError: The expression is wrong.
        """
        found = self._evaluate(f"map {column}", expression)
        kind, shown = _shown(found.shown, self._type_of(found))
        return kind, Values(found.table, shown, finite=kind == "DOUBLE")

    def pieces(self, columns: Sequence[Values]) -> Iterator[tuple[list[int], list[list[Any]]]]:
        """Yields the numbers of some rows, from 1, and for each column their values, piece by piece."""
        n_rows = max(PIECE_VALUES // (len(columns) + 1), 1)
        tables: dict[str, list[int]] = {"kept": []}
        for at, column in enumerate(columns):
            tables.setdefault(column.table, []).append(at)
        for start in range(1, self.n_rows + 1, n_rows):
            values: list[list[Any]] = [[]] * len(columns)
            rows: list[Any] = []
            for table, places in tables.items():
                shown = [f"{PLACE} as place", *(f"{columns[at].shown} as value_{at}" for at in places)]
                found = self.query(
                    f"select {', '.join(shown)} from {table} "
                    f"where {PLACE} >= {start} and {PLACE} < {start + n_rows} order by {PLACE}"
                ).fetchnumpy()
                rows = found["place"].tolist()
                for at in places:
                    given = found[f"value_{at}"]
                    # As SQL, thousands of such conditions would take minutes to plan.
                    values[at] = (np.ma.masked_invalid(given) if columns[at].finite else given).tolist()
            if rows:
                yield rows, values

    def listed(self, values: Values) -> list[Any]:
        """Returns all values of a column."""
        return [value for _, (piece,) in self.pieces([values]) for value in piece]

    def put(self, values: Iterable[tuple[list[int], list[float | None]]]) -> Values:
        """Keeps numbers that were calculated here: those of some rows, piece by piece."""
        table = self._new_table()
        self.query(f"create table {table} ({PLACE} bigint, value double)")
        for rows, numbers in values:
            self.query(
                f"insert into {table} select unnest(item.rows), unnest(item.numbers) from "
                '(select from_json(?, \'{"rows": ["BIGINT"], "numbers": ["DOUBLE"]}\') as item)',
                [json.dumps({"rows": rows, "numbers": numbers})],
            )
        return Values(table, "value")

    def query(self, statement: str, values: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        """Runs a statement in the database that holds the table `kept` and all `Values`."""
        return self._connection.execute(statement, list(values))

    def _type_of(self, values: Values) -> str:
        if values.table == "kept":  # to plan a query over thousands of columns takes long
            return self.kinds[self._plain[values.shown]]
        return str(one(self.query(f"select typeof({values.shown}) from {values.table} limit 1")))

    def _new_table(self) -> str:
        self._n_tables += 1
        return f"evaluated_{self._n_tables}"

    def _evaluate(self, what: str, expression: str) -> Values:
        """Returns the values of an expression; those of a column are where they are."""
        import duckdb

        if expression.strip() in self._plain:
            return Values("kept", quoted(self._plain[expression.strip()]))
        label = f"{what} {brief(expression, 100)}" if what == "only" else f"{what}={brief(expression, 100)}"
        table = self._new_table()
        try:
            duckdb.SQLExpression(expression)
            try:
                self._run(expression, "kept", table)
            except duckdb.OutOfRangeException:
                self._run(expression, "kept_as_doubles", table)
        except duckdb.Error as error:
            raise InputError(f"{label}: {self._explain(error)}") from error
        counts = f"select (select count(*) from {table}), (select count(*) from kept)"
        got, wanted = self.query(counts).fetchall()[0]
        if got != wanted:
            raise InputError(
                f"{label}: it gives {got} values for {wanted} rows; write one that gives one value per row"
            )
        return Values(table, "value")

    def _run(self, expression: str, source: str, table: str) -> None:
        self.query(
            f"create or replace table {table} as select {PLACE}, (\n{expression}\n) as value from {source}"
        )

    def _explain(self, error: duckdb.Error) -> str:
        """Returns what is wrong with an expression, in one line that helps."""
        text = str(error)
        columns = f"columns: {self.columns_named}"
        missing = re.search(r'column "(.+?)" (?:not found|that)', text) or re.search(
            r'column named "(.+?)"', text
        )
        if missing:
            name = brief(missing[1])
            hint = suggest(missing[1], self.kinds, show=brief)
            return f"there is no column {name}{hint} ({columns}; put strings in single quotes: {name})"
        if "GROUP BY" in text or "aggregate" in text.lower():
            return "an aggregate gives one value for all rows; add over (), as in max(loss) over ()"
        if "Permission Error" in text or "disabled" in text:
            return "an expression may use the table's columns only, no files"
        line = re.sub(r"^[\w ]+ Error: ", "", text.splitlines()[0])
        if "syntax error" in line:
            line += '; quote names that are not plain words, as in "Model Size"'
        return f"{plain_line(line)} ({columns})"


@contextmanager
def opened(table: pd.DataFrame | Path | str) -> Iterator[Source]:
    """Reads a table, file or DataFrame, into a locked database of its own.

    Raises:
        InputError: It cannot be read, is empty or too long, or two columns have one name.
    """
    load_duckdb()
    import duckdb

    path = Path(table).expanduser() if isinstance(table, (str, Path)) else None
    name = path.name if path is not None else FRAME
    with temporary() as folder:
        limits: dict[str, str | int] = {
            "temp_directory": str(Path(folder, "spilled")),
            "threads": THREADS,
        }
        connection = duckdb.connect(
            ":memory:", config={**CONFIG, **limits, "python_enable_replacements": False}
        )
        try:
            try:
                n_rows, renamed = load(connection, table)
                _normalize(connection)
                connection.execute("set enable_external_access = false")
                connection.execute("set lock_configuration = true")
            except duckdb.Error as error:
                raise InputError(f"{name} cannot be read: {_first_lines(error)}") from error
            source = Source(connection, name, path.stem if path is not None else None, renamed)
            if n_rows is not None and source.n_rows != min(n_rows, MAX_ROWS + 1):
                raise InputError(
                    f"{name} has {n_rows} rows, but {source.n_rows} were parsed; check its quotes"
                )
            if not source.n_rows:
                raise InputError(f"{name} has no rows; nothing can be imported from it")
            if source.n_rows > MAX_ROWS:
                raise InputError(f"{name} has more than {MAX_ROWS:,} rows; import a part of them")
            yield source
        finally:
            connection.close()


def _first_lines(error: duckdb.Error) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    shown = " ".join(lines[:3] if "CSV Error" in lines[0] else lines[:1])
    return re.sub(r"^[\w ]+ Error: ", "", shown)[:300]


def _normalize(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the table `kept`: the rows numbered, every column of one of the types of `Kind`."""
    types = [row[:2] for row in connection.execute("describe loaded").fetchall()]
    connection.execute(f"set memory_limit = '{MEMORY_MB + len(types) // 4}MB'")
    shown = ", ".join(f"{_shown(quoted(name), kind)[1]} as {quoted(name)}" for name, kind in types)
    connection.execute(
        f"create table kept as select row_number() over () as {PLACE}, {shown} from loaded "
        f"limit {MAX_ROWS + 1}"
    )
    connection.execute("drop view loaded")


def _shown(value: str, sql_type: str) -> tuple[Kind, str]:
    """Returns the kind of a column of one of DuckDB's types, and the expression that gives its values so."""
    if sql_type == "BOOLEAN":
        return "BOOLEAN", value
    if sql_type in _WHOLE:
        return "BIGINT", f"{value}::bigint"
    if sql_type in _REAL or sql_type.startswith("DECIMAL"):
        return "DOUBLE", f"{value}::double"
    if sql_type.startswith(("STRUCT", "MAP", "UNION")) or sql_type.endswith("]"):
        return "VARCHAR", f"to_json({value})::varchar"
    return "VARCHAR", f"{value}::varchar"
