"""Measurements on hardware as content of a store: file, row and back; see `scalelab.store.kinds`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from scalelab.records import Measurement, canonical_json
from scalelab.store.envelope import Member, TornError
from scalelab.store.insert import fresh
from scalelab.store.schema import transaction

if TYPE_CHECKING:
    import duckdb


class Entry(NamedTuple):
    """A measurement as the journal holds it: its benchmark's id, its attempt, and the JSON of all of it."""

    measurement_id: str
    attempt: int
    content: str


def members(measurement: Measurement) -> dict[str, str]:
    """Returns the members of its file."""
    content = canonical_json(measurement.model_dump(mode="json"))
    return {
        "measurement_id": json.dumps(measurement.benchmark.id),
        "attempt": str(measurement.attempt),
        "measurement": content,
    }


def parse(name: str, members: list[Member]) -> Entry:
    """Reads its file."""
    benchmark_id, attempt, content = members
    if name != f"{benchmark_id.value}-{attempt.value}":
        raise TornError(f"it holds measurement {benchmark_id.value}-{attempt.value}")
    return Entry(benchmark_id.value, attempt.value, content.text)


def insert(connection: duckdb.DuckDBPyConnection, entries: Mapping[str, Entry]) -> set[str]:
    """Inserts the measurements that the database does not have; returns their names."""
    new = fresh(connection, "measurements", "measurement_id", entries)
    if new:
        with transaction(connection):
            connection.execute(
                "insert into measurements by name select *, content->>'study' as study, "
                "content->>'status' as status from (select unnest(?::varchar[]) as measurement_id, "
                "unnest(?::bigint[]) as attempt, unnest(?::json[]) as content)",
                [list(column) for column in zip(*new.values(), strict=True)],
            )
    return set(new)


def restore(_: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> Measurement:
    """Returns the measurement of a row."""
    return Measurement.model_validate_json(row["content"])
