"""Trackio: a folder of SQLite databases, a project each, or one of them.

It says nothing of how a run ended. The format is that of `trackio/sqlite_storage.py`, to Trackio 0.43; before
runs had an identity of their own, their names told them apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from scalelab.errors import InputError
from scalelab.store.trackers.folders import Note, noted
from scalelab.store.trackers.found import (
    Curve,
    ForeignRun,
    Opened,
    Problem,
    Tracker,
    WrongRunError,
    flat,
    number,
)  # fmt: skip
from scalelab.store.trackers.sqlite import Database, asked, closing, has_tables

_COLUMNS = frozenset({"timestamp", "run_name", "step", "metrics"})
_INFINITE = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}


def is_project(path: Path) -> bool:
    """Returns whether a file is the database of a project."""
    return (
        path.is_file()
        and has_tables(path, "metrics", "configs")
        and asked(path, lambda database: set(database.columns("metrics")) >= _COLUMNS)
    )


def runs(database: Database) -> list[tuple[str, tuple[str, str]]]:
    """Returns what a person calls each run, and the column and value that tell it apart."""
    key = "run_id" if "run_id" in database.columns("metrics") else "run_name"
    found = database.rows(
        f"select {key}, run_name from configs union select {key}, run_name from metrics order by 2, 1"
    )
    return [(str(id), (key, name)) for id, name in found]


def read(database: Database, key: str, note: Note, run: tuple[str, str]) -> ForeignRun:
    """Reads a run."""
    column, name = run
    configs = database.rows(f"select config from configs where {column} = ?", key)
    config = flat(_object(configs[0][0])) if configs else {}
    curves: dict[str, Curve] = {}
    times: list[datetime] = []
    torn = 0
    for step, timestamp, told in database.rows(
        f"select step, timestamp, metrics from metrics where {column} = ? order by id", key
    ):
        try:
            reports = flat(_object(told))
            times.append(datetime.fromisoformat(timestamp))
        except (TypeError, ValueError):
            torn += 1
            continue
        for metric, value in reports.items():
            reported = _INFINITE.get(value) if isinstance(value, str) else number(value)
            if reported is not None:
                curves.setdefault(metric, Curve()).add(step, reported, (times[-1] - times[0]).total_seconds())
    if torn:
        note(f"reports that are not what Trackio writes were left out: {torn}")
    return ForeignRun(
        key,
        name=name,
        params={name: value for name, value in config.items() if not name.startswith("_")},
        values={"wall_seconds": (times[-1] - times[0]).total_seconds() if times else None},
        curves=curves,
    )


def _object(told: str | bytes) -> dict[str, Any]:
    found = json.loads(told)
    if not isinstance(found, dict):
        raise WrongRunError("its config is not what Trackio writes")
    return found


def _read(path: Path) -> Iterator[ForeignRun | Problem]:
    database = Database(path)
    return closing(database, noted(runs(database), partial(read, database)))


def projects(path: Path) -> dict[Path, int]:
    """Returns how many runs each project of a source has, by its file."""
    if not path.is_dir():
        return {path: len(asked(path, runs))} if is_project(path) else {}
    found: dict[Path, int] = {}
    for file in sorted(path.glob("*.db")):
        try:
            if is_project(file):
                found[file] = len(asked(file, runs))
        except (InputError, OSError):
            if file.with_suffix(".lock").exists():  # which Trackio leaves beside its own
                raise
    return found


def _opened(path: Path, project: str | None) -> Opened:
    return Opened(_read(path / f"{project}.db" if path.is_dir() else path))


TRACKIO = Tracker(
    name="trackio",
    title="projects of Trackio",
    recognizes=lambda path: bool(projects(path)),
    read=_opened,
    experiments=lambda path: {file.stem: n_runs for file, n_runs in projects(path).items()},
)
