"""From the journal into the database: every record exactly once, however often this is cut off.

A batch is one transaction: records that the database has already are left out by their id, the rest is
inserted with curves, trials and memberships. Files move from `new` to `kept` only after the commit and a
checkpoint, so that a kill at any moment leaves them to be looked at again.
"""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.amounts import counted, verb
from scalelab.permissions import share
from scalelab.store import tally
from scalelab.store.connection import Database
from scalelab.store.journal import Journal
from scalelab.store.kind import E, Kind, M
from scalelab.store.kinds import KINDS, RECORDS

if TYPE_CHECKING:
    import duckdb

log = logging.getLogger(__name__)

Batch = list[tuple[Path, E]]
BATCH_FILES = 5000
BATCH_BYTES = 32_000_000
# What a content may come to that has the right types, and still not what this scalelab would write.
_REFUSALS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def ingest(database: Database, wait: float | None = None) -> int:
    """Takes the journal's pending contents of all kinds into the database.

    Returns:
        How many records the database did not have before.

    Raises:
        StoreError: The database is locked for too long or cannot be written; what is not ingested is pending.
    """
    journal = database.journal
    new: Counter[str] = Counter()
    with no_garbage_collection():
        for kind in KINDS:
            again = True
            while again:
                again = False
                for batch in batches(journal, kind, journal.pending(kind)):
                    with database.alone(wait):
                        with database.opened(wait) as connection:
                            new[RECORDS.table] += _take_missing(connection, database)
                            taken = insert_whole(connection, journal, kind, batch)
                            # A process that is killed now leaves it to whoever opens the database next.
                            share(Path(f"{database.path}.wal"))
                            connection.execute("checkpoint")
                            tally.note(connection, journal)
                        again |= journal.keep(path for path, _ in taken)
                        database.compared = database.state()
                    new[kind.table] += sum(is_new for _, is_new in taken)
        new[RECORDS.table] += _catch_up(database, wait)
    return new[RECORDS.table]


def _catch_up(database: Database, wait: float | None) -> int:
    """Takes in what an older database lacks of the files that the journal has as taken in.

    Costs a look at the file's state where nobody else has written since, and otherwise a count.

    Returns:
        How many records were missing.
    """
    state, journal = database.state(), database.journal
    if state is None or state == database.compared or not journal.kept.is_dir():
        return 0
    with database.current(wait) as connection:
        noted = connection is not None and tally.is_noted(connection, journal)
    if noted:
        database.compared = state
        return 0
    with database.alone(wait):
        with database.opened(wait) as connection:
            found = _take_missing(connection, database)
        database.compared = database.state()
    return found


def _take_missing(connection: duckdb.DuckDBPyConnection, database: Database) -> int:
    """Does so, for who writes; returns how many records were missing."""
    found, journal = 0, database.journal
    if tally.is_noted(connection, journal):
        return 0
    for kind in KINDS:
        for batch in batches(journal, kind, tally.lacking(connection, journal, kind)):
            taken = insert_whole(connection, journal, kind, batch)
            found += sum(new for _, new in taken) if kind is RECORDS else 0
    connection.execute("checkpoint")
    tally.note(connection, journal)
    if found:
        log.warning(
            "warning: %s was older than its journal; %s %s taken in again",
            database.path,
            counted(found, "records"),
            verb(found, "were"),
        )
    return found


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keeps Python from looking for cycles among a batch's many small objects; there are none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def batches(journal: Journal, kind: Kind[M, E], paths: Iterable[Path]) -> Iterator[Batch[E]]:
    """Reads files in batches of bounded size; truncated ones are quarantined on the way."""
    batch: Batch[E] = []
    size = 0
    for path in paths:
        opened = journal.open(kind, path)
        if opened is None:
            continue
        batch.append((path, opened[0]))
        size += opened[1]
        if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def insert_whole(
    connection: duckdb.DuckDBPyConnection, journal: Journal, kind: Kind[M, E], batch: Batch[E]
) -> list[tuple[Path, bool]]:
    """Inserts a batch; a content that the database refuses is quarantined and does not hold up the others.

    Returns:
        The files that are in the database now, and whether each was new there.
    """
    import duckdb

    named = {path.name.removesuffix(kind.suffix): entry for path, entry in batch}
    try:
        new = kind.insert(connection, named)
    except (*_REFUSALS, duckdb.DataError, duckdb.InvalidInputException) as error:
        if len(batch) == 1:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            journal.set_aside(batch[0][0], f"the database refuses it: {reason}")
            return []
        half = len(batch) // 2
        return [
            part
            for piece in (batch[:half], batch[half:])
            for part in insert_whole(connection, journal, kind, piece)
        ]
    return [(path, path.name.removesuffix(kind.suffix) in new) for path, _ in batch]
