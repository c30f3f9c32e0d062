"""The rows of an imported table: a temporary Parquet file, written and read in pieces.

Trade-off: a table of a million rows takes gigabytes as Python's lists, and its text as much again. So rows
come here piece by piece and go on as a file; nothing holds more of them than DuckDB needs for a query.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, cast

from scalelab.errors import StoreError, brief, is_disk_full
from scalelab.store.files import disk_full, writing
from scalelab.store.schema import CONFIG, literal, quoted
from scalelab.store.temporary import temporary

if TYPE_CHECKING:
    import duckdb
    import numpy as np

MAX_ROWS = 1_000_000
PIECE_ROWS = 10_000
PIECE_BYTES = 2**24
"""Rows that are held as Python's objects at once, of those the store holds, and bytes of their facts."""
_TEXTS = (
    "trial_id", "dataset", "architecture", "optimizer", "metric", "direction", "status", "error", "extra",
)  # fmt: skip
_WHOLE = ("seed", "n_steps", "batch_size")
_NUMBERS = (
    "n_params", "n_params_body", "n_examples", "forward_flops", "train_flops", "epochs", "loss", "objective",
    "test_loss", "test_objective", "wall_seconds",
)  # fmt: skip
_KINDS = {
    **dict.fromkeys(_TEXTS, "VARCHAR"),
    **dict.fromkeys(_WHOLE, "BIGINT"),
    **dict.fromkeys(_NUMBERS, "DOUBLE"),
}
COLUMNS = tuple(_KINDS)
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
        self._folder = temporary()
        self.path = Path(self._folder.name, "rows.parquet")

    @property
    def folder(self) -> Path:
        """Where the file is, and where others may be that go with it."""
        return self.path.parent

    def check(self, n_runs: int) -> None:
        """Makes sure that every value can be read, and that there are as many rows as are said.

        Raises:
            ValueError: It is not so, or the file has other columns.
        """
        import duckdb

        source, connection = f"read_parquet({literal(str(self.path))})", _parquet()
        try:
            columns = [row[:2] for row in connection.execute(f"describe from {source}").fetchall()]
            for name, kind in columns:
                if _KINDS.get(name) != kind:
                    raise ValueError(f"its rows have a column {brief(name)} of type {kind[:40]}")
            query = f"select count(*), count(trial_id), bit_xor(hash(t)) from {source} t"
            ((n_rows, n_named, _),) = connection.execute(query).fetchall()
        except duckdb.Error as error:
            raise ValueError(f"its rows cannot be read: {str(error).splitlines()[0][:200]}") from error
        if n_rows != n_runs:
            raise ValueError(f"it has {n_rows} rows, and says {n_runs}")
        if n_named != n_rows:
            raise ValueError("not all of its rows have a name")


class Collected:
    """Rows that come piece by piece.

    Each piece becomes a Parquet file, and the JSON text of each column goes into a file of its own: the
    digest goes by columns, as the files of format 1 did.

    Attributes:
        n_rows: How many there are.
    """

    def __init__(self) -> None:
        self._rows = Rows()
        self._pieces: list[Path] = []
        self._names: set[str] = set()
        self._longest = 0
        self.n_rows = 0

    def add(self, content: Mapping[str, Sequence[Any]]) -> None:
        """Adds rows.

        Args:
            content: By column values, equally many; `extra` as the texts of JSON objects.

        Raises:
            ValueError: A value is not of its column's type.
            StoreError: There is no room for them.
        """
        arrays = {name: _array(name, values) for name, values in content.items()}
        for name, values in content.items():
            self._names.update({name} if any(value is not None for value in values) else ())
            with writing(self._text(name)), self._text(name).open("a", encoding="utf-8") as file:
                file.write(f"{',' if self._pieces else ''}{_listed(name, values)}")
        piece = self._rows.folder / f"{len(self._pieces)}.parquet"
        _copy(_parquet().register("piece", arrays), "piece", piece, "compression uncompressed")
        self._pieces.append(piece)
        self._longest = max(self._longest, len(arrays["trial_id"]))
        self.n_rows += len(arrays["trial_id"])

    def close(self, head: Sequence[str]) -> tuple[Rows | None, str]:
        """Returns the rows, of the columns that have values; `None` where there are none; and their digest.

        Args:
            head: Texts that the digest covers, too, before the JSON object of the columns.

        Raises:
            StoreError: There is no room for them.
        """
        names = sorted(self._names)
        found = hashlib.sha256("".join(f"{text}\0" for text in head).encode() + b"{")
        for place, name in enumerate(names):
            found.update(f"{',' if place else ''}{json.dumps(name)}:[".encode())
            with self._text(name).open("rb") as file:
                while chunk := file.read(2**20):
                    found.update(chunk)
            found.update(b"]")
        found.update(b"}")
        if names:
            pieces = f"read_parquet([{', '.join(literal(str(piece)) for piece in self._pieces)}])"
            shown = f"(select {', '.join(map(quoted, names))} from {pieces})"
            _copy(_parquet(), shown, self._rows.path, f"compression zstd, row_group_size {self._longest}")
        for path in (*self._pieces, *map(self._text, COLUMNS)):
            path.unlink(missing_ok=True)
        return self._rows if names else None, found.hexdigest()

    def _text(self, name: str) -> Path:
        return self._rows.folder / f"{name}.json"


def curve_text(columns: Mapping[str, Sequence[float | None]]) -> str:
    """Returns the text of a curve as files and tables have it: by column its values, equally many.

    Args:
        columns: `step`, and of `loss`, `train_flops` and `wall_seconds` those there are; what is not finite
            is missing.
    """
    shown: dict[str, Sequence[float | None]] = {}
    for name, values in columns.items():
        if None in values or not all(map(math.isfinite, cast("Sequence[float]", values))):
            values = [value if value is not None and math.isfinite(value) else None for value in values]
        if any(value is not None for value in values):
            shown[name] = values
    return sorted_json(shown)


def sorted_json(value: Any) -> str:
    """Returns the text of facts in files and digests: keys in order, numbers as Python writes them."""
    return _ENCODER.encode(value)


def _listed(name: str, values: Sequence[Any]) -> str:
    if name == "extra":
        return ",".join("null" if text is None else text for text in values)
    return sorted_json(values)[1:-1]


def _array(name: str, values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Returns the values of a column as DuckDB reads them without looking at each."""
    import numpy as np

    kind: Any = {"VARCHAR": str, "BIGINT": int, "DOUBLE": float}[_KINDS[name]]
    wrong = set(map(type, values)) - {kind, int if kind is float else kind, NoneType}
    if wrong:
        raise ValueError(f"{name} holds what is no {kind.__name__}: {wrong.pop().__name__}")
    if kind is str:
        return np.array(values, object)
    try:
        given = np.array([0 if value is None else value for value in values], kind)
    except OverflowError as error:
        raise ValueError(f"{name} holds a number that is too large") from error
    return np.ma.masked_array(given, [value is None for value in values])


@cache
def _database() -> duckdb.DuckDBPyConnection:
    import duckdb

    # What is no number is text, whatever the first values are.
    config = {**CONFIG, "threads": 1, "temp_directory": "", "pandas_analyze_sample": 0}
    return duckdb.connect(":memory:", config=config)


def _parquet() -> duckdb.DuckDBPyConnection:
    """Returns a connection to write and read Parquet with, whose rows come in their order."""
    return _database().cursor()


def _copy(connection: duckdb.DuckDBPyConnection, source: str, target: Path, options: str) -> None:
    import duckdb

    try:
        connection.execute(f"copy {source} to {literal(str(target))} (format parquet, {options})")
    except duckdb.IOException as error:
        if is_disk_full(error):
            raise StoreError(disk_full(str(target))) from error
        raise StoreError(f"{target} cannot be written: {str(error).splitlines()[0][:200]}") from error
