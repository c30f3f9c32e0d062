"""Who is whose patient: from a table, from the headers, and for two sources from age and sex.

Two records of a patient must not stand on two sides of a split. What is not known here is not guessed:
georgia, chapman_shaoxing, ningbo, cpsc_2018 and cpsc_2018_extra do not say, and PTB-XL only in its own table.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import scalelab

from .chunks import Row
from .headers import printable

PATIENT_BY_PATIENT = ("st_petersburg_incart", "ptb")
"""Sources whose records go patient by patient: runs of equal age and sex are taken for one patient's."""
LARGEST = 1 << 26
"""Bytes of the largest table that is read; PTB-XL's has 6 million."""
_WHOLE = re.compile(r"([0-9]{1,9})(?:\.0*)?")
_COLUMNS = (("record", "group"), ("ecg_id", "patient_id"))


def table_bytes(path: Path) -> bytes:
    """Returns the content of a table of groups.

    Raises:
        scalelab.DataError: It cannot be read, or is too large to be one.
    """
    path = path.expanduser()
    try:
        size = path.stat().st_size
        what = f"has {size:,} bytes, more than {LARGEST:,}" if size > LARGEST else ""
        if not path.is_file():  # a pipe would be waited for
            what = "is a folder" if path.is_dir() else "is not a file"
        if what:
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
        text = io.StringIO(table_bytes(path).decode("utf-8-sig"), newline="")
        reader = csv.reader(text, strict=True)
        lines = [line for line in reader if any(cell.strip() for cell in line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise scalelab.DataError(f"{where} is not a CSV file in UTF-8: {error}") from error
    columns, places = _columns(lines, where)
    own = columns == _COLUMNS[0]
    groups: dict[str, str] = {}
    for number, record, group in _cells(lines, places, where):
        name = record if own else _ptb_xl_name(record, where, number)
        if groups.setdefault(name, group) != group:
            raise scalelab.DataError(f"{where}: row {number}: {printable(name)} has two different groups")
    unknown = [name for name in groups if name not in names]
    if own and unknown:
        one = len(unknown) == 1
        raise scalelab.DataError(
            f"{where} names {len(unknown)} record{'' if one else 's'} that the folder does not have, "
            f"{'' if one else 'such as '}{printable(unknown[0])}; leave {'it' if one else 'them'} out"
        )
    if len(unknown) == len(groups):
        raise scalelab.DataError(f"{where} names no record of the folder")
    return groups


def _columns(lines: Sequence[Sequence[str]], where: str) -> tuple[tuple[str, str], list[int]]:
    """Returns the names of the two columns that count, and their places."""
    needs = "it needs record and group, or PTB-XL's ecg_id and patient_id"
    if not lines:
        raise scalelab.DataError(f"{where} is empty; {needs}")
    header = [cell.strip().lower() for cell in lines[0]]
    columns = next((pair for pair in _COLUMNS if set(pair) <= set(header)), None)
    if columns is None:
        shown = ", ".join(map(printable, header[:5]))
        raise scalelab.DataError(f"{where} has the columns {shown}; {needs}")
    for name in columns:
        if header.count(name) > 1:
            raise scalelab.DataError(f"{where} has the column {name} {header.count(name)} times; leave one")
    return columns, [header.index(name) for name in columns]


def _cells(
    lines: Sequence[Sequence[str]], places: Sequence[int], where: str
) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(lines[1:], start=1):
        cells = [line[place].strip() if place < len(line) else "" for place in places]
        if not all(cells) or cells[1].lower() == "nan":  # pandas' empty cell
            raise scalelab.DataError(f"{where}: row {number} lacks a record or its group")
        yield number, cells[0], cells[1]


def _ptb_xl_name(ecg_id: str, where: str, number: int) -> str:
    whole = _WHOLE.fullmatch(ecg_id)
    if whole is None:
        raise scalelab.DataError(f"{where}: row {number}: ecg_id is {printable(ecg_id)}, not a whole number")
    return f"HR{int(whole[1]):05d}"


def patients_of(rows: Sequence[Row], table: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Returns what each record's patient is known by; nothing where unknown.

    A table and a header both count. In sources that go patient by patient, a run of records of equal age and
    sex is taken for one patient's unless table or header tell of all of them: that may join two patients, and
    rarely parts one.

    Args:
        rows: The records, by source and name.
        table: Groups of records, see `read_table`.
    """
    known = [_known(row, table) for row in rows]
    for run in _runs(rows):
        if not all(known[place] for place in run):
            for place in run:
                known[place] += (f"{rows[place].source} as {rows[run[0]].record}",)
    return known


def _known(row: Row, table: Mapping[str, str]) -> tuple[str, ...]:
    listed = (table[row.record],) if row.record in table else ()
    return listed if row.patient is None else (*listed, f"{row.source} {row.patient}")


def _runs(rows: Sequence[Row]) -> Iterator[list[int]]:
    """Yields the places of neighbors in a source whose ages and sexes do not differ where they are known.

    Records that are left out are passed over. A run of a source that says no age and no sex at all says
    nothing of patients.
    """
    run: list[int] = []
    source = ""
    age: float | None = None
    sex: str | None = None
    for place, row in enumerate(rows):
        if row.reason is not None or row.source not in PATIENT_BY_PATIENT:
            continue
        if row.source != source or _differ(age, row.age) or _differ(sex, row.sex):
            if age is not None or sex is not None:
                yield run
            run, source, age, sex = [], row.source, None, None
        run.append(place)
        age, sex = row.age if age is None else age, row.sex if sex is None else sex
    if age is not None or sex is not None:
        yield run


def _differ(one: object, other: object) -> bool:
    return one is not None and other is not None and one != other
