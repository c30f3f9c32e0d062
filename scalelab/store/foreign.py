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
from scalelab.regular_files import expanded
from scalelab.store.connection import load_duckdb
from scalelab.store.foreign_files import first_lines, load, names_of, refuse_no_tables, shown_as
from scalelab.store.joins import joined
from scalelab.store.parameters import Kind
from scalelab.store.rows import MAX_ROWS
from scalelab.store.schema import CONFIG, one, quoted
from scalelab.store.temporary import temporary
from scalelab.store.tracked import Tracked
from scalelab.store.trackers.wandb_chart import WANDB_CHART

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    Foreign = pd.DataFrame | Path | str

THREADS = 2
MEMORY_MB = 192
"""What DuckDB may hold of a table, and a quarter of a megabyte for each column; the rest goes to the disk."""
PIECE_VALUES = 200_000
"""Values that are held as Python's objects at once, of all columns."""
_ROW = "row of the foreign table"
PLACE = quoted(_ROW)
_SHOWN_COLUMNS = 12
_AS_LINES = "JSON lines: frame.to_json('runs.jsonl', orient='records', lines=True) in pandas"


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
        stem: What its study is called where nobody says; `None` for a DataFrame.
        renamed: By new name the columns that got one.
        tracked: What is known of the runs of trackers in it.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        name: str,
        stem: str | None,
        renamed: dict[str, str],
        tracked: Sequence[Tracked] = (),
    ) -> None:
        self._connection = connection
        self.name = name
        self.stem = stem
        self.renamed = renamed
        self.tracked = tracked
        hidden = {_ROW, *(source.place for source in tracked)}
        rows = connection.execute("describe kept").fetchall()
        self.kinds: dict[str, Kind] = {row[0]: row[1] for row in rows if row[0] not in hidden}
        self.n_rows = int(one(connection.execute("select count(*) from kept")))
        self._n_tables = 0
        self._plain = {form: name for name in self.kinds for form in (name, quoted(name))}
        for name, told in renamed.items():
            if name in self.kinds:
                self._plain |= {form: name for form in (told, quoted(told)) if form not in self._plain}
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

    @property
    def nested(self) -> str:
        """How values in a column of JSON, or beside a chart, are reached, for a message; empty without."""
        if self.tracked and self.tracked[0].title == WANDB_CHART.title and "State" not in self.kinds:
            return "; sizes and states are in the table of runs: import CHART.csv RUNS.csv --join Name"
        for name, kind in self.kinds.items():
            if kind == "VARCHAR":
                found = self.query(
                    f"select json_keys({quoted(name)})[1] from kept where {quoted(name)}[1] = '{{' "
                    f"and json_valid({quoted(name)}) limit 1"
                ).fetchone()
                if found and found[0]:
                    return (
                        f"; values inside {name} are reached so: --map n_params=\"{name}->>'$.{found[0]}'\""
                    )
        return ""

    def plain(self, expression: str) -> str | None:
        """Returns the column that an expression names, and nothing more; `None` where it is another one."""
        return self._plain.get(expression.strip())

    def keep(self, condition: str) -> None:
        """Keeps only the rows for which an SQL condition is true.

        Raises:
            InputError: It is not a condition over the columns, or true of no row.
        """
        found = self.condition("only", condition)
        self._connection.execute(
            f"delete from kept where {PLACE} not in (select place from ({found.query}) where value)"
        )
        if not one(self._connection.execute("select count(*) from kept")):
            raise InputError(f"only {brief(condition)} leaves none of {self.n_rows} rows of {self.name}")

    def condition(self, what: str, condition: str) -> Values:
        """Returns for each row whether an SQL condition is true; `what` is what messages call it.

        Raises:
            InputError: It is not a condition over the columns.
        """
        found = self._evaluate(f"{what} {brief(condition, 100)}", condition)
        kind = self._type_of(found)
        if kind != "BOOLEAN":
            raise InputError(
                f"{what} {brief(condition)} is not a condition: it gives {kind}, not true or false; "
                "write one such as loss < 4"
            )
        return found

    def numbers(self, column: str, expression: str) -> Values:
        """Returns the values of an expression, which are numbers or missing.

        Raises:
            InputError: The expression is wrong, or a value is not a number.
        """
        found = self._evaluate(_map(column, expression), expression)
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
        found = self._evaluate(_map(column, expression), expression)
        return Values(found.table, f"{found.shown}::varchar")

    def facts(self, column: str, expression: str) -> tuple[Kind, Values]:
        """Returns the type and the values of an expression; what is neither number nor truth value is text.

        Raises:
            InputError: The expression is wrong.
        """
        found = self._evaluate(_map(column, expression), expression)
        kind, shown = shown_as(found.shown, self._type_of(found))
        return kind, Values(found.table, shown, finite=kind == "DOUBLE")

    def pieces(self, columns: Sequence[Values]) -> Iterator[tuple[list[int], list[list[Any]]]]:
        """Yields the numbers of some rows, from 1, and for each column their values, piece by piece."""
        n_points = sum(source.curves.n_points for source in self.tracked) // self.n_rows
        n_rows = max(PIECE_VALUES // (len(columns) + 1 + n_points), 1)
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

    def _evaluate(self, label: str, expression: str) -> Values:
        """Returns the values of an expression; those of a column are where they are."""
        import duckdb

        if (name := self.plain(expression)) is not None:
            return Values("kept", quoted(name))
        self._refuse_renamed(label, expression)
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

    def _refuse_renamed(self, label: str, expression: str) -> None:
        """Refuses a name that SQL would take for another column's, which differs in capital letters only."""
        names = set(re.findall(r"\w+", re.sub(r"'[^']*'", "", expression)))
        for name, told in self.renamed.items():
            if told in names and told not in self.kinds:
                raise InputError(f"{label}: column {told!r} is called {name!r} here; write {name}")

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
        nested = re.search(r"Cannot extract field '(.+?)' from expression \"(.+?)\"", text)
        if nested:
            return f"{nested[2]} is JSON text; its values are reached so: {nested[2]}->>'$.{nested[1]}'"
        if "Malformed JSON" in text:
            return f"a value is no JSON, but maybe Python's text of an object; export {_AS_LINES}"
        if "GROUP BY" in text or "aggregate" in text.lower():
            return "an aggregate gives one value for all rows; add over (), as in max(loss) over ()"
        if "Permission Error" in text or "disabled" in text:
            return "an expression may use the table's columns only, no files"
        line = re.sub(r"^[\w ]+ Error: ", "", text.splitlines()[0])
        if "syntax error" in line:
            line += '; quote names that are not plain words, as in "Model Size"'
        return f"{plain_line(line)} ({columns})"


@contextmanager
def opened(
    tables: Sequence[Foreign],
    join: str | None = None,
    kind: str | None = None,
    experiment: str | None = None,
) -> Iterator[Source]:
    """Reads tables and runs of trackers into a locked database of their own, as one table.

    Args:
        tables: DataFrames, files and folders.
        join: The column that says which rows of them belong together, where there are several.
        kind: What wrote them, by the names of `scalelab.store.trackers`; recognized where it is not given.
        experiment: Which of a tracker's experiments to read.

    Raises:
        InputError: One cannot be read, is empty or too long, two columns have one name, or the rows of two
            do not belong together.
    """
    refuse_no_tables(tables, kind, experiment)
    load_duckdb()
    import duckdb

    paths = [expanded(table) if isinstance(table, (str, Path)) else None for table in tables]
    names = names_of(paths)
    name = ", ".join(names)
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
                loaded = [
                    load(connection, table, f"loaded_{at}", Path(folder), kind, experiment)
                    for at, table in enumerate(tables)
                ]
                renamed = joined(connection, list(zip(names, loaded, strict=True)), join)
                _normalize(connection)
                connection.execute("set enable_external_access = false")
                connection.execute("set lock_configuration = true")
            except duckdb.Error as error:
                raise InputError(f"{name} cannot be read: {first_lines(error)}") from error
            tracked = [one.tracked for one in loaded if one.tracked is not None]
            stem = tracked[0].stem if tracked else None if paths[0] is None else paths[0].stem
            source = Source(connection, name, stem, renamed, tracked)
            n_rows = loaded[0].n_rows
            if n_rows is not None and source.n_rows != min(n_rows, MAX_ROWS + 1):
                told = f"{name} has {n_rows} rows, but {source.n_rows} were parsed; check its quotes"
                raise InputError(told)
            if not source.n_rows:
                raise InputError(f"{name} has no rows; nothing can be imported from it")
            if source.n_rows > MAX_ROWS:
                raise InputError(f"{name} has more than {MAX_ROWS:,} rows; import a part of them")
            yield source
        finally:
            connection.close()


def _map(column: str, expression: str) -> str:
    return f"map {column}={brief(expression, 100)}"


def _normalize(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the table `kept`: the rows numbered, every column of one of the types of `Kind`."""
    types = [row[:2] for row in connection.execute("describe loaded").fetchall()]
    connection.execute(f"set memory_limit = '{MEMORY_MB + len(types) // 4}MB'")
    shown = ", ".join(f"{shown_as(quoted(name), kind)[1]} as {quoted(name)}" for name, kind in types)
    connection.execute(
        f"create table kept as select row_number() over () as {PLACE}, {shown} from loaded "
        f"limit {MAX_ROWS + 1}"
    )
