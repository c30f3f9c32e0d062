"""Out of the database into the journal: what only the database holds.

A committed store comes without its journal, and a journal may have been lost. Before a database is replaced,
everything that only it holds becomes a file of the journal. What cannot be read is
counted, not fatal: rows are read in pieces, and a broken piece costs itself only.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import StoreDamagedError
from scalelab.permissions import make_folder
from scalelab.store import schema
from scalelab.store.connection import Database, open_file
from scalelab.store.files import writing
from scalelab.store.journal import Journal
from scalelab.store.kind import E, Kind, M
from scalelab.store.kinds import KINDS, RECORDS

if TYPE_CHECKING:
    import duckdb

PIECE = 2048


@dataclass
class Salvage:
    """What was found in a database that is to be replaced.

    Attributes:
        n_records: Records that only the database held; they are in the journal now.
        lost: Contents that the database names but cannot give, and that the journal does not hold.
        problem: Why the database could not be read, or not whole.
    """

    n_records: int = 0
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
            pieces = [
                (kind, *piece)
                for kind in KINDS
                for piece in only_in_database(connection, database.journal, kind)
            ]
    except StoreDamagedError as error:
        result.problem = str(error).splitlines()[0]
        return result
    # Many files wait for the disk once, together, and not one by one.
    durable = sum(len(names) for _, _, names in pieces) <= PIECE
    for kind, start, names in pieces:
        try:
            with _opened(database, wait) as connection:
                for _, content in contents(connection, kind, start, names):
                    database.journal.write(content, durable=durable)
                    result.n_records += kind is RECORDS
        except (StoreDamagedError, ValueError) as error:
            result.problem = str(error).splitlines()[0]
            result.lost += [name for name in names if not database.journal.has(name, kind)]
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
        make_folder(path.parent)
        try:
            path.hardlink_to(database.path)
        except OSError:
            shutil.copyfile(database.path, path)
    return path


def only_in_database(
    connection: duckdb.DuckDBPyConnection, journal: Journal, kind: Kind[Any, Any]
) -> list[tuple[int, list[str]]]:
    """Returns first row and names of the pieces of a table with rows that the journal does not hold."""
    pieces: dict[int, list[str]] = {}
    for row, name in connection.execute(f"select rowid, {kind.key} from {kind.table}").fetchall():
        if not journal.has(name, kind):
            pieces.setdefault(row - row % PIECE, []).append(name)
    return sorted(pieces.items())


def contents(
    connection: duckdb.DuckDBPyConnection, kind: Kind[M, E], start: int, names: list[str]
) -> Iterator[tuple[str, M]]:
    """Yields name and content of those names in a piece of a kind's table."""
    piece = f"rowid >= {start} and rowid < {start + PIECE} and {kind.key} in (select unnest(?))"
    rows = kind.rows.format(piece=piece)
    result = connection.execute(f"select *, {kind.key} as named from ({rows})", [names])
    columns = [column[0] for column in result.description or []]
    for row in result.fetchall():
        values = dict(zip(columns, row, strict=True))
        yield values.pop("named"), kind.restore(connection, values)
