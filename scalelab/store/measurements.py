"""Measurements on hardware as content of a store: file, row and back; see `scalelab.store.kinds`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from scalelab.measurements import Measurement
from scalelab.records import canonical_json
from scalelab.store.envelope import Member
from scalelab.store.kind import Attempts
from scalelab.store.plain import check_identity, check_plain
from scalelab.store.schema import transaction

if TYPE_CHECKING:
    import duckdb


class Entry(NamedTuple):
    """A measurement as the journal holds it: its benchmark's id, its attempt, and the JSON of all of it."""

    measurement_id: str
    attempt: int
    content: str


class Measurements(Attempts[Measurement, Entry]):
    """Measurements as content of a store."""

    name = "measurement"
    model = Measurement
    suffix = ".latency.json"
    folder = "latencies"
    keys = ("measurement_id", "attempt", "measurement")
    table = "measurements"
    rows = "select * from measurements where {piece}"

    def members(self, measurement: Measurement) -> dict[str, str]:
        """Returns the members of its file."""
        content = canonical_json(measurement.model_dump(mode="json"))
        return {
            "measurement_id": json.dumps(measurement.benchmark.id),
            "attempt": str(measurement.attempt),
            "measurement": content,
        }

    def parse(self, name: str, members: list[Member]) -> Entry:
        """Reads its file."""
        self.check_name(name, members)
        benchmark_id, attempt, content = members
        check_plain(Measurement, content.text, "measurement")
        benchmark = json.loads(content.text)["benchmark"]
        check_identity(benchmark_id.value, Member(content.text, benchmark), "benchmark")
        return Entry(benchmark_id.value, attempt.value, content.text)

    def content(self, entry: Entry) -> Measurement:
        """Returns the measurement."""
        return Measurement.model_validate_json(entry.content)

    def belated(self, measurement: Measurement, attempt: int) -> Measurement:
        """Returns the measurement as an attempt of another number, and says why in `reason`."""
        said = self.came_late(measurement.reason, measurement.attempt)
        return measurement.model_copy(update={"attempt": attempt, "reason": said})

    def add(self, connection: duckdb.DuckDBPyConnection, entries: Mapping[str, Entry]) -> None:
        """Inserts measurements that the table does not have."""
        with transaction(connection):
            connection.execute(
                "insert into measurements by name select *, content->>'study' as study, "
                "content->>'status' as status from (select unnest(?::varchar[]) as measurement_id, "
                "unnest(?::bigint[]) as attempt, unnest(?::json[]) as content)",
                [list(column) for column in zip(*entries.values(), strict=True)],
            )

    def restore(self, _: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> Measurement:
        """Returns the measurement of a row."""
        return Measurement.model_validate_json(row["content"])
