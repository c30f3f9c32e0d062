"""Rebuilding the database from the journal.

The new database is built beside the old one and takes its place by one rename; until then nothing changes.
The old file and its WAL go into the journal's quarantine with the time in their names: neither is ever
deleted, because a WAL may hold what nothing else holds.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from scalelab.errors import StoreDamagedError, StoreError
from scalelab.permissions import make_folder
from scalelab.store import schema, tally
from scalelab.store.connection import Database, open_file
from scalelab.store.files import sync_folder, writing
from scalelab.store.ingest import batches, insert_whole, no_garbage_collection
from scalelab.store.journal import Journal
from scalelab.store.kinds import KINDS, kind_of_file
from scalelab.store.leftovers import tidy
from scalelab.store.salvage import salvage

SHOWN = 10


@dataclass(frozen=True)
class RebuildReport:
    """What a rebuild did.

    Attributes:
        records: Records in the new database.
        studies: Registered studies in it.
        salvaged: Records that only the old database held.
        lost: Names of what nothing holds any more: the old database named it but could not give it, or the
            journal's file had to be set aside and the database did not have it.
        problem: Why the old database could not be read, or not whole; `None` where it could.
        set_aside: The old database and its WAL, where they are now.
        imports: Imported tables in the new database.
        measurements: Measurements on hardware in it.
        predictions: Registered predictions in it.
    """

    records: int
    studies: int
    salvaged: int
    lost: tuple[str, ...]
    problem: str | None
    set_aside: tuple[Path, ...]
    imports: int
    measurements: int
    predictions: int


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
            raise _nothing(database, str(error), []) from error
    with database.alone(wait):
        tidy(database)
        found = salvage(database, wait)
        if journal.empty and (found.problem or not database.path.exists()):
            raise _nothing(database, found.problem, [])
        with database.fresh() as part, no_garbage_collection():
            before = set(journal.quarantined())
            counts, taken = _build(database, part)
            torn = [path for path in journal.quarantined() if path not in before]
            if torn:  # the old database may have what the journal's files no longer give
                more = salvage(database, wait)
                found.n_records += more.n_records
                counts, rest = _build(database, part, pending=True)
                taken += rest
            lost = list(dict.fromkeys([*found.lost, *_gone(journal, torn)]))
            if lost and not any(counts.values()):
                raise _nothing(database, found.problem, lost)
            set_aside = _swap(database, part)
        journal.keep(taken)
        database.compared = database.state()
    return RebuildReport(
        salvaged=found.n_records,
        lost=tuple(lost),
        problem=found.problem,
        set_aside=set_aside,
        **counts,
    )


def _gone(journal: Journal, torn: list[Path]) -> list[str]:
    """Returns the names of contents whose files were set aside and for which there is no other now."""
    named = [
        (kind_of_file(name), name) for name in (re.sub(r"(?<=\.json)\.\d+$", "", one.name) for one in torn)
    ]
    pairs = [(kind, name.removesuffix(kind.suffix)) for kind, name in named]
    return [name for kind, name in pairs if not journal.has(name, kind)]


def _nothing(database: Database, problem: str | None, lost: list[str]) -> StoreError:
    why = f"{problem}; but" if problem else f"there is no store {database.path}, and"
    names = ", ".join(lost[:SHOWN]) + (" …" if len(lost) > SHOWN else "")
    what = f"; lost: {names}, see {database.journal.quarantine}" if lost else ""
    return StoreError(
        f"{why} the journal {database.journal.folder} holds nothing to rebuild from{what}: "
        "restore the store from a copy"
    )


def _build(database: Database, part: Path, *, pending: bool = False) -> tuple[dict[str, int], list[Path]]:
    """Fills a fresh database with the whole journal, or with what is pending alone.

    Returns:
        How many rows the tables of the kinds have, and the files of `new` that are in it.
    """
    journal = database.journal
    taken: list[Path] = []
    counts: dict[str, int] = {}
    with open_file(part, False, time.monotonic(), name=database.path) as connection:
        for kind in KINDS:
            files = journal.pending(kind) if pending else journal.files(kind)
            for batch in batches(journal, kind, files):
                taken += [path for path, _ in insert_whole(connection, journal, kind, batch)]
            counts[kind.table] = schema.one(connection.execute(f"select count(*) from {kind.table}"))
        connection.execute("checkpoint")
        tally.note(connection, journal)
    return counts, [path for path in taken if path.parent == journal.new]


def _swap(database: Database, part: Path) -> tuple[Path, ...]:
    """Puts a new database in the old one's place.

    The WAL goes first: left beside the new database, it would be replayed into it. The old file keeps its
    place until the rename that replaces it.
    """
    quarantine = database.journal.quarantine
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    moved: list[Path] = []
    with writing(quarantine):
        make_folder(quarantine)
        for path, move in ((Path(f"{database.path}.wal"), Path.rename), (database.path, _second_name)):
            if path.exists():
                target = quarantine / f"{stamp}-{secrets.token_hex(3)}-{path.name}"
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
