"""Who is whose patient: from a table, from the headers, and for two sources from age and sex.

Two records of a patient must not stand on two sides of a split. What is not known here is not guessed:
georgia, chapman_shaoxing, ningbo, cpsc_2018 and cpsc_2018_extra do not say, and PTB-XL only in its own table.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import scalelab

from .chunks import Row
from .headers import printable

PATIENT_BY_PATIENT = ("st_petersburg_incart", "ptb")
"""Sources whose records go patient by patient: neighbors of equal age and sex are taken for one patient's."""
LARGEST = 1 << 26
"""Bytes of the largest table that is read; PTB-XL's has 6 million."""
_COLUMNS = (("record", "group"), ("ecg_id", "patient_id"))


def table_bytes(path: Path) -> bytes:
    """Returns the content of a table of groups.

    Raises:
        scalelab.DataError: It cannot be read, or is too large to be one.
    """
    path = path.expanduser()
    try:
        size = path.stat().st_size
        if path.is_dir() or size > LARGEST:
            what = "is a folder" if path.is_dir() else f"has {size:,} bytes, more than {LARGEST:,}"
            raise scalelab.DataError(f"physionet2021: groups: {path} {what}; give a CSV file")
        return path.read_bytes()
    except OSError as error:
        raise scalelab.DataError(
            f"physionet2021: groups: {path} cannot be read: {error.strerror or error}; give a CSV file with "
            "the columns record and group, or PTB-XL's ptbxl_database.csv"
        ) from error


def table_digest(path: Path | None) -> str | None:
    """Returns a digest of a table's content, `None` without a table."""
    return None if path is None else hashlib.sha256(table_bytes(path)).hexdigest()


def read_table(path: Path, names: Collection[str]) -> dict[str, str]:
    """Returns the group of each record that a table names.

    The table has the columns `record` and `group`, or is PTB-XL's own `ptbxl_database.csv`, whose `ecg_id` 1
    is the record HR00001; of that one, records that are not in the folder are passed over.

    Args:
        path: The CSV file.
        names: Every record of the folder.

    Raises:
        scalelab.DataError: It cannot be read, is no such table, or names a record that there is not, or one
            twice with different groups.
    """
    where = f"physionet2021: groups: {path}"
    try:
        reader = csv.reader(io.StringIO(table_bytes(path).decode("utf-8-sig"), newline=""))
        lines = [line for line in reader if any(cell.strip() for cell in line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise scalelab.DataError(f"{where} is not a CSV file in UTF-8: {error}") from error
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    columns = next((pair for pair in _COLUMNS if set(pair) <= set(header)), None)
    if columns is None:
        shown = ", ".join(map(printable, header[:5])) or "nothing"
        raise scalelab.DataError(
            f"{where} has the columns {shown}; it needs record and group, or PTB-XL's ecg_id and patient_id"
        )
    own = columns == _COLUMNS[0]
    groups: dict[str, str] = {}
    for number, record, group in _cells(lines, [header.index(name) for name in columns], where):
        name = record if own else _ptb_xl_name(record, where, number)
        if groups.setdefault(name, group) != group:
            raise scalelab.DataError(f"{where}: row {number}: {printable(name)} has two different groups")
    unknown = [name for name in groups if name not in names]
    if own and unknown:
        raise scalelab.DataError(
            f"{where} names {len(unknown)} records that the folder does not have, such as "
            f"{printable(unknown[0])}; leave them out"
        )
    if len(unknown) == len(groups):
        raise scalelab.DataError(f"{where} names no record of the folder")
    return groups


def _cells(
    lines: Sequence[Sequence[str]], places: Sequence[int], where: str
) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(lines[1:], start=1):
        cells = [line[place].strip() if place < len(line) else "" for place in places]
        if not all(cells):
            raise scalelab.DataError(f"{where}: row {number} lacks a record or its group")
        yield number, cells[0], cells[1]


def _ptb_xl_name(ecg_id: str, where: str, number: int) -> str:
    if not (ecg_id.isascii() and ecg_id.isdigit() and len(ecg_id) <= 9):
        raise scalelab.DataError(f"{where}: row {number}: ecg_id is {printable(ecg_id)}, not a whole number")
    return f"HR{int(ecg_id):05d}"


def patients_of(rows: Sequence[Row], table: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Returns what each record's patient is known by; nothing where unknown.

    A table and a header both count. Where neither tells, neighbors of equal known age and sex in sources that
    go patient by patient are taken for one patient's: that may join two patients, and rarely parts one.

    Args:
        rows: The records, by source and name.
        table: Groups of records, see `read_table`.
    """
    found: list[tuple[str, ...]] = []
    for (source, age, sex, told), same in groupby(rows, key=lambda row: _neighbor(row, table)):
        own = list(same)
        alike = source in PATIENT_BY_PATIENT and age is not None and sex is not None
        run = (f"{source} as {own[0].record}",) if alike and not told else ()
        for row in own:
            header = () if row.patient is None else (f"{row.source} {row.patient}",)
            listed = (table[row.record],) if row.record in table else ()
            found.append((*listed, *header, *run))
    return found


def _neighbor(row: Row, table: Mapping[str, str]) -> tuple[str, float | None, str | None, bool]:
    return row.source, row.age, row.sex, row.record in table or row.patient is not None
