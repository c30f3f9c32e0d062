"""Measurements in the store: from the journal into the database, out of it, and what is asked of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scalelab.records import Measurement, MeasurementStatus
from scalelab.store.envelope import MeasurementEntry
from scalelab.store.insert import transaction
from scalelab.store.journal import MEASUREMENT_SUFFIX, Journal
from scalelab.store.queries import frame

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

PIECE = 2000
_ROW = {
    "measurement_id": "VARCHAR",
    "attempt": "BIGINT",
    "study": "VARCHAR",
    "status": "VARCHAR",
    "content": "VARCHAR",
}


class Tried(NamedTuple):
    """How far a benchmark has come.

    Attributes:
        status: That of the attempt that counts: the last one that went well, else the last.
        attempts: The highest number of an attempt so far.
        reason: Why it did not go well.
    """

    status: MeasurementStatus
    attempts: int
    reason: str | None


def take_measurements(
    connection: duckdb.DuckDBPyConnection, journal: Journal, paths: Sequence[Path]
) -> list[Path]:
    """Takes measurements into the database; those that it has already are left out by their id.

    Returns:
        The files that are in the database now; a torn one is quarantined and is not among them.
    """
    taken: list[Path] = []
    for start in range(0, len(paths), PIECE):
        opened = [(path, journal.open_measurement(path)) for path in paths[start : start + PIECE]]
        whole = [(path, entry) for path, entry in opened if entry is not None]
        _insert(connection, [entry for _, entry in whole])
        taken += [path for path, _ in whole]
    return taken


def _insert(connection: duckdb.DuckDBPyConnection, entries: Sequence[MeasurementEntry]) -> None:
    there = {
        tuple(row)
        for row in connection.execute(
            "select measurement_id, attempt from measurements "
            "semi join (select unnest(?::varchar[]) as measurement_id) using (measurement_id)",
            [[entry.measurement_id for entry in entries]],
        ).fetchall()
    }
    fresh = {(one.measurement_id, one.attempt): one for one in entries}
    rows = [entry._asdict() for key, entry in fresh.items() if key not in there]
    if rows:
        with transaction(connection):
            connection.execute(
                "insert into measurements by name select unnest(item) "
                "from (select unnest(from_json(?, ?)) as item)",
                [json.dumps(rows), json.dumps([_ROW])],
            )


def save_measurements(connection: duckdb.DuckDBPyConnection, journal: Journal) -> int:
    """Writes the measurements that only the database holds into the journal; returns how many."""
    rows = connection.execute("select measurement_id, attempt, content from measurements").fetchall()
    only_here = [row for row in rows if not journal.has_measurement(f"{row[0]}-{row[1]}")]
    for _, _, content in only_here:
        journal.write_measurement(Measurement.model_validate_json(content))
    return len(only_here)


def compare_measurements(
    connection: duckdb.DuckDBPyConnection, kept: Iterable[Path], pending: Iterable[Path]
) -> tuple[list[str], int]:
    """Compares the database's measurements with the journal's.

    Args:
        connection: Of a store.
        kept: The journal's files of measurements that the database has taken in.
        pending: Those that it has not.

    Returns:
        Ids of those that the database lacks, and how many the journal does not hold.
    """
    rows = connection.execute("select measurement_id || '-' || attempt from measurements").fetchall()
    there = {row[0] for row in rows}
    known, waiting = (
        {path.name.removesuffix(MEASUREMENT_SUFFIX) for path in paths} for paths in (kept, pending)
    )
    return sorted(known - there), len(there - known - waiting)


def tried(connection: duckdb.DuckDBPyConnection, ids: Iterable[str]) -> dict[str, Tried]:
    """Returns how far benchmarks have come, by id; those that were never attempted are left out."""
    rows = connection.execute(
        # of two columns at once, since arg_max() of one passes over NULL
        "select measurement_id, arg_max({'status': status, 'reason': reason}, rank) as found, max(attempt) "
        "from ("
        "  select *, content->>'$.reason' as reason,"
        "         attempt + case when status = 'ok' then 2147483648 else 0 end as rank from measurements"
        "  semi join (select unnest(?::varchar[]) as measurement_id) using (measurement_id))"
        "group by measurement_id",
        [list(ids)],
    ).fetchall()
    return {key: Tried(found["status"], attempts, found["reason"]) for key, found, attempts in rows}


def latencies(
    connection: duckdb.DuckDBPyConnection, study: str | None, ids: Iterable[str] | None
) -> pd.DataFrame:
    """Returns the view `latencies`, of one study or all, of some benchmarks or all."""
    conditions: list[str] = []
    values: list[object] = []
    if study is not None:
        conditions.append("study = ?")
        values.append(study)
    if ids is not None:
        conditions.append("measurement_id in (select unnest(?::varchar[]))")
        values.append(list(ids))
    where = f"where {' and '.join(conditions)}" if conditions else ""
    return frame(
        connection.execute(
            f"select * from latencies {where} "
            "order by target, batch_size, architecture, n_params, measurement_id",
            values,
        )
    )
