"""Out of the database into the journal: records that only the database holds.

A committed store comes without its journal, and a journal may have been lost. Before a database is replaced,
every record and registration that only it holds becomes a file of the journal. What cannot be read is
counted, not fatal: rows are read in pieces, and a broken piece costs itself only.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import StoreDamagedError
from scalelab.records import Record, Trial
from scalelab.store import schema
from scalelab.store.connection import Database, open_file
from scalelab.store.envelope import Registration
from scalelab.store.files import writing
from scalelab.store.imports import save_imports
from scalelab.store.journal import Journal
from scalelab.store.latencies import save_measurements

if TYPE_CHECKING:
    import duckdb

PIECE = 2048
_PLAIN = (
    "study", "attempt", "status", "error", "metric", "direction", "loss", "loss_last", "objective",
    "objective_last", "best_step", "n_params", "n_params_body", "forward_flops", "train_flops", "n_steps",
    "epochs", "precision", "wall_seconds", "peak_memory_bytes", "scalelab_version", "started_at",
    "finished_at",
)  # fmt: skip
_JSON = ("metrics", "features", "machine", "plugins")
_POINT = ("step", "n_seen", "train_flops", "wall_seconds", "lr", "train_loss", "loss", "metrics")


@dataclass
class Salvage:
    """What was found in a database that is to be replaced.

    Attributes:
        records: Records that only the database held; they are in the journal now.
        registrations: The same for registrations of studies.
        imports: The same for imported tables.
        measurements: The same for measurements on hardware.
        lost: Records that the database names but cannot give, and that the journal does not hold.
        problem: Why the database could not be read, or not whole.
    """

    records: int = 0
    registrations: int = 0
    imports: int = 0
    measurements: int = 0
    lost: list[str] = field(default_factory=list)
    problem: str | None = None


def salvage(database: Database, wait: float) -> Salvage:
    """Writes what only the database holds into its journal.

    Raises:
        StoreLockedError: Somebody writes to the database.
        StoreNewerError: A newer scalelab wrote it: it must not be replaced.
        StoreError: The journal cannot be written.
    """
    result = Salvage()
    if not database.path.exists():
        return result
    try:
        with _opened(database, wait) as connection:
            _take_registrations(connection, database.journal, result)
            result.imports = save_imports(connection, database.journal)
            result.measurements = save_measurements(connection, database.journal)
            missing = _only_here(connection, database.journal)
    except (StoreDamagedError, ValueError) as error:
        result.problem = str(error).splitlines()[0]
        return result
    # Many files wait for the disk once, together, and not one by one.
    durable = len(missing) <= PIECE
    for start in sorted({row // PIECE for row, _ in missing}):
        names = [name for row, name in missing if row // PIECE == start]
        try:
            with _opened(database, wait) as connection:
                taken = _take_records(connection, database.journal, start * PIECE, set(names), durable)
                result.records += taken
        except (StoreDamagedError, ValueError) as error:
            result.problem = str(error).splitlines()[0]
            result.lost += [name for name in names if not database.journal.has(name)]
    if not durable:
        os.sync()
    return result


@contextmanager
def _opened(database: Database, wait: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens the database for reading; one whose WAL does not replay is opened without it.

    Each piece has a connection of its own, because DuckDB closes a whole database after some errors.
    """
    database.require()
    deadline = time.monotonic() + wait
    path = database.path
    if Path(f"{path}.wal").exists() and not _opens(path, deadline):
        path = _without_wal(database)
    try:
        with open_file(path, True, deadline, name=database.path) as connection:
            schema.verify(connection, database.path, writing=True)
            yield connection
    finally:
        if path != database.path:
            path.unlink(missing_ok=True)


def _opens(path: Path, deadline: float) -> bool:
    try:
        with open_file(path, True, deadline, name=path):
            return True
    except StoreDamagedError:
        return False


def _without_wal(database: Database) -> Path:
    """Returns a second name for the database's file, beside which there is no WAL."""
    path = database.journal.folder / "tmp" / f"salvage-{time.time_ns()}.duckdb"
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.hardlink_to(database.path)
        except OSError:
            shutil.copyfile(database.path, path)
    return path


def _only_here(connection: duckdb.DuckDBPyConnection, journal: Journal) -> list[tuple[int, str]]:
    """Returns row number and id of the records that the journal does not hold."""
    rows = connection.execute("select rowid, trial_id || '-' || attempt from records").fetchall()
    return [(row, name) for row, name in rows if not journal.has(name)]


def _take_records(
    connection: duckdb.DuckDBPyConnection, journal: Journal, start: int, names: set[str], durable: bool
) -> int:
    """Writes the named ones of a piece of the table `records` into the journal."""
    rows = _dicts(
        connection.execute(
            "select r.*, t.content from records r left join trials t using (trial_id) "
            "where r.rowid >= ? and r.rowid < ?",
            [start, start + PIECE],
        )
    )
    points: dict[str, list[dict[str, Any]]] = {}
    for point in _dicts(
        connection.execute(
            "select p.* from curve_points p semi join (select trial_id, attempt from records "
            "where rowid >= ? and rowid < ?) using (trial_id, attempt) order by p.rowid",
            [start, start + PIECE],
        )
    ):
        points.setdefault(f"{point['trial_id']}-{point['attempt']}", []).append(point)
    taken = 0
    for row in rows:
        name = f"{row['trial_id']}-{row['attempt']}"
        if name in names:
            record = _record(row, points.get(name, []))
            if record.id != name:
                raise StoreDamagedError(f"record {name} of the old database holds trial {record.trial.id}")
            journal.write(record, durable=durable)
            taken += 1
    return taken


def _record(row: dict[str, Any], points: list[dict[str, Any]]) -> Record:
    content = {name: row[name] for name in _PLAIN if name in row}
    values = {name: json.loads(row[name]) for name in _JSON if row.get(name) is not None}
    values["provenance"] = values.pop("plugins", {})
    curve = [
        {
            name: json.loads(point[name]) if name == "metrics" else point[name]
            for name in _POINT
            if name in point
        }
        for point in points
    ]
    return Record.model_validate(
        {**content, **values, "curve": curve, "trial": json.loads(row["content"] or "{}")}
    )


def _take_registrations(connection: duckdb.DuckDBPyConnection, journal: Journal, result: Salvage) -> None:
    there = {path.name.split(".")[0] for path in journal.registrations()}
    for row in _dicts(connection.execute("select *, epoch_us(registered_at) / 1e6 as at from studies")):
        if row["registration"] in there:
            continue
        members = _dicts(
            connection.execute(
                "select t.content, m.planned from study_trials m join trials t using (trial_id) "
                "where m.study = ? order by m.planned desc, m.position",
                [row["study"]],
            )
        )
        trials = [(Trial.model_validate_json(member["content"]), member["planned"]) for member in members]
        journal.write_registration(
            Registration(
                study=row["study"],
                text=row["text"],
                registered_at=row["at"],
                trials=tuple(trial for trial, planned in trials if planned),
                former=tuple(trial for trial, planned in trials if not planned),
            )
        )
        result.registrations += 1


def _dicts(result: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
