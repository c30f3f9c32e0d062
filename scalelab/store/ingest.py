"""From the journal into the database: every record exactly once, however often this is cut off.

A batch is one transaction: records that the database has already are left out by their id, the rest is
inserted with curves, trials and memberships. Files move from `new` to `kept` only after the commit and a
checkpoint, so that a kill at any moment leaves them to be looked at again.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.store.connection import Database
from scalelab.store.envelope import Entry
from scalelab.store.imports import apply_import
from scalelab.store.insert import apply_registration, insert_records
from scalelab.store.journal import IMPORT_SUFFIX, Journal
from scalelab.store.latencies import take_measurements

if TYPE_CHECKING:
    import duckdb

BATCH_RECORDS = 5000
BATCH_BYTES = 32_000_000


def ingest(database: Database, wait: float | None = None) -> int:
    """Takes the journal's pending registrations, imported tables, measurements and records into the database.

    Returns:
        How many records the database did not have before.

    Raises:
        StoreError: The database is locked for too long or cannot be written; what is not ingested is pending.
    """
    with no_garbage_collection():
        return _ingest(database, wait)


def _ingest(database: Database, wait: float | None) -> int:
    journal = database.journal
    whole_files = [*journal.pending_registrations(), *journal.pending_imports()]
    measurements = journal.pending_measurements()
    if whole_files or measurements:
        with database.alone(wait):
            with database.opened(wait) as connection:
                applied = [path for path in whole_files if apply_file(connection, journal, path)]
                applied += take_measurements(connection, journal, measurements)
                connection.execute("checkpoint")
            journal.keep(applied)
    count = 0
    for batch in batches(journal, journal.pending()):
        with database.alone(wait):
            with database.opened(wait) as connection:
                taken = insert_whole(connection, journal, batch)
                connection.execute("checkpoint")
            journal.keep(path for path, _ in taken)
        count += sum(is_new for _, is_new in taken)
    return count


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


def apply_file(connection: duckdb.DuckDBPyConnection, journal: Journal, path: Path) -> bool:
    """Takes one registration or imported table in; a torn one is quarantined and gives `False`."""
    if path.name.endswith(IMPORT_SUFFIX):
        table = journal.open_import(path)
        if table is not None:
            apply_import(connection, table, path.name)
        return table is not None
    registration = journal.open_registration(path)
    if registration is None:
        return False
    apply_registration(connection, registration, path.name.split(".")[0])
    return True


def batches(journal: Journal, paths: Iterable[Path]) -> Iterator[list[tuple[Path, Entry]]]:
    """Reads records in batches of bounded size; torn files are quarantined on the way."""
    batch: list[tuple[Path, Entry]] = []
    size = 0
    for path in paths:
        entry = journal.open_record(path)
        if entry is None:
            continue
        batch.append((path, entry))
        size += len(entry.record) + len(entry.trial)
        if len(batch) >= BATCH_RECORDS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def insert_whole(
    connection: duckdb.DuckDBPyConnection, journal: Journal, batch: list[tuple[Path, Entry]]
) -> list[tuple[Path, bool]]:
    """Inserts a batch; a record that the database refuses is quarantined and does not hold up the others.

    Returns:
        The files that are in the database now, and whether each was new there.
    """
    import duckdb

    try:
        new = insert_records(connection, [entry for _, entry in batch])
    except (duckdb.DataError, duckdb.InvalidInputException, LookupError, TypeError, ValueError) as error:
        if len(batch) == 1:
            journal.set_aside(batch[0][0], f"the database refuses it: {str(error).splitlines()[0]}")
            return []
        half = len(batch) // 2
        return [
            part
            for piece in (batch[:half], batch[half:])
            for part in insert_whole(connection, journal, piece)
        ]
    return [(path, entry.id in new) for path, entry in batch]
