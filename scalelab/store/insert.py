"""What goes into the tables together with records and registrations: trials, and columns for their options.

Nothing here opens, waits or moves files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.records import Trial
from scalelab.store import parameters, schema
from scalelab.store.files import writing
from scalelab.store.parameters import COMPONENTS, Column, Holder
from scalelab.store.temporary import temporary

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


def struct(kinds: Mapping[str, str]) -> str:
    """Returns the type of an object whose members have these types."""
    return f"STRUCT({', '.join(f'{schema.quoted(name)} {kind}' for name, kind in kinds.items())})"


@dataclass(frozen=True)
class Room:
    """The columns that a table has for what plugins bring.

    Attributes:
        columns: The columns.
    """

    columns: Sequence[Column]

    @cached_property
    def _names(self) -> dict[str, str]:
        return {column.pointer: column.name for column in self.columns}

    def line(self, values: Row) -> str:
        """Returns values as the end of a line that `brought` reads, given by pointer."""
        named = json.dumps({self._names[pointer]: value for pointer, value in values.items()})
        return f",{named[1:]}" if values else "}"

    @contextmanager
    def brought(self, lines: Sequence[str], own: Mapping[str, str]) -> Iterator[str]:
        """Gives SQL of a table of JSON objects, each with columns of its own and these.

        DuckDB reads them from a file, because it takes objects of thousands of names apart in a time that
        grows with the square of their number where they are in a query.

        Args:
            lines: The objects, each ending in a `line`.
            own: Types of their own columns, by name.

        Raises:
            StoreError: There is no room for the file.
        """
        # Text is read as JSON first: a number shown as text then reads as after a column was widened.
        kinds = {c.name: "JSON" if c.sql_type == "VARCHAR" else c.kind for c in self.columns}
        texts = [schema.quoted(name) for name, kind in kinds.items() if kind == "JSON"]
        replaced = ", ".join(f"{name}->>'$' as {name}" for name in texts)
        shown = f"* replace ({replaced})" if texts else "*"
        columns = ", ".join(
            f"{schema.quoted(name)}: {schema.literal(kind)}" for name, kind in {**own, **kinds}.items()
        )
        # A break between two tokens, where somebody wrote one, would end the line.
        text = "\n".join(line.replace("\n", " ") for line in lines).encode()
        longest = 4 * max(map(len, lines), default=0)  # in bytes
        with temporary() as folder:
            path = Path(folder, "columns.json")
            with writing(path):
                path.write_bytes(text)
            yield (
                f"(select {shown} from read_json({schema.literal(str(path))}, "
                f"format = 'newline_delimited', columns = {{{columns}}}, "
                f"maximum_object_size = {longest + 1_000_000}))"
            )


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
        **{name: content[name] for name in ("seed", "fingerprint")},
        # A script says what it does not know of these.
        "n_examples": content["n_examples"] or None,
        "data_seed": content.get("data_seed"),
        "batch_size": parameters.batch_size_of(content),
        "schedule": content.get("training", {}).get("schedule"),
        "content": text,
    }


def insert_trials(connection: duckdb.DuckDBPyConnection, rows: Sequence[tuple[Row, Row]]) -> None:
    """Inserts rows of `new_trials`."""
    if not rows:
        return
    room = make_room(connection, "trials", ())
    kinds = described(connection, "trials")
    # The content is text in JSON, and JSON itself.
    own = {**{name: kinds[name] for name in rows[0][0]}, "content": "VARCHAR"}
    lines = [json.dumps(row)[:-1] + room.line(values) for row, values in rows]
    with room.brought(lines, own) as table:
        connection.execute(f"insert into trials by name from {table}")
