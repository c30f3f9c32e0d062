"""What goes into the tables together with records and registrations: trials, and columns for their options.

Nothing here opens, waits or moves files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalelab.records import Trial
from scalelab.store import parameters, schema
from scalelab.store.parameters import COMPONENTS, Column, Holder

if TYPE_CHECKING:
    import duckdb

Row = dict[str, Any]


def check_trial(trial: Trial) -> None:
    """Makes sure that a trial's numbers fit the database.

    Raises:
        ValueError: One does not.
    """
    check_fit({"n_examples": trial.n_examples, "data_seed": trial.data_seed})


def check_fit(numbers: Mapping[str, int | None]) -> None:
    """Makes sure that numbers, given by name, fit the database.

    Raises:
        ValueError: One does not.
    """
    for name, value in numbers.items():
        if value is not None and not -(2**63) <= value < 2**63:
            raise ValueError(f"{name} = {value} does not fit 64 bits")


def described(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Returns the types of a table's columns, by name."""
    return {row[0]: row[1] for row in connection.execute(f"describe {table}").fetchall()}


@dataclass(frozen=True)
class Room:
    """The columns that a table has for what plugins bring, and how DuckDB reads them from JSON.

    Attributes:
        columns: The columns.
    """

    columns: Sequence[Column]

    def named(self, values: Row) -> Row:
        """Returns values by the columns' names, given by their pointers."""
        names = {column.pointer: column.name for column in self.columns}
        return {names[pointer]: value for pointer, value in values.items()}

    # Text is read as JSON first: a number shown as text then reads as it does after a column was widened.
    @property
    def layout(self) -> Row:
        """The member `columns` of a row in JSON, as DuckDB is to read it."""
        kinds = {c.name: "JSON" if c.sql_type == "VARCHAR" else c.kind for c in self.columns}
        return {"columns": kinds} if kinds else {}

    @property
    def selected(self) -> str:
        """The list that selects the columns, with a comma before it."""
        return ", unnest(columns)" if self.columns else ""

    @property
    def shown(self) -> str:
        """What selects everything of a query with these columns, texts as texts."""
        names = [schema.quoted(column.name) for column in self.columns if column.sql_type == "VARCHAR"]
        texts = ", ".join(f"{name}->>'$' as {name}" for name in names)
        return f"* replace ({texts})" if texts else "*"


def make_room(connection: duckdb.DuckDBPyConnection, holder: Holder, rows: Iterable[Row]) -> Room:
    """Adds and widens columns for rows of values, in a transaction of its own."""
    added, widened = parameters.plan(schema.columns_of(connection), holder, rows)
    schema.change_columns(connection, added, widened)
    return Room([c for c in schema.columns_of(connection).values() if c.holder == holder])


def new_trials(
    connection: duckdb.DuckDBPyConnection, contents: Mapping[str, tuple[str, Any]]
) -> list[tuple[Row, Row]]:
    """Returns rows for the trials that the database does not have, and makes room for their options.

    Args:
        connection: Of a store, for writing.
        contents: The trials' contents by id, each as canonical JSON and parsed.

    Returns:
        For each trial the values of its own columns, and those of its options by pointer.
    """
    found = connection.execute(
        "select trial_id from trials semi join (select unnest(?) as trial_id) using (trial_id)",
        [list(contents)],
    )
    known = set(schema.first_column(found))
    rows = [
        (_trial_row(key, *content), parameters.trial_values(content[1]))
        for key, content in contents.items()
        if key not in known
    ]
    make_room(connection, "trials", (values for _, values in rows))
    return rows


def _trial_row(trial_id: str, text: str, content: Row) -> Row:
    return {
        "trial_id": trial_id,
        **{name: content[name]["name"] for name in COMPONENTS},
        **{name: content[name] for name in ("n_examples", "seed", "data_seed", "fingerprint")},
        **{name: content["training"][name] for name in ("batch_size", "schedule")},
        "content": text,
    }


def insert_trials(connection: duckdb.DuckDBPyConnection, rows: Sequence[tuple[Row, Row]]) -> None:
    """Inserts rows of `new_trials`."""
    if not rows:
        return
    room = make_room(connection, "trials", ())
    kinds = described(connection, "trials")
    # The content is text in JSON, and JSON itself.
    layout = {**{name: kinds[name] for name in rows[0][0]}, "content": "VARCHAR", **room.layout}
    payload = [{**row, "columns": room.named(values)} for row, values in rows]
    connection.execute(
        f"insert into trials by name select {room.shown} from ("
        f"select {', '.join(rows[0][0])}{room.selected} "
        "from (select unnest(item) from (select unnest(from_json(?, ?)) as item)))",
        [json.dumps(payload), json.dumps([layout])],
    )
