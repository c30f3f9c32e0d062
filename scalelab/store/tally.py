"""Has the database all that its journal gave it? A tally tells, without a look at every file of the journal.

Whoever puts contents into the database notes in the journal how many there are of each kind, with a digest
of their names. An older copy of the database that somebody put in its place has other ones, and takes in
again what it lacks; otherwise its trials would be "under way elsewhere" for ever, because the journal has
records of them. Where there is no tally, or a kill came between commit and note, the journal is looked
through once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.regular_files import read_regular
from scalelab.store.files import replace_whole, writing
from scalelab.store.journal import Journal
from scalelab.store.kind import Kind
from scalelab.store.kinds import KINDS

if TYPE_CHECKING:
    import duckdb


def _file(journal: Journal) -> Path:
    return journal.folder / "tally.json"


def note(connection: duckdb.DuckDBPyConnection, journal: Journal) -> None:
    """Notes what the database has, for who holds the store's write lock.

    Raises:
        StoreError: The journal's folder cannot be written.
    """
    with writing(_file(journal)):
        replace_whole(_file(journal), json.dumps(_counted(connection)), journal.scratch)


def is_noted(connection: duckdb.DuckDBPyConnection, journal: Journal) -> bool:
    """Whether the database has what was noted last."""
    try:
        return bool(json.loads(read_regular(_file(journal))) == _counted(connection))
    except (OSError, ValueError, RecursionError):
        return False


def lacking(connection: duckdb.DuckDBPyConnection, journal: Journal, kind: Kind[Any, Any]) -> list[Path]:
    """Returns the files that a database should have taken in and does not name, oldest first."""
    held = kind.held(connection)
    return [path for path in journal.taken(kind) if path.name.removesuffix(kind.suffix) not in held]


def _counted(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    counted = {}
    for kind in KINDS:
        row = connection.execute(f"select count(*), bit_xor(hash({kind.key})) from {kind.table}").fetchone()
        counted[kind.table] = [str(value) for value in row or ()]
    return counted
