"""The files that a foreign table may be in, made a view of a DuckDB connection.

Nothing of a CSV file is guessed but its separator and its types: the first line holds the names, and a line
that does not fit is an error, not left out.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import InputError, brief
from scalelab.regular_files import expanded, open_regular
from scalelab.store.parameters import Kind, free_name
from scalelab.store.schema import literal
from scalelab.store.tracked import Tracked, load_runs
from scalelab.store.trackers.known import tracker_of

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

_WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
_REAL = {"FLOAT", "DOUBLE", "HUGEINT", "UHUGEINT", "UBIGINT"}
FRAME = "DataFrame"
SEPARATORS = (",", "\t", ";", "|")
MISSING = ("", "NA", "N/A", "null", "NULL", "None")
READERS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".json": "json", ".jsonl": "json",
    ".ndjson": "json",
}  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """A foreign table that was loaded.

    Attributes:
        view: What it is called in the database.
        n_rows: How many rows it must have, where that is known before DuckDB reads them.
        renamed: By new name the columns that got one: SQL does not tell capital letters from small ones.
        tracked: What is known beside the table, where a tracker wrote it.
    """

    view: str
    n_rows: int | None = None
    renamed: dict[str, str] = field(default_factory=dict)
    tracked: Tracked | None = None


def refuse_no_tables(tables: Sequence[Any], kind: str | None, experiment: str | None) -> None:
    """Refuses what is no list of tables, and what is said of files where there is none.

    Raises:
        InputError: Nothing is given, or something that is no table.
    """
    frames = [table for table in tables if not isinstance(table, (str, Path))]
    if frames:
        import pandas as pd
    what = "give a DataFrame, a file, a folder, or a list of these"
    if not tables:
        raise InputError(f"there is nothing to import; {what}")
    for table in frames:
        if not isinstance(table, pd.DataFrame):
            raise InputError(f"{type(table).__name__} is no table; {what}")
    for name, given in (("kind", kind), ("experiment", experiment)):
        if given is not None and len(frames) == len(tables):
            raise InputError(f"{name} {brief(given)} is said of a file or folder; drop it")


def names_of(paths: Sequence[Path | None]) -> list[str]:
    """Returns what messages call files, and DataFrames, which have no path."""
    names = [FRAME if path is None else path.name or str(path.resolve()) for path in paths]
    return [
        name if names.count(name) == 1 else f"{name} {at}" if path is None else str(path)
        for at, (name, path) in enumerate(zip(names, paths, strict=True), start=1)
    ]


def load(
    connection: duckdb.DuckDBPyConnection,
    table: pd.DataFrame | Path | str,
    view: str,
    folder: Path,
    kind: str | None = None,
    experiment: str | None = None,
) -> Loaded:
    """Makes a view of a DataFrame, a file, or what a tracker wrote.

    Args:
        connection: Of the database.
        table: The table.
        view: The view's name.
        folder: For what goes to the disk; kept as long as the view.
        kind: What wrote it, see `scalelab.store.trackers.known`; recognized where it is not given.
        experiment: Which of a tracker's experiments to read.

    Raises:
        InputError: There is no such file, it is not a table, or two of its columns have one name.
    """
    if not isinstance(table, (str, Path)):
        names, renamed = _distinct([str(name).strip() for name in table.columns], "the DataFrame")
        connection.register(f"frame_of_{view}", table.set_axis(names, axis=1).reset_index(drop=True))
        connection.execute(f"create temp view {view} as select * from frame_of_{view}")
        return Loaded(view, renamed=renamed)
    path = expanded(table)
    if not path.exists():
        raise InputError(f"there is no file {path}")
    tracker = tracker_of(path, kind)
    if tracker is not None:
        try:
            return Loaded(view, tracked=load_runs(connection, path, tracker, experiment, folder, view))
        except OSError as error:
            told = error.strerror or error
            raise InputError(f"{path} cannot be read as {tracker.title}: {told}") from error
    if experiment is not None:
        raise InputError(f"{path.name} is a table, not divided into experiments; drop --experiment")
    reader = READERS.get(path.suffix.lower())
    if reader is None and kind is not None and (wrote := tracker_of(path, None)) is not None:
        raise InputError(f"{path} is no table, but {wrote.title}: --kind {wrote.name}, or none")
    if reader is None:
        raise InputError(
            f"{path.name} ends in none of {', '.join(READERS)}, and no tracker's runs were recognized in it; "
            "save the table as CSV or Parquet, or say what it is with --kind"
        )
    # DuckDB takes a name with these signs for a pattern of names.
    place = literal(re.sub(r"([*?\[])", r"[\1]", str(path)))
    call, n_rows, renamed = f"read_{reader}({place})", None, {}
    try:
        open_regular(path).close()
        if reader == "csv":
            call, n_rows, renamed = _csv_call(place, path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    connection.execute(f"create temp view {view} as select * from {call}")
    return Loaded(view, n_rows, renamed)


def _csv_call(place: str, path: Path) -> tuple[str, int, dict[str, str]]:
    """Returns the call of DuckDB's reader, with all fixed that it would guess, the rows and new names."""
    header, separator, n_rows = _layout(path)
    names, renamed = _distinct([name or f"column{i}" for i, name in enumerate(header)], path.name)
    options = {
        "header": "true", "delim": literal(separator), "quote": "'\"'", "escape": "'\"'", "comment": "''",
        # Lines may end in different ways; that every line fits was seen already.
        "strict_mode": "false", "skip": "0", "sample_size": "-1",
        "nullstr": "[" + ", ".join(map(literal, MISSING)) + "]",
        "names": "[" + ", ".join(map(literal, names)) + "]",
        "auto_type_candidates": "['BOOLEAN', 'BIGINT', 'DOUBLE', 'VARCHAR']",
    }  # fmt: skip
    given = ", ".join(f"{key} = {value}" for key, value in options.items())
    return f"read_csv({place}, {given})", n_rows, renamed


def _layout(path: Path) -> tuple[list[str], str, int]:
    """Returns a CSV file's columns, separator and number of rows, after making sure that every line fits."""
    csv.field_size_limit(2**31 - 1)  # the whole line, by a separator that is none; 131,072 by default
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            if not first.strip():
                raise InputError(
                    f"{path.name} is empty, or its first line is; that line must name the columns"
                )
            separator = _separator(first, file.readline())
            file.seek(0)
            lines = csv.reader(file, delimiter=separator, strict=True)
            header = [name.strip() for name in next(lines)]
            n_rows = 0
            for fields in lines:
                n_rows += bool(fields)
                if fields and len(fields) != len(header):
                    raise InputError(
                        f"line {lines.line_num} of {path.name} does not fit: {len(fields)} values for the "
                        f"{len(header)} columns that the first line names"
                    )
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8 text; save it as UTF-8") from error
    except csv.Error as error:
        raise InputError(f"{path.name} cannot be read as CSV: {error}; is a quote left open?") from error
    return header, separator, n_rows


def _separator(first: str, second: str) -> str:
    """Returns what splits the first line most often, and the second as often where there is such a sign."""

    def splits(sign: str) -> tuple[bool, int]:
        pieces = [len(next(csv.reader([line], delimiter=sign), [])) for line in (first, second)]
        return pieces[0] > 1 and pieces[0] == pieces[1], pieces[0]

    return max(SEPARATORS, key=splits)


def _distinct(names: list[str], what: str) -> tuple[list[str], dict[str, str]]:
    """Returns the names, new ones where only case tells them apart, and those by what they were."""
    found: list[str] = []
    renamed: dict[str, str] = {}
    for name in names:
        if name in found:
            raise InputError(f"{what} has two columns {name!r}, which are not distinct; rename one")
        free = name
        if any(name.casefold() == other.casefold() for other in found):
            free = free_name(name, [*names, *found])
            renamed[free] = name
        found.append(free)
    return found, renamed


def first_lines(error: duckdb.Error) -> str:
    """Returns what DuckDB says of a table that it cannot read, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    shown = " ".join(lines[:3] if "CSV Error" in lines[0] else lines[:1])
    return re.sub(r"^[\w ]+ Error: ", "", shown)[:300]


def shown_as(value: str, sql_type: str) -> tuple[Kind, str]:
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
