"""Rebuilding the database from the journal.

The new database is built beside the old one and takes its place by one rename; until then nothing changes.
The old file and its WAL go into the journal's quarantine with the time in their names: neither is ever
deleted, because a WAL may hold what nothing else holds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from scalelab.errors import StoreDamagedError, StoreError
from scalelab.permissions import make_folder
from scalelab.store import schema
from scalelab.store.connection import Database, open_file
from scalelab.store.files import sync_folder, writing
from scalelab.store.ingest import batches, insert_whole, no_garbage_collection
from scalelab.store.kinds import KINDS
from scalelab.store.salvage import salvage


@dataclass(frozen=True)
class RebuildReport:
    """What a rebuild did.

    Attributes:
        records: Records in the new database.
        studies: Registered studies in it.
        salvaged: Records that only the old database held.
        lost: Ids of records that the old database named but could not give and the journal does not hold.
        problem: Why the old database could not be read, or not whole; `None` where it could.
        set_aside: The old database and its WAL, where they are now.
        imports: Imported tables in the new database.
        measurements: Measurements on hardware in it.
    """

    records: int
    studies: int
    salvaged: int
    lost: tuple[str, ...]
    problem: str | None
    set_aside: tuple[Path, ...]
    imports: int
    measurements: int


def rebuild(database: Database, wait: float) -> RebuildReport:
    """Makes a store's database again from its journal, after salvaging what only the database holds.

    Raises:
        StoreLockedError: Somebody else uses the store for too long.
        StoreNewerError: A newer scalelab or DuckDB wrote it.
        StoreError: There is nothing to rebuild from, or the disk is full; nothing was changed.
    """
    journal = database.journal
    if not database.path.exists() and not journal.folder.is_dir():
        database.require()
    if not journal.folder.is_dir() and not Path(f"{database.path}.wal").exists():
        # Looked at before the lock is taken, which makes the journal's folder. Without a WAL, what cannot be
        # opened holds nothing to salvage.
        try:
            database.version(wait)
        except StoreDamagedError as error:
            raise _hopeless(database, str(error)) from error
    with database.alone(wait):
        found = salvage(database, wait)
        if found.problem and journal.empty:
            raise _hopeless(database, found.problem)
        with database.fresh() as part, no_garbage_collection():
            counts, taken = _build(database, part)
            set_aside = _swap(database, part)
        journal.keep(taken)
    return RebuildReport(
        salvaged=found.n_records,
        lost=tuple(found.lost),
        problem=found.problem,
        set_aside=set_aside,
        **counts,
    )


def _hopeless(database: Database, problem: str) -> StoreError:
    return StoreError(
        f"{problem}; but the journal {database.journal.folder} holds nothing to rebuild from: "
        "restore the store from a copy"
    )


def _build(database: Database, part: Path) -> tuple[dict[str, int], list[Path]]:
    """Fills a fresh database.

    Returns:
        How many rows the tables of the kinds have, and the files of `new` that are in it.
    """
    journal = database.journal
    taken: list[Path] = []
    counts: dict[str, int] = {}
    with open_file(part, False, time.monotonic(), name=database.path) as connection:
        for kind in KINDS:
            for batch in batches(journal, kind, journal.files(kind)):
                taken += [path for path, _ in insert_whole(connection, journal, kind, batch)]
            counts[kind.table] = schema.one(connection.execute(f"select count(*) from {kind.table}"))
        connection.execute("checkpoint")
    return counts, [path for path in taken if path.parent == journal.new]


def _swap(database: Database, part: Path) -> tuple[Path, ...]:
    """Puts a new database in the old one's place.

    The WAL goes first: left beside the new database, it would be replayed into it. The old file keeps its
    place until the rename that replaces it.
    """
    quarantine = database.journal.quarantine
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{time.time_ns() % 1_000_000:06d}"
    moved: list[Path] = []
    with writing(quarantine):
        make_folder(quarantine)
        for path, move in ((Path(f"{database.path}.wal"), Path.rename), (database.path, _second_name)):
            if path.exists():
                target = quarantine / f"{stamp}-{path.name}"
                move(path, target)
                moved.append(target)
        part.replace(database.path)
        sync_folder(database.path.parent)
    return tuple(moved)


def _second_name(path: Path, target: Path) -> None:
    try:
        target.hardlink_to(path)
    except OSError:
        path.rename(target)
