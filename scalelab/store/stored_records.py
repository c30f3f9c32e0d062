"""Records as content of a store: file, rows of `records` and `curve_points`, and back; see `kinds`.

DuckDB reads the records' JSON itself; Python parses trials, and no curve.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from scalelab.errors import StoreDamagedError, brief
from scalelab.records import CurvePoint, Record, Trial, canonical_json
from scalelab.store import parameters
from scalelab.store.envelope import Member, TornError
from scalelab.store.insert import (
    check_fit,
    check_trial,
    described,
    insert_trials,
    make_room,
    new_trials,
    struct,
)
from scalelab.store.kind import Attempts
from scalelab.store.plain import check_identity, check_plain
from scalelab.store.schema import create_views, tested_metrics, transaction

if TYPE_CHECKING:
    import duckdb

_WHOLE = (
    "attempt", "best_step", "n_validated", "n_tested", "n_windows", "n_available", "n_examples",
    "n_params", "n_params_body", "n_steps", "peak_memory_bytes",
)  # fmt: skip
_OF_MACHINE = ("device", "device_name", "host", "threads")
# Those that an attempt brought beside the record's own text.
_BESIDE = ("attempt", "features")
_JSON = ("metrics", "test_metrics", "features", "machine", "uncounted", "libraries", "calibration")
_ROWS = """
with piece as (select * from records where {piece})
select r.*, t.content, c.curve
from piece r
left join trials t using (trial_id)
left join (
    select trial_id, attempt, list(p order by p.rowid) as curve
    from curve_points p semi join piece using (trial_id, attempt) group by all) c using (trial_id, attempt)
"""


class Entry(NamedTuple):
    """A record as the journal holds it.

    Attributes:
        trial_id: Names the trial.
        attempt: Number of the attempt.
        features: The record's features.
        trial: Canonical JSON of the trial's content, and the same parsed.
        record: JSON of the record without its trial and its features.
    """

    trial_id: str
    attempt: int
    features: dict[str, Any]
    trial: Member
    record: str


class Records(Attempts[Record, Entry]):
    """Records as content of a store."""

    name = "record"
    model = Record
    suffix = ".json"
    folder = None
    keys = ("trial_id", "attempt", "features", "trial", "record")
    table = "records"
    rows = _ROWS

    def members(self, record: Record) -> dict[str, str]:
        """Returns the members of its file."""
        check_trial(record.trial)
        numbers = {name: getattr(record, name) for name in _WHOLE}
        numbers["step"] = max((point.step for point in record.curve), default=None)
        numbers["n_seen"] = max((point.n_seen or 0 for point in record.curve), default=None)
        check_fit(numbers)
        return {
            "trial_id": json.dumps(record.trial.id),
            "attempt": str(record.attempt),
            "features": canonical_json(record.features),
            "trial": canonical_json(record.trial.model_dump(mode="json")),
            "record": record.model_dump_json(exclude={"trial", "features"}),
        }

    def parse(self, name: str, members: list[Member]) -> Entry:
        """Reads its file."""
        self.check_name(name, members)
        trial_id, attempt, features, trial, record = members
        check_plain(Trial, trial.text, "trial")
        check_identity(trial_id.value, trial, "trial")
        check_plain(Record, record.text, "record", without=("trial", "features"))
        _check_features(features.value)
        return Entry(trial_id.value, attempt.value, features.value, trial, record.text)

    def content(self, entry: Entry) -> Record:
        """Returns the record."""
        own = {"trial": entry.trial.value, "features": entry.features}
        return Record.model_validate({**json.loads(entry.record), **own})

    def belated(self, record: Record, attempt: int) -> Record:
        """Returns the record as an attempt of another number, and says why in `error`."""
        said = self.came_late(record.error, record.attempt)
        return record.model_copy(update={"attempt": attempt, "error": said})

    def add(self, connection: duckdb.DuckDBPyConnection, entries: Mapping[str, Entry]) -> None:
        """Inserts records that the table does not have, with their trials, curves and memberships."""
        trials = new_trials(connection, {entry.trial_id: entry.trial for entry in entries.values()})
        features = [parameters.feature_values(entry.features) for entry in entries.values()]
        room = make_room(connection, "records", features)
        # How DuckDB is to read a record's fields; those of a later scalelab are ignored, missing ones NULL.
        record = {
            name: kind
            for name, kind in described(connection, "records").items()
            if name in Record.model_fields and name not in _BESIDE
        }
        own = {
            "trial_id": "VARCHAR",
            "attempt": "BIGINT",
            "features": "VARCHAR",
            "record": struct({**record, "provenance": "JSON", "curve": "JSON"}),
        }
        lines = [
            f'{{"trial_id":"{entry.trial_id}","attempt":{entry.attempt},"record":{entry.record},'
            f'"features":{json.dumps(canonical_json(entry.features))}{room.line(values)}'
            for entry, values in zip(entries.values(), features, strict=True)
        ]
        with transaction(connection):
            insert_trials(connection, trials)
            with room.brought(lines, own) as table:
                connection.execute(
                    "create or replace temp table staged as select "
                    f"* exclude (record) replace (features::json as features), unnest(record) from {table}"
                )
            known = tested_metrics(connection)
            _insert_staged(connection)
            if tested_metrics(connection) != known:
                create_views(connection)

    def restore(self, _: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> Record:
        """Returns the record of a row of `ROWS`.

        Raises:
            StoreDamagedError: Its trial is another one than it says.
        """
        row["provenance"] = json.loads(row["plugins"] or "{}")
        record = Record.model_validate(
            {
                **_given(row, Record.model_fields, _JSON),
                "curve": [
                    _given(point, CurvePoint.model_fields, ("metrics",)) for point in row["curve"] or ()
                ],
                "trial": json.loads(row["content"] or "{}"),
            }
        )
        if record.trial.id != row["trial_id"]:
            name = f"{row['trial_id']}-{row['attempt']}"
            raise StoreDamagedError(f"record {name} of the old database holds trial {record.trial.id}")
        return record


def _check_features(features: object) -> None:
    if not isinstance(features, dict):
        raise TornError("its features are no JSON object")
    for name, value in features.items():
        if type(value) not in (int, float, str) or (isinstance(value, float) and not math.isfinite(value)):
            raise TornError(f"its feature {brief(name)} is neither a number nor a text: {brief(value)}")


def _insert_staged(connection: duckdb.DuckDBPyConnection) -> None:
    machine = ", ".join(f"machine->>'{key}' as {key}" for key in _OF_MACHINE)
    connection.execute(
        "insert into records by name "
        f"select * exclude (curve, provenance), provenance as plugins, {machine} from staged"
    )
    kinds = described(connection, "curve_points")
    layout = {name: kinds[name] for name in CurvePoint.model_fields}
    connection.execute(
        "insert into curve_points by name select trial_id, attempt, unnest(point) "
        "from (select trial_id, attempt, unnest(from_json(curve, ?)) as point from staged)",
        [json.dumps([layout])],
    )
    connection.execute(
        "insert into study_trials (study, trial_id, position, planned) "
        "select distinct study, trial_id, null::bigint, study not in (select study from studies) from staged "
        "anti join study_trials using (study, trial_id)"
    )
    connection.execute("drop table staged")


def _given(row: Mapping[str, Any], names: Mapping[str, object], in_json: Sequence[str]) -> dict[str, Any]:
    """Returns the fields of a model that a row has, those in JSON parsed."""
    plain = {name: row[name] for name in names if name in row and name not in in_json}
    return plain | {name: json.loads(row[name]) for name in in_json if row.get(name) is not None}
