"""The database's two tables: which records there are, their folds, patients and statements."""

from __future__ import annotations

import ast
import csv
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import scalelab

from .params import FOLDS, LabelSet, Rate

DATABASE = "ptbxl_database.csv"
STATEMENTS = "scp_statements.csv"
REMEDY = "get the files with 'scalelab data download ptbxl --to DIR' and set path to that folder"
CLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
"""The diagnostic classes."""
_KINDS = ("diagnostic", "form", "rhythm")
_FLAGS = {"": False, "0": False, "0.0": False, "1": True, "1.0": True}
_LIKELIHOOD = r"'[^'\\]*': (?:100(?:\.0+)?|[1-9]?[0-9](?:\.[0-9]+)?)"
_PLAIN = re.compile(rf"\{{{_LIKELIHOOD}(?:, {_LIKELIHOOD})*\}}")
_QUOTED = re.compile(r"'([^']*)'")
_FILES = {100: "filename_lr", 500: "filename_hr"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the database.

    Attributes:
        ecg_id: Its number.
        patient: The patient's number.
        fold: Its `strat_fold`, 1 to 10.
        codes: SCP-ECG codes of its statements, whatever likelihood is given for them.
        file: Its header and samples, relative to the folder and without an ending.
    """

    ecg_id: int
    patient: int
    fold: int
    codes: tuple[str, ...]
    file: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What `scp_statements.csv` says of one code.

    Attributes:
        kinds: Those of `diagnostic`, `form` and `rhythm` that it belongs to.
        subclass: Diagnostic subclass, empty where it has none.
        superclass: Diagnostic class, one of `CLASSES` or empty; a diagnostic statement has one.
    """

    kinds: frozenset[str]
    subclass: str
    superclass: str


def folder_of(path: Path) -> Path:
    """Returns the absolute folder that a path stands for; `~` is the home folder.

    Raises:
        scalelab.DataError: It stands for none: an unknown user's, or links that go round in a circle.
    """
    try:
        return path.expanduser().resolve()
    except (RuntimeError, ValueError, OSError) as error:
        raise scalelab.DataError(f"ptbxl: {str(path)!r} is not a folder: {error}") from error


def read_database(folder: Path, rate: Rate) -> list[Entry]:
    """Returns every record in the order of the file.

    Raises:
        scalelab.DataError: The file is missing, is not this table, has a record or a file twice, or a
            patient in two folds.
    """
    column = _FILES[rate]
    entries: dict[int, Entry] = {}
    records: dict[str, int] = {}
    for line, row in _rows(folder, DATABASE, ("ecg_id", "patient_id", "scp_codes", "strat_fold", column)):
        try:
            entry = _entry(row, column)
            if entry.ecg_id in entries:
                raise ValueError(f"a second ecg_id {entry.ecg_id}")
            if entry.file in records:
                raise ValueError(f"{column} {entry.file!r} is that of ecg_id {records[entry.file]} already")
        except ValueError as error:
            raise scalelab.DataError(f"ptbxl: {folder / DATABASE}, line {line}: {error}") from error
        entries[entry.ecg_id] = entry
        records[entry.file] = entry.ecg_id
    found = [*entries.values()]
    if not found:
        raise scalelab.DataError(f"ptbxl: {folder / DATABASE} has no rows; {REMEDY}")
    _check_patients(found, folder / DATABASE)
    return found


def read_statements(folder: Path) -> dict[str, Statement]:
    """Returns what each SCP-ECG code is.

    Raises:
        scalelab.DataError: The file is missing, is not this table, or has a statement twice.
    """
    columns = ("", *_KINDS, "diagnostic_class", "diagnostic_subclass")
    statements: dict[str, Statement] = {}
    for line, row in _rows(folder, STATEMENTS, columns):
        code = row[""]
        try:
            if not code:
                raise ValueError("no statement in the first column")
            if code in statements:
                raise ValueError(f"a second statement {code[:40]!r}")
            statements[code] = _statement(row)
        except ValueError as error:
            raise scalelab.DataError(f"ptbxl: {folder / STATEMENTS}, line {line}: {error}") from error
    return statements


def labels_by_code(statements: Mapping[str, Statement], labels: LabelSet) -> dict[str, str]:
    """Returns the label that each code stands for in a set of labels; codes outside of the set are left out.

    Source of the sets: Strodthoff, Wagner, Schaeffter & Samek, "Deep Learning for ECG Analysis: Benchmarks
    and Insights from PTB-XL", IEEE J. Biomed. Health Inform. 25(5), 2021.
    """
    if labels == "all":
        return {code: code for code in statements}
    if labels == "subdiagnostic":
        named = {code: it.subclass for code, it in statements.items() if "diagnostic" in it.kinds}
    elif labels == "superdiagnostic":
        named = {code: it.superclass for code, it in statements.items() if "diagnostic" in it.kinds}
    else:
        named = {code: code for code, it in statements.items() if labels in it.kinds}
    return {code: label for code, label in named.items() if label}


def check_codes(entries: Iterable[Entry], statements: Mapping[str, Statement], folder: Path) -> None:
    """Checks that every code is known.

    Raises:
        scalelab.DataError: One is not.
    """
    for entry in entries:
        for code in entry.codes:
            if code not in statements:
                raise scalelab.DataError(
                    f"ptbxl: {folder / DATABASE}: record {entry.ecg_id} has the code {code!r}, which "
                    f"{STATEMENTS} does not list; take both files from one version of the database"
                )


def _rows(folder: Path, name: str, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields line and named columns of each row of a table; `""` is the first one, whatever its name."""
    path = folder / name
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for who writes to it
            raise scalelab.DataError(f"ptbxl: {path} is not a regular file; {REMEDY}")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            lacking = [column for column in columns if column not in ("", *header)]
            if lacking:
                raise scalelab.DataError(f"ptbxl: {path} has no column {', '.join(lacking)}; {REMEDY}")
            places = [(column, header.index(column) if column else 0) for column in columns]
            for row in reader:
                if len(row) != len(header):
                    raise scalelab.DataError(
                        f"ptbxl: {path}, line {reader.line_num}: {len(row)} columns where its first line has "
                        f"{len(header)}; is the file cut off?"
                    )
                yield reader.line_num, {column: row[place].strip() for column, place in places}
    except (FileNotFoundError, NotADirectoryError) as error:
        raise scalelab.DataError(_missing(folder, name)) from error
    except OSError as error:
        raise scalelab.DataError(f"ptbxl: {path} cannot be read: {error.strerror or error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise scalelab.DataError(f"ptbxl: {path} is not a CSV file in UTF-8 ({error}); {REMEDY}") from error


def _missing(folder: Path, name: str) -> str:
    if not folder.is_dir():
        what = f"{folder} is not a folder" if folder.exists() else f"there is no folder {folder}"
        return f"ptbxl: {what}; {REMEDY}"
    deeper = next(iter(sorted(folder.glob(f"*/{name}"))), None)
    hint = REMEDY if deeper is None else f"there is one in {deeper.parent}: set path to that"
    return f"ptbxl: the folder {folder} has no {name}; {hint}"


def _entry(row: Mapping[str, str], file_column: str) -> Entry:
    file = row[file_column]
    parts = PurePosixPath(file).parts
    if not parts or file.startswith("/") or ".." in parts or "\0" in file:
        raise ValueError(f"{file_column} {file!r} is not a file within the folder")
    fold = _whole(row["strat_fold"], "strat_fold")
    if fold not in FOLDS:
        raise ValueError(f"strat_fold {fold} is not between 1 and 10")
    ecg_id, patient = _whole(row["ecg_id"], "ecg_id"), _whole(row["patient_id"], "patient_id")
    return Entry(ecg_id, patient, fold, _codes(row), str(PurePosixPath(file)))


def _statement(row: Mapping[str, str]) -> Statement:
    for kind in _KINDS:
        if row[kind] not in _FLAGS:
            raise ValueError(f"{kind} {row[kind][:40]!r} is neither empty nor 1 nor 0")
    kinds = frozenset(kind for kind in _KINDS if _FLAGS[row[kind]])
    superclass = row["diagnostic_class"]
    if superclass and superclass not in CLASSES:
        raise ValueError(f"diagnostic_class {superclass[:40]!r} is none of {', '.join(CLASSES)}")
    if "diagnostic" in kinds and not superclass:
        raise ValueError(f"the diagnostic statement {row[''][:40]!r} has no diagnostic_class")
    return Statement(kinds, row["diagnostic_subclass"], superclass)


def _whole(text: str, column: str) -> int:
    """Patients are numbers with a `.0` in the file."""
    digits = text.removesuffix(".0")
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{column} {text!r} is not a whole number")
    return int(digits)


def _codes(row: Mapping[str, str]) -> tuple[str, ...]:
    """`{'NORM': 100.0, 'SR': 0.0}`: a likelihood of 0 says that none was given, not that it is not so."""
    text = row["scp_codes"]
    if _PLAIN.fullmatch(text):  # nearly all of 21,837, in a tenth of the time
        return tuple(dict.fromkeys(_QUOTED.findall(text)))
    try:
        codes = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"scp_codes {text[:40]!r} are not a dictionary of codes") from error
    if not isinstance(codes, dict) or not all(isinstance(code, str) for code in codes):
        raise ValueError(f"scp_codes {text[:40]!r} are not a dictionary of codes")
    for code, likelihood in codes.items():
        if type(likelihood) not in (int, float) or not 0 <= likelihood <= 100:
            raise ValueError(
                f"scp_codes give {code[:40]!r} the likelihood {str(likelihood)[:40]!r}, "
                "which is not a number from 0 to 100"
            )
    return tuple(codes)


def _check_patients(entries: Iterable[Entry], path: Path) -> None:
    folds: dict[int, set[int]] = defaultdict(set)
    for entry in entries:
        folds[entry.patient].add(entry.fold)
    split = {patient: sorted(of) for patient, of in folds.items() if len(of) > 1}
    if split:
        patient, of = next(iter(split.items()))
        raise scalelab.DataError(
            f"ptbxl: {path}: {len(split)} patients have records in several folds, such as patient {patient} "
            f"in {' and '.join(map(str, of))}; training would know patients of the test: take strat_fold as "
            "it is published"
        )
