"""Tables from elsewhere: read into a database of their own, where SQL expressions over their columns are run.

That database is in memory, and once the table is in it, it is locked: an expression can reach no file, no
network, no other database and no setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import InputError, brief, plain_line, suggest
from scalelab.store.connection import CONFIG, load_duckdb
from scalelab.store.foreign_files import load
from scalelab.store.parameters import Kind
from scalelab.store.schema import first_column, one, quoted

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

MAX_ROWS = 1_000_000
FRAME = "DataFrame"
_ROW = "row of the foreign table"
_WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
_REAL = {"FLOAT", "DOUBLE", "HUGEINT", "UHUGEINT", "UBIGINT"}
_SHOWN_COLUMNS = 12


class Source:
    """A foreign table, all of it or the rows that were kept; see `opened`.

    Args:
        connection: Holds the table `source`; locked.
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
        rows = connection.execute("describe source").fetchall()
        self.kinds: dict[str, Kind] = {row[0]: row[1] for row in rows if row[0] != _ROW}
        self.n_rows = int(one(connection.execute("select count(*) from source")))
        doubles = ", ".join(
            f"{quoted(c)}::double as {quoted(c)}" for c, kind in self.kinds.items() if kind == "BIGINT"
        )
        connection.execute("create table kept as select * from source")
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
        self._evaluate("only", condition)
        kind = one(self._connection.execute("select typeof(value) from evaluated limit 1"))
        if kind != "BOOLEAN":
            raise InputError(
                f"only {brief(condition)} is not a condition: it gives {kind}, not true or false; "
                "write one such as loss < 4"
            )
        self._connection.execute(
            f"delete from kept where {quoted(_ROW)} not in (select place from evaluated where value)"
        )
        if not one(self._connection.execute("select count(*) from kept")):
            raise InputError(f"only {brief(condition)} leaves none of {self.n_rows} rows of {self.name}")

    def rows(self) -> list[int]:
        """Returns the numbers of the rows that are kept, from 1."""
        return first_column(self._connection.execute(f"select {quoted(_ROW)} from kept order by all"))

    def numbers(self, column: str, expression: str) -> list[float | None]:
        """Returns the value of an expression for each row that is kept; `None` where it is missing.

        Raises:
            InputError: The expression is wrong, or a value is not a number.
        """
        self._evaluate(f"map {column}", expression)
        wrong = self._connection.execute(
            "select place, value::varchar from evaluated "
            "where value is not null and try_cast(value as double) is null order by place limit 1"
        ).fetchone()
        if wrong:
            raise InputError(
                f"map {column}={brief(expression)}: row {wrong[0]} of {self.name} gives {brief(wrong[1])}, "
                "not a number; fix it, or leave the row out with --only"
            )
        return self._values("try_cast(value as double)")

    def texts(self, column: str, expression: str) -> list[str | None]:
        """Returns the value of an expression as text for each row that is kept.

        Raises:
            InputError: The expression is wrong.
        """
        self._evaluate(f"map {column}", expression)
        return self._values("value::varchar")

    def facts(self, column: str, expression: str) -> tuple[Kind, list[Any]]:
        """Returns the type and the values of an expression; what is neither number nor truth value is text.

        Raises:
            InputError: The expression is wrong.
        """
        self._evaluate(f"map {column}", expression)
        kind, shown = _shown(
            "value", one(self._connection.execute("select typeof(value) from evaluated limit 1"))
        )
        if kind == "DOUBLE":
            shown = f"case when isfinite({shown}) then {shown} end"
        return kind, self._values(shown)

    def _values(self, shown: str) -> list[Any]:
        return first_column(self._connection.execute(f"select {shown} from evaluated order by place"))

    def _evaluate(self, what: str, expression: str) -> None:
        """Puts the values of an expression into the table `evaluated`."""
        import duckdb

        label = f"{what} {brief(expression, 100)}" if what == "only" else f"{what}={brief(expression, 100)}"
        text = quoted(expression.strip()) if expression.strip() in self.kinds else expression
        try:
            duckdb.SQLExpression(text)
            try:
                self._run(text, "kept")
            except duckdb.OutOfRangeException:
                self._run(text, "kept_as_doubles")
        except duckdb.Error as error:
            raise InputError(f"{label}: {self._explain(error)}") from error
        counts = "select (select count(*) from evaluated), (select count(*) from kept)"
        got, wanted = self._connection.execute(counts).fetchall()[0]
        if got != wanted:
            raise InputError(
                f"{label}: it gives {got} values for {wanted} rows; write one that gives one value per row"
            )

    def _run(self, expression: str, table: str) -> None:
        self._connection.execute(
            f"create or replace table evaluated as "
            f"select {quoted(_ROW)} as place, (\n{expression}\n) as value from {table}"
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
    connection = duckdb.connect(":memory:", config={**CONFIG, "python_enable_replacements": False})
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
            raise InputError(f"{name} has {n_rows} rows, but {source.n_rows} were parsed; check its quotes")
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
    """Makes the table `source`: the rows numbered, every column of one of the types of `Kind`."""
    types = [row[:2] for row in connection.execute("describe loaded").fetchall()]
    shown = ", ".join(f"{_shown(quoted(name), kind)[1]} as {quoted(name)}" for name, kind in types)
    connection.execute(
        f"create table source as select row_number() over () as {quoted(_ROW)}, {shown} from loaded "
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
