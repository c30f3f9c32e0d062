"""Rows into the tables. DuckDB reads the records' JSON itself; Python parses trials, and no curve.

Nothing here opens, waits or moves files. Every function is one transaction, after another one for columns
that the rows bring along.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scalelab.records import canonical_json
from scalelab.store import parameters, schema
from scalelab.store.envelope import Entry, Registration
from scalelab.store.parameters import Holder

if TYPE_CHECKING:
    import duckdb

# The fields of a record as DuckDB is to read them; those of a later scalelab are ignored, missing ones NULL.
_RECORD = {
    "study": "VARCHAR", "status": "VARCHAR", "error": "VARCHAR", "metric": "VARCHAR", "direction": "VARCHAR",
    "loss": "DOUBLE", "loss_last": "DOUBLE", "objective": "DOUBLE", "objective_last": "DOUBLE",
    "best_step": "BIGINT", "metrics": "JSON", "n_params": "BIGINT", "n_params_body": "BIGINT",
    "forward_flops": "DOUBLE", "train_flops": "DOUBLE", "n_steps": "BIGINT", "epochs": "DOUBLE",
    "precision": "VARCHAR", "wall_seconds": "DOUBLE", "peak_memory_bytes": "BIGINT", "machine": "JSON",
    "scalelab_version": "VARCHAR", "started_at": "DOUBLE", "finished_at": "DOUBLE",
}  # fmt: skip
_POINT = {
    "step": "BIGINT", "n_seen": "BIGINT", "train_flops": "DOUBLE", "wall_seconds": "DOUBLE", "lr": "DOUBLE",
    "train_loss": "DOUBLE", "loss": "DOUBLE", "metrics": "JSON",
}  # fmt: skip
_TRIAL = {
    "trial_id": "VARCHAR", "dataset": "VARCHAR", "architecture": "VARCHAR", "optimizer": "VARCHAR",
    "n_examples": "BIGINT", "seed": "BIGINT", "data_seed": "BIGINT", "batch_size": "BIGINT",
    "schedule": "VARCHAR", "fingerprint": "VARCHAR", "content": "VARCHAR",
}  # fmt: skip
Row = dict[str, Any]


def insert_records(connection: duckdb.DuckDBPyConnection, entries: Sequence[Entry]) -> set[str]:
    """Inserts the records that the database does not have, with their trials, curves and memberships.

    Returns:
        The ids of those that it did not have.
    """
    there = connection.execute(
        "select trial_id, attempt from records semi join (select unnest(?) as trial_id) using (trial_id)",
        [[entry.trial_id for entry in entries]],
    )
    known = {f"{trial_id}-{attempt}" for trial_id, attempt in there.fetchall()}
    fresh = {entry.id: entry for entry in entries if entry.id not in known}
    if not fresh:
        return set()
    trials = _missing_trials(
        connection, {entry.trial_id: (entry.trial, entry.content) for entry in fresh.values()}
    )
    features = {entry.id: parameters.feature_values(entry.features) for entry in fresh.values()}
    _make_room(connection, "trials", (row["values"] for row in trials))
    names = _make_room(connection, "records", features.values())
    payload = [
        f'{{"trial_id":"{entry.trial_id}","attempt":{entry.attempt},"record":{entry.record},'
        f'"features":{json.dumps(canonical_json(entry.features))},'
        f'"columns":{json.dumps(_named(features[entry.id], names))}}}'
        for entry in fresh.values()
    ]
    with transaction(connection):
        _insert_trials(connection, trials)
        _stage(connection, payload)
        _insert_staged(connection)
    return set(fresh)


def apply_registration(connection: duckdb.DuckDBPyConnection, registration: Registration, name: str) -> None:
    """Notes what a study asks for; a registration older than the last one adds its trials only."""
    trials = {trial.id: trial for trial in (*registration.trials, *registration.former)}
    contents = {key: trial.model_dump(mode="json") for key, trial in trials.items()}
    rows = _missing_trials(
        connection, {key: (canonical_json(value), value) for key, value in contents.items()}
    )
    _make_room(connection, "trials", (row["values"] for row in rows))
    asked = list(dict.fromkeys(trial.id for trial in registration.trials))
    study = registration.study
    with transaction(connection):
        _insert_trials(connection, rows)
        last = schema.one(
            connection.execute("select max(registration) from studies where study = ?", [study])
        )
        if last is None or str(last) < name:
            _replace_study(connection, registration, name, asked)
        connection.execute(
            "insert into study_trials select ?, trial_id, null, false from (select unnest(?) as trial_id) "
            "anti join (select trial_id from study_trials where study = ?) using (trial_id)",
            [study, list(trials), study],
        )


def _replace_study(
    connection: duckdb.DuckDBPyConnection, registration: Registration, name: str, asked: Sequence[str]
) -> None:
    study = registration.study
    connection.execute("delete from studies where study = ?", [study])
    connection.execute(
        "insert into studies values (?, ?, ?, ?, make_timestamp((? * 1e6)::bigint))",
        [study, registration.text, len(asked), name, registration.registered_at],
    )
    connection.execute(
        "delete from study_trials where study = ? and trial_id in (select unnest(?))", [study, list(asked)]
    )
    connection.execute("update study_trials set planned = false, position = null where study = ?", [study])
    connection.execute(
        "insert into study_trials select ?, unnest(?), unnest(range(?)), true",
        [study, list(asked), len(asked)],
    )


def _missing_trials(
    connection: duckdb.DuckDBPyConnection, contents: Mapping[str, tuple[str, Row]]
) -> list[Row]:
    """Returns rows for the trials that the database does not have, given their content as text and parsed."""
    there = connection.execute(
        "select trial_id from trials semi join (select unnest(?) as trial_id) using (trial_id)",
        [list(contents)],
    )
    known = {row[0] for row in there.fetchall()}
    return [_trial_row(key, *content) for key, content in contents.items() if key not in known]


def _trial_row(trial_id: str, text: str, content: Row) -> Row:
    return {
        "trial_id": trial_id,
        "dataset": content["dataset"]["name"],
        "architecture": content["architecture"]["name"],
        "optimizer": content["optimizer"]["name"],
        "n_examples": content["n_examples"],
        "seed": content["seed"],
        "data_seed": content["data_seed"],
        "batch_size": content["training"]["batch_size"],
        "schedule": content["training"]["schedule"],
        "fingerprint": content["fingerprint"],
        "content": text,
        "values": parameters.trial_values(content),
    }


def _make_room(
    connection: duckdb.DuckDBPyConnection, holder: Holder, rows: Iterable[Mapping[str, Any]]
) -> dict[str, str]:
    """Adds and widens columns for rows of values; returns the columns' names by pointer."""
    added, widened = parameters.plan(schema.columns_of(connection), holder, rows)
    schema.change_columns(connection, added, widened)
    return {
        column.pointer: column.name
        for column in schema.columns_of(connection).values()
        if column.holder == holder
    }


def _named(values: Mapping[str, Any], names: Mapping[str, str]) -> Row:
    return {names[pointer]: value for pointer, value in values.items()}


def _columns(connection: duckdb.DuckDBPyConnection, holder: Holder) -> tuple[Row, str]:
    """Returns how DuckDB is to read the columns that plugins brought, and the list that selects them."""
    kinds = {c.name: c.kind for c in schema.columns_of(connection).values() if c.holder == holder}
    # Text is read as JSON first: a number shown as text then reads as it does after a column was widened.
    structure = {name: "JSON" if kind in ("VARCHAR", "NULL") else kind for name, kind in kinds.items()}
    selected = [
        f"columns.{schema.quoted(name)}{'->>' + schema.literal('$') if structure[name] == 'JSON' else ''} "
        f"as {schema.quoted(name)}"
        for name in kinds
    ]
    return structure, "".join(f", {item}" for item in selected)


def _insert_trials(connection: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> None:
    if not rows:
        return
    structure, selected = _columns(connection, "trials")
    names = {
        pointer: c.name
        for (holder, pointer), c in schema.columns_of(connection).items()
        if holder == "trials"
    }
    payload = [{**{key: row[key] for key in _TRIAL}, "columns": _named(row["values"], names)} for row in rows]
    layout: Row = {**_TRIAL, "columns": structure} if structure else _TRIAL
    connection.execute(
        f"insert into trials by name select {', '.join(_TRIAL)}{selected} "
        "from (select unnest(item) from (select unnest(from_json(?, ?)) as item))",
        [json.dumps(payload), json.dumps([layout])],
    )


def _stage(connection: duckdb.DuckDBPyConnection, payload: Sequence[str]) -> None:
    """Reads records into the temporary table `staged`: their fields, curves and own columns."""
    structure, selected = _columns(connection, "records")
    layout: Row = {
        "trial_id": "VARCHAR",
        "attempt": "BIGINT",
        "record": {**_RECORD, "provenance": "JSON", "curve": "JSON"},
        "features": "VARCHAR",
    }
    if structure:
        layout["columns"] = structure
    connection.execute(
        "create or replace temp table staged as "
        f"select trial_id, attempt, features::json as features, unnest(record){selected} "
        "from (select unnest(item) from (select unnest(from_json(?, ?)) as item))",
        ["[" + ",".join(payload) + "]", json.dumps([layout])],
    )


def _insert_staged(connection: duckdb.DuckDBPyConnection) -> None:
    machine = "".join(
        f", (machine->>'{key}')::{kind} as {key}"
        for key, kind in (
            ("device", "varchar"),
            ("device_name", "varchar"),
            ("host", "varchar"),
            ("threads", "bigint"),
        )
    )
    connection.execute(
        "insert into records by name "
        f"select * exclude (curve, provenance), provenance as plugins{machine} from staged"
    )
    points = ", ".join(f"point.{name}" for name in _POINT)
    connection.execute(
        f"insert into curve_points select trial_id, attempt, {points} "
        "from (select trial_id, attempt, unnest(from_json(curve, ?)) as point from staged)",
        [json.dumps([_POINT])],
    )
    connection.execute(
        "insert into study_trials select distinct study, trial_id, null::bigint, "
        "study not in (select study from studies) from staged "
        "anti join study_trials using (study, trial_id)"
    )
    connection.execute("drop table staged")


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commits at the block's end, or rolls all of it back where it raised."""
    connection.execute("begin")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise
