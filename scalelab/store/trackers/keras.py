"""Histories of Keras: those that its CSVLogger writes, and `History.history` saved as JSON.

A history says nothing of how a run ended. `History.history` after a resume begins with the resume; a
CSVLogger with `append=True` has all of it, and so holds where a folder has both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from scalelab.store.trackers.documents import read_json
from scalelab.store.trackers.folders import (
    Note,
    curves_of,
    folders,
    key_of,
    noted,
    rows_of,
    settings,
    start_of,
)  # fmt: skip
from scalelab.store.trackers.found import ForeignRun, Opened, Tracker, WrongRunError

_BEGINS = {".csv": re.compile(rb"epoch,[^\n]*loss"), ".json": re.compile(rb'\s*\{\s*"[^]}]*loss"\s*:\s*\[')}


def is_history(path: Path) -> bool:
    """Returns whether a file begins as a history does."""
    begins = _BEGINS.get(path.suffix)
    return begins is not None and begins.match(start_of(path)) is not None


def histories(path: Path) -> Iterator[tuple[str, Path]]:
    """Yields the histories of a source; one in either format in a folder is one run of that folder."""
    if path.is_file():
        yield path.stem, path
        return
    for folder, files in folders(path):
        there = [folder / name for name in files if is_history(folder / name)]
        found = sorted(there, key=lambda file: file.suffix)  # .csv before .json
        if len({file.suffix for file in found}) == len(found):
            yield from ((key_of(folder, path), file) for file in found[:1])
        else:
            yield from ((key_of(file, path), file) for file in found)


def read(key: str, note: Note, path: Path) -> ForeignRun:
    """Reads a history."""
    if path.suffix == ".csv":
        curves = curves_of(rows_of(path, note), ("epoch",))
    else:
        lists = {name: values for name, values in read_json(path).items() if isinstance(values, list)}
        curves = curves_of((dict(zip(lists, row, strict=True)) for row in zip_longest(*lists.values())), ())
    if not curves:
        raise WrongRunError("it has no epochs")
    n_epochs = 1 + max(curve.steps[-1] for curve in curves.values())
    return ForeignRun(key, curves=curves, params=settings(path.parent, key), values={"epochs": n_epochs})


def _recognizes(path: Path) -> bool:
    # A table with columns of these names is rather one of runs.
    return any(histories(path)) if path.is_dir() else path.suffix == ".json" and is_history(path)


KERAS = Tracker(
    name="keras",
    title="histories of Keras",
    recognizes=_recognizes,
    read=lambda path, _: Opened(noted(histories(path), read)),
)
