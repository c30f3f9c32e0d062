"""The files that a foreign table may be in, made a view of a DuckDB connection.

Nothing of a CSV file is guessed but its separator and its types: the first line holds the names, and a line
that does not fit is an error, not left out.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.errors import InputError
from scalelab.regular_files import open_regular
from scalelab.store.parameters import free_name
from scalelab.store.schema import literal

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

SEPARATORS = (",", "\t", ";", "|")
MISSING = ("", "NA", "N/A", "null", "NULL", "None")
READERS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".json": "json", ".jsonl": "json",
    ".ndjson": "json",
}  # fmt: skip


def load(
    connection: duckdb.DuckDBPyConnection, table: pd.DataFrame | Path | str
) -> tuple[int | None, dict[str, str]]:
    """Makes the view `loaded` of a file or a DataFrame.

    Returns:
        How many rows it must have, where that is known before DuckDB reads them; and by new name the columns
        that got one, since SQL does not tell capital letters from small ones.

    Raises:
        InputError: There is no such file, it is not a table, or two of its columns have one name.
    """
    if not isinstance(table, (str, Path)):
        names, renamed = _distinct([str(name).strip() for name in table.columns], "the DataFrame")
        connection.register("frame", table.set_axis(names, axis=1).reset_index(drop=True))
        connection.execute("create temp view loaded as select * from frame")
        return None, renamed
    path = Path(table).expanduser()
    kind = READERS.get(path.suffix.lower())
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file: {', '.join(READERS)}")
    if not path.exists():
        raise InputError(f"there is no file {path}")
    if kind is None:
        known = ", ".join(READERS)
        raise InputError(f"{path.name} ends in none of {known}; save the table as CSV or Parquet")
    # DuckDB takes a name with these signs for a pattern of names.
    place = literal(re.sub(r"([*?\[])", r"[\1]", str(path)))
    call, n_rows, renamed = f"read_{kind}({place})", None, {}
    try:
        open_regular(path).close()
        if kind == "csv":
            call, n_rows, renamed = _csv_call(place, path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    connection.execute(f"create temp view loaded as select * from {call}")
    return n_rows, renamed


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
