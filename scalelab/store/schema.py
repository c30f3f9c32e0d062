"""The tables and views of a store, and the steps from one schema to the next.

Tables that are appended to have no primary key and no unique index: DuckDB's replay of a WAL after a kill
does not go well with them. What must be unique is kept so by the one writer, which looks before it inserts.
Every step runs in one transaction and is checkpointed at once, so that no DDL stays in a WAL.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import StoreDamagedError, StoreError, StoreNewerError
from scalelab.store.latency_view import LATENCIES
from scalelab.store.migrations import STEPS
from scalelab.store.parameters import Column, Holder, Kind, free_name, order, sql_type, wider
from scalelab.version import __version__

if TYPE_CHECKING:
    import duckdb

# What a store never needs: an extension that DuckDB would fetch from the network, and a cache of the Parquet
# files that it reads once.
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "enable_external_file_cache": False,
}
MIGRATIONS: list[str | Callable[[duckdb.DuckDBPyConnection], None]] = [*STEPS]
"""Step n makes schema n from schema n - 1: statements, or a function of the connection."""

VERSION = len(MIGRATIONS)
MANY = 30
"""Columns that are added or widened by one statement for all."""

# An attempt that ended beats one that did not, and a later one beats an earlier one.
BEST_ATTEMPTS = """
create or replace view best_attempts as
select trial_id,
       max(attempt + case when status in ('done', 'diverged') then 2147483648 else 0 end) % 2147483648
           as attempt,
       count(*) as attempts
from records group by trial_id
"""

RUNS = """
create or replace view runs as
select m.study, r.trial_id, r.status, r.attempt, b.attempts, r.error,
       t.dataset, t.architecture, t.optimizer, t.seed, t.data_seed,
       r.n_params, r.n_params_body, coalesce(t.n_examples, r.n_examples) as n_examples,
       r.n_available, r.n_windows, r.forward_flops, r.train_flops,
       r.n_steps, r.epochs,
       r.loss, r.loss_last, r.objective, r.objective_last, r.best_step, r.n_validated, r.constant_loss,
       r.test_loss, r.test_objective, r.n_tested{tests},
       r.train_flops * r.best_step / r.n_steps as train_flops_best, r.metric, r.direction,
       t.batch_size, t.schedule, r.precision, r.wall_seconds, r.validation_seconds, r.peak_memory_bytes,
       r.device, r.device_name, r.host, r.threads,
       make_timestamp((r.started_at * 1e6)::bigint) as started_at,
       make_timestamp((r.finished_at * 1e6)::bigint) as finished_at,
       r.uncounted, r.scalelab_version, r.plugins, r.libraries, r.machine, r.metrics, r.test_metrics,
       r.calibration, t.fingerprint, m.planned, m.tuned,
       coalesce(m.refitted, false) as refitted{columns}
from study_trials m
join best_attempts b on b.trial_id = m.trial_id
join records r on r.trial_id = b.trial_id and r.attempt = b.attempt
join trials t on t.trial_id = m.trial_id
union all by name
select * exclude (position, extra, facts)
       replace (n_params::{n_params} as n_params, n_params_body::{n_params_body} as n_params_body,
                n_examples::{n_examples} as n_examples),
       1 as attempt, 1 as attempts, loss as loss_last, objective as objective_last, true as planned{imported}
from (select *, extra->>[{facts}]::varchar[] as facts from imported_runs)
"""
_OF_TEST = ("test_loss", "test_objective", "test_metrics")
COUNTED = ("n_params", "n_params_body", "n_examples")
"""Columns of counts, in which a table from elsewhere may have fractions."""

CURVES = """
create or replace view curves as
select m.study, p.*
from study_trials m
join best_attempts b on b.trial_id = m.trial_id
join curve_points p on p.trial_id = b.trial_id and p.attempt = b.attempt
union all by name
select study, trial_id, 1 as attempt, unnest(point.step) as step, unnest(point.train_flops) as train_flops,
       unnest(point.wall_seconds) as wall_seconds, unnest(point.loss) as loss
from (select study, trial_id, from_json(extra->'curve', '{
                 "step": ["BIGINT"], "train_flops": ["DOUBLE"], "wall_seconds": ["DOUBLE"], "loss": ["DOUBLE"]
             }') as point
      from imported_runs where json_type(extra->'curve') = 'OBJECT')
"""


def quoted(name: str) -> str:
    """Returns a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Returns a text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def verify(connection: duckdb.DuckDBPyConnection, path: Path, *, writing: bool) -> int:
    """Returns the schema's version, after making sure that it can be used.

    Raises:
        StoreDamagedError: The database is not a store.
        StoreNewerError: A newer scalelab wrote it.
        StoreError: An older scalelab wrote it and it was opened for reading only.
    """
    version = version_of(connection)
    if version is None:
        raise StoreDamagedError(
            f"{path} is a DuckDB database, but not a scalelab store: it has no table scalelab_schema"
        )
    if version > VERSION:
        raise StoreNewerError(
            f"the store {path} has schema {version}, this scalelab knows {VERSION}; "
            "run: pip install -U scalelab"
        )
    if version < VERSION and not writing:
        raise StoreError(
            f"the store {path} has schema {version}, this scalelab reads {VERSION}; "
            f"run: scalelab store migrate --store {path}"
        )
    return version


def version_of(connection: duckdb.DuckDBPyConnection) -> int | None:
    """Returns the schema's version; `None` where the database is not a store."""
    import duckdb

    try:
        version = one(connection.execute("select max(version) from scalelab_schema"))
    except (duckdb.CatalogException, duckdb.BinderException):
        return None
    return int(version) if version is not None else None


def one(result: duckdb.DuckDBPyConnection) -> Any:
    """Returns the one value of a one-row result."""
    row = result.fetchone()
    return row[0] if row else None


def first_column(result: duckdb.DuckDBPyConnection) -> list[Any]:
    """Returns the values of a result's first column."""
    return [row[0] for row in result.fetchall()]


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


@contextmanager
def sparing(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Keeps what DuckDB holds of a large table small; one thread makes a file half as large as two, too."""
    connection.execute("set memory_limit = '192MB'")
    connection.execute("set threads = 1")
    try:
        yield
    finally:
        connection.execute("reset threads")
        connection.execute("reset memory_limit")


def migrate(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Brings a database to the newest schema; returns the versions that it went through.

    An empty database becomes a store. Each step is one transaction, checkpointed at once.
    """
    start = version_of(connection) or 0
    for version, step in enumerate(MIGRATIONS[start:], start=start + 1):
        with transaction(connection):
            if isinstance(step, str):
                connection.execute(step)
            else:
                step(connection)
            connection.execute(
                "insert into scalelab_schema values (?, ?, (now() at time zone 'UTC'))",
                [version, __version__],
            )
            # The views are those of the newest schema, whose tables are all there after the last step.
            if version == len(MIGRATIONS):
                create_views(connection)
        connection.execute("checkpoint")
    return list(range(start + 1, len(MIGRATIONS) + 1))


def create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the views again, with all columns that plugins and imported tables brought."""
    tables = {"trials": "t", "records": "r"}
    trained = {column.name.lower(): column for column in columns_of(connection).values()}
    imported = imported_columns(connection)
    counted: dict[str, Kind] = {name: imported.pop(name, (name, "BIGINT"))[1] for name in COUNTED}
    columns = here = ""
    place = {key: at for at, key in enumerate(imported, start=1)}  # parsed once a row, not once a column
    names = {key: column.name for key, column in trained.items()}
    names |= {key: name for key, (name, _) in imported.items() if key not in names}
    for key in sorted(names, key=lambda key: order(names[key])):
        column, kind = trained.get(key), imported.get(key, ("", "NULL"))[1]
        shown = sql_type(wider(column.kind, kind) if column else kind)
        value = f"{tables[column.holder]}.{quoted(column.name)}" if column else "null"
        columns += f",\n       {value}::{shown} as {quoted(names[key])}"
        if key in imported:
            here += f",\n       facts[{place[key]}]::{shown} as {quoted(names[key])}"
    connection.execute(BEST_ATTEMPTS)
    tests = "".join(
        f", (r.test_metrics->>{literal('$.' + quoted(metric))})::double as {quoted(name)}"
        for metric, name in tested_metrics(connection).items()
    )
    facts = ", ".join(map(literal, imported))
    connection.execute(RUNS.format(columns=columns, imported=here, facts=facts, tests=tests, **counted))
    connection.execute(CURVES)
    connection.execute(LATENCIES)


def tested_metrics(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Returns the metrics that runs have of a test split, and for each the name of its column in `runs`."""
    metrics = first_column(
        connection.execute("select distinct unnest(json_keys(test_metrics)) as name from records order by 1")
    )
    names: dict[str, str] = {}
    for metric in metrics:
        names[metric] = free_name(f"test_{metric}", [*_OF_TEST, *names.values()])
    return names


def imported_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[str, Kind]]:
    """Returns name and type of the columns that imported tables brought, by their names in small letters.

    A type is the one that shows the values of all tables; `COUNTED` columns are among them.
    """
    found: dict[str, tuple[str, Kind]] = {}
    for (columns,) in connection.execute("select columns from imports order by study").fetchall():
        for name, kind in json.loads(columns).items():
            first, known = found.get(name.lower(), (name, kind))
            found[name.lower()] = (first, wider(known, kind))
    return found


def columns_of(connection: duckdb.DuckDBPyConnection) -> dict[tuple[Holder, str], Column]:
    """Returns the columns that plugins brought, by holder and pointer."""
    rows = connection.execute("select column_name, holder, pointer, kind from parameters").fetchall()
    return {(row[1], row[2]): Column(*row) for row in rows}


def change_columns(
    connection: duckdb.DuckDBPyConnection, added: Sequence[Column], widened: Sequence[Column]
) -> None:
    """Adds and widens columns in one transaction and makes the views again; checkpointed at once."""
    if not added and not widened:
        return
    with transaction(connection):
        for holder in {column.holder: None for column in (*added, *widened)}:
            own = [[column for column in columns if column.holder == holder] for columns in (added, widened)]
            # A statement for each column takes longer the more there are; one for all writes all rows again.
            (_alter if sum(map(len, own)) < MANY else _remake)(connection, holder, *own)
        rows = [(column.name, column.holder, column.pointer, column.kind) for column in (*added, *widened)]
        connection.execute(
            "delete from parameters where column_name in (select unnest(?::varchar[]))",
            [[column.name for column in widened]],
        )
        connection.execute(
            "insert into parameters select unnest(?::varchar[]), unnest(?::varchar[]), "
            "unnest(?::varchar[]), unnest(?::varchar[])",
            [list(values) for values in zip(*rows, strict=True)],
        )
        create_views(connection)
    connection.execute("checkpoint")


def _value(column: Column) -> str:
    """Returns the expression that gives a column's values from the JSON that they come from."""
    source = "content" if column.holder == "trials" else "features"
    return f"({source}->>{literal(column.pointer)})::{column.sql_type}"


def _alter(
    connection: duckdb.DuckDBPyConnection, holder: Holder, added: Sequence[Column], widened: Sequence[Column]
) -> None:
    for column in added:
        connection.execute(f"alter table {holder} add column {quoted(column.name)} {column.sql_type}")
    for column in widened:
        connection.execute(
            f"alter table {holder} alter column {quoted(column.name)} "
            f"set data type {column.sql_type} using {_value(column)}"
        )


def _remake(
    connection: duckdb.DuckDBPyConnection, holder: Holder, added: Sequence[Column], widened: Sequence[Column]
) -> None:
    replaced = ", ".join(f"{_value(column)} as {quoted(column.name)}" for column in widened)
    new = "".join(f", null::{column.sql_type} as {quoted(column.name)}" for column in added)
    connection.execute(
        f"create table remade as select * {f'replace ({replaced})' if replaced else ''}{new} from {holder}"
    )
    connection.execute(f"drop table {holder}")
    connection.execute(f"alter table remade rename to {holder}")
