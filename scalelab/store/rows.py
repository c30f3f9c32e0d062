"""The rows of an imported table: a temporary Parquet file, written and read in pieces.

Trade-off: a table of a million rows takes gigabytes as Python's lists, and its text as much again. So rows
come here piece by piece and go on as a file; nothing holds more of them than DuckDB needs for a query.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from scalelab.errors import StoreError, is_disk_full
from scalelab.store.files import disk_full
from scalelab.store.schema import CONFIG, literal, quoted

if TYPE_CHECKING:
    import duckdb

MAX_ROWS = 1_000_000
MEMORY = "192MB"
"""What DuckDB may hold of a table that is on its way; the rest goes to the disk."""
PIECE_VALUES = 400_000
"""Values that are held as Python's objects at once, of all columns."""
PIECE_ROWS = 20_000
"""Rows of which one column is held so."""
_TEXTS = (
    "trial_id", "dataset", "architecture", "optimizer", "metric", "direction", "status", "error", "extra",
)  # fmt: skip
_WHOLE = ("seed", "n_steps", "batch_size")
_NUMBERS = (
    "n_params", "n_params_body", "n_examples", "forward_flops", "train_flops", "epochs", "loss", "objective",
    "test_loss", "test_objective", "wall_seconds",
)  # fmt: skip
COLUMNS = (*_TEXTS, *_WHOLE, *_NUMBERS)
"""Of the table `imported_runs`, without study and position."""
_ENCODER = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False, ensure_ascii=False)


class Rows:
    """Rows in a file that goes with the last reference to it.

    Its columns are those of the table `imported_runs` that have values, without study and position; facts and
    options are the JSON text `extra`.

    Attributes:
        path: The Parquet file; `rows.parquet` in a folder of its own.
    """

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="scalelab-", ignore_cleanup_errors=True)
        self.path = Path(self._folder.name, "rows.parquet")
        self._pieces: list[Path] = []

    @property
    def folder(self) -> Path:
        """Where the file is, and where others may be that go with it."""
        return self.path.parent

    def add(self, content: Mapping[str, Sequence[Any]]) -> None:
        """Adds rows.

        Args:
            content: By column values, equally many; `extra` as JSON text.

        Raises:
            StoreError: There is no room for them.
        """
        layout = {name: [_sql_type(name)] for name in content}
        columns = ", ".join(f"unnest(item.{quoted(name)}) as {quoted(name)}" for name in content)
        # Read once, before it is taken apart: a million rows take seconds so, and hours in one statement.
        self._connection.execute(
            "create or replace temp table staged as select from_json(?, ?) as item",
            [json.dumps(content, allow_nan=False, ensure_ascii=False), json.dumps(layout)],
        )
        self.add_query(self._connection, f"select {columns} from staged")

    def add_query(self, connection: duckdb.DuckDBPyConnection, query: str) -> None:
        """Adds what a query gives, in the columns' types.

        Raises:
            StoreError: There is no room for it.
        """
        piece = self.folder / f"{len(self._pieces)}.parquet"
        with _space(piece):
            connection.execute(f"copy ({query}) to {literal(str(piece))} (format parquet, compression zstd)")
        self._pieces.append(piece)

    def close(self) -> None:
        """Makes one file of all that was added, without the columns that have no values.

        Raises:
            StoreError: There is no room for it.
        """
        source = f"read_parquet([{', '.join(literal(str(piece)) for piece in self._pieces)}])"
        connection = self._connection
        with _space(self.path):
            connection.execute("drop table if exists staged")
            names = [row[0] for row in connection.execute(f"describe from {source}").fetchall()]
            counts = ", ".join(f"count({quoted(name)})" for name in names)
            found = connection.execute(f"select {counts} from {source}").fetchall()[0]
            kept = ", ".join(quoted(name) for name, count in zip(names, found, strict=True) if count)
            connection.execute(
                f"copy (select {kept} from {source}) to {literal(str(self.path))} "
                "(format parquet, compression zstd)"
            )
        for piece in self._pieces:
            piece.unlink(missing_ok=True)
        self._pieces.clear()

    def check(self, n_runs: int) -> None:
        """Makes sure that every value can be read, and that there are as many rows as are said.

        Raises:
            ValueError: It is not so.
        """
        import duckdb

        try:
            query = f"select count(*), bit_xor(hash(t)) from {self._source} t"
            ((n_rows, _),) = self._connection.execute(query).fetchall()
        except duckdb.Error as error:
            raise ValueError(f"its rows cannot be read: {str(error).splitlines()[0][:200]}") from error
        if n_rows != n_runs:
            raise ValueError(f"it has {n_rows} rows, and says {n_runs}")

    def names(self) -> list[str]:
        """Returns the names of the columns."""
        return [row[0] for row in self._connection.execute(f"describe from {self._source}").fetchall()]

    def values(self, name: str) -> Iterator[list[Any]]:
        """Yields the values of a column, piece by piece; one column at a time."""
        result = self._connection.execute(f"select {quoted(name)} from {self._source}")
        while rows := result.fetchmany(PIECE_ROWS):
            yield [value for (value,) in rows]

    @property
    def _source(self) -> str:
        return f"read_parquet({literal(str(self.path))})"

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        """A database in memory for queries over Parquet files, whose rows come in their order."""
        import duckdb

        spilled = str(self.folder / "spilled")
        config = {**CONFIG, "threads": 1, "memory_limit": MEMORY, "temp_directory": spilled}
        return duckdb.connect(":memory:", config=config)


def digest_of(rows: Rows | None, head: Sequence[str], *, canonical: bool = True) -> str:
    """Returns a digest of texts and of the JSON object of all columns, sorted by name.

    Args:
        rows: The rows; `None` where there are none.
        head: The texts.
        canonical: Whether `extra` is as `sorted_json` gives it.
    """
    found = hashlib.sha256("".join(f"{text}\0" for text in head).encode() + b"{")
    facts = _as_they_are if canonical else _again
    for place, name in enumerate([] if rows is None else sorted(rows.names())):
        found.update(f"{',' if place else ''}{json.dumps(name)}:[".encode())
        for number, values in enumerate(rows.values(name) if rows is not None else ()):
            text = facts(values) if name == "extra" else sorted_json(values)[1:-1]
            found.update(f"{',' if number else ''}{text}".encode())
        found.update(b"]")
    found.update(b"}")
    return found.hexdigest()


def _sql_type(name: str) -> str:
    return "VARCHAR" if name in _TEXTS else "BIGINT" if name in _WHOLE else "DOUBLE"


def _as_they_are(texts: list[str | None]) -> str:
    return ",".join("null" if text is None else text for text in texts)


def _again(texts: list[str | None]) -> str:
    return _as_they_are([text if text is None else sorted_json(json.loads(text)) for text in texts])


def sorted_json(value: Any) -> str:
    """Returns the text of facts in files and digests: keys in order, numbers as Python writes them."""
    return _ENCODER.encode(value)


@contextmanager
def _space(path: Path) -> Iterator[None]:
    """Says what could not be written where DuckDB says that of a file."""
    import duckdb

    try:
        yield
    except duckdb.IOException as error:
        if is_disk_full(error):
            raise StoreError(disk_full(str(path))) from error
        if str(path) not in str(error):
            raise
        raise StoreError(f"{path} cannot be written: {str(error).splitlines()[0][:200]}") from error
