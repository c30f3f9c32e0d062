"""Folders of runs: their files, read as what they are, and nothing but that.

Files of tools are other people's: they may be torn, huge, nested a thousand levels deep or no files at all.
Each of these functions raises `WrongRunError`, or an `OSError`, that says so.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from scalelab.errors import InputError
from scalelab.regular_files import open_regular, read_regular
from scalelab.store.trackers.documents import LARGEST, read_json, read_yaml
from scalelab.store.trackers.found import (
    Cell,
    Curve,
    ForeignRun,
    Problem,
    WrongRunError,
    cell,
    each,
    flat,
    number,
)

T = TypeVar("T")
Note = Callable[[str], None]
_NAMED = re.compile(r"(?:^|[/,])([A-Za-z][\w.-]*)=([^/,=]+)(?=[/,]|$)")
_SETTINGS = ("params.json", "hparams.yaml", "config.json", "config.yaml", "args.json", "params.yaml")


def natural(text: str) -> list[tuple[int, str]]:
    """Returns a key that sorts `run-10` after `run-9`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", text)]


def folders(path: Path, deepest: int = 6) -> Iterator[tuple[Path, list[str]]]:
    """Walks a folder; follows no link to a folder, and passes by what cannot be read (see `unread`).

    Yields:
        Each folder in and below it, and the names of its files, in natural order.

    Raises:
        InputError: The folder itself cannot be read.
    """
    for found in _walked(path, deepest):
        if not isinstance(found, OSError):
            yield found
        elif found.filename == str(path):
            raise InputError(f"{path} cannot be read: {found.strerror or found}") from found


def unread(path: Path, deepest: int = 6) -> Iterator[Problem]:
    """Yields a problem for each folder below a folder that cannot be read; none of a file."""
    for found in _walked(path, deepest) if path.is_dir() else ():
        if isinstance(found, OSError):
            reason = f"this folder cannot be read: {found.strerror or found}; runs in it are missing"
            yield Problem(os.path.relpath(found.filename, path), reason, left_out=False)


def _walked(path: Path, deepest: int) -> Iterator[tuple[Path, list[str]] | OSError]:
    errors: list[OSError] = []
    for folder, below, files in os.walk(path, onerror=errors.append):
        yield from errors
        errors.clear()
        depth = len(Path(folder).relative_to(path).parts)
        below[:] = sorted(below, key=natural) if depth < deepest else []
        yield Path(folder), sorted(files, key=natural)
    yield from errors


def start_of(path: Path, n_bytes: int = 4096) -> bytes:
    """Returns how a file begins; nothing where it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read(n_bytes)
    except OSError:
        return b""


def key_of(path: Path, source: Path) -> str:
    """Returns what tells a run apart: its path below the source; the name of the source itself."""
    below = path.relative_to(source).as_posix()
    return path.resolve().name if below == "." else below


def noted(
    items: Iterable[tuple[str, T]], read: Callable[[str, Note, T], ForeignRun | None]
) -> Iterator[ForeignRun | Problem]:
    """Reads runs one by one, see `each`; `read` is given the key, what takes notes, and what to read.

    A note says what is missing of a run that is read all the same.
    """
    for key, item in items:
        notes: list[str] = []
        yield from each([(key, item)], partial(read, key, notes.append))
        yield from (Problem(key, note, left_out=False) for note in notes)


def text_of(path: Path, limit: int = LARGEST) -> str:
    """Returns the text of a file."""
    try:
        return read_regular(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WrongRunError(f"{path.name} is not UTF-8 text") from error


def settings(folder: Path, key: str) -> dict[str, Cell]:
    """Returns what was chosen before a run: what the first file of settings in its folder says.

    Without one it is what the names of folders say, such as `lr=0.1,width=64`.
    """
    for name in _SETTINGS:
        path = folder / name
        if path.is_file():
            return flat(read_json(path) if path.suffix == ".json" else read_yaml(path, path.name))
    return {name: cell(text) for name, text in _NAMED.findall(key)}


def rows_of(path: Path, note: Note) -> Iterator[dict[str, str]]:
    """Yields the rows of a CSV file by column; one whose last line is torn is read to there, with a note."""
    csv.field_size_limit(2**31 - 1)
    lines = csv.reader(io.StringIO(text_of(path), newline=""))
    try:
        header = [name.strip() for name in next(lines, [])]
        wrong = 0
        for fields in lines:
            if len(fields) == len(header):
                yield dict(zip(header, fields, strict=True))
            elif fields:
                wrong += 1
    except csv.Error as error:
        raise WrongRunError(f"{path.name} cannot be read as CSV: {error}") from error
    if wrong:
        note(f"lines of {path.name} that do not fit its first one were left out: {wrong}")


def lines_of(path: Path, note: Note) -> Iterator[dict[str, Any]]:
    """Yields the objects in a file of JSON lines; lines that are torn are left out, with a note."""
    wrong = 0
    for line in text_of(path).splitlines():
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError:
            row = line
        if isinstance(row, dict):
            yield row
        elif row is not None:
            wrong += 1
    if wrong:
        note(f"lines of {path.name} that are not JSON were left out: {wrong}")


def curves_of(rows: Iterable[Mapping[str, Any]], steps: tuple[str, ...]) -> dict[str, Curve]:
    """Returns the curves in rows of reports, along the first of some columns a row has, or its number."""
    curves: dict[str, Curve] = {}
    for place, row in enumerate(rows):
        step = next((at for name in steps if (at := number(row.get(name))) is not None), float(place))
        if not abs(step) < 2**63:
            continue
        for name, value in row.items():
            told = number(value)
            if told is not None and name not in steps:
                curves.setdefault(name, Curve()).add(step, told)
    return curves


def n_params_of(folder: Path, note: Note) -> int | None:
    """Returns how many numbers a folder's `model*.safetensors` hold; `None` without such a file."""
    found = 0
    for path in folder.glob("model*.safetensors"):
        try:
            with open_regular(path) as file:
                header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), LARGEST)))
            found += sum(math.prod(told["shape"]) for name, told in header.items() if name != "__metadata__")
        except (AttributeError, LookupError, TypeError, ValueError):
            note(f"the parameters in {path.name} could not be counted; is it whole?")
    return found or None
