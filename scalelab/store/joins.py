"""Several foreign tables as one: rows of the same key belong together.

Nothing is left out in silence: a key that is missing in one of the tables, or there twice, is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scalelab.errors import InputError, brief, suggest
from scalelab.store.foreign_files import Loaded
from scalelab.store.parameters import free_name
from scalelab.store.schema import quoted

if TYPE_CHECKING:
    import duckdb

REPORTED = "trial_id"
STEPS = ("training_iteration", "step", "iteration", "epoch")
"""Columns that tell the reports of one run apart."""
_SHOWN = 3


def joined(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[tuple[str, Loaded]], key: str | None
) -> dict[str, str]:
    """Makes the view `loaded` of tables, one with each other by a column that all of them have.

    Args:
        connection: Of the database.
        tables: The tables and what messages call them. The first may be reports along runs, several rows a
            run, which are joined by `trial_id`.
        key: The column.

    Returns:
        By new name the columns that got one.

    Raises:
        InputError: A table lacks the column, or a key is missing or doubled in one of them.
    """
    (first_name, first), *others = tables
    if not others:
        if key is not None:
            raise InputError(f"join {key}: there is {first_name} alone; name the other files, too")
        connection.execute(f"create temp view loaded as select * from {first.view}")
        return first.renamed
    if key is None:
        raise InputError(
            f"there are {len(tables)} tables; say which column joins their rows: --join KEY, such as run_id"
        )
    types = {one.view: _columns(connection, one) for _, one in tables}
    columns = {view: list(found) for view, found in types.items()}
    keys = [_key(key, name, columns[one.view], one) for name, one in tables]
    texts = [_text(own, types[one.view][own]) for (_, one), own in zip(tables, keys, strict=True)]
    reports = keys[0] == REPORTED and any(step in columns[first.view] for step in STEPS)
    for (name, one), own, text in zip(tables, keys, texts, strict=True):
        most = 2**62 if reports and one is first else 1
        _refuse_doubled(connection, one.view, (own, text), name, most=most)
    shown, joins = f"t0.* exclude ({quoted('order')})", ""
    taken, renamed = list(columns[first.view]), dict(first.renamed)
    for at, (name, other) in enumerate(others, start=1):
        _refuse_missing(connection, key, (first_name, first.view, texts[0]), (name, other.view, texts[at]))
        renamed |= other.renamed
        for column in columns[other.view]:
            if column == keys[at]:
                continue
            free = column if column.lower() not in map(str.lower, taken) else free_name(column, taken)
            if free != column:
                renamed[free] = f"{column} of {name}"
            taken.append(free)
            shown += f", t{at}.{quoted(column)} as {quoted(free)}"
        joins += f" join {other.view} t{at} on {texts[at].format(f't{at}')} = {texts[0].format('t0')}"
    connection.execute(
        f"create temp table loaded as select {shown} from (select row_number() over () as "
        f"{quoted('order')}, * from {first.view}) t0{joins} order by t0.{quoted('order')}"
    )
    return renamed


def _columns(connection: duckdb.DuckDBPyConnection, table: Loaded) -> dict[str, str]:
    """Returns the types of a table's columns."""
    return {row[0]: row[1] for row in connection.execute(f"describe {table.view}").fetchall()}


def _key(key: str, name: str, columns: Sequence[str], table: Loaded) -> str:
    """Returns the name of the key in a table, which may differ in capital letters."""
    own = [column for column in columns if table.tracked is None or column != table.tracked.place]
    for column in own:
        if column.lower() == key.lower():
            return column
    raise InputError(
        f"join {key}: {name} has no such column{suggest(key, own)} (columns: {', '.join(own[:12])}"
        f"{' …' if len(own) > 12 else ''})"
    )


def _text(key: str, kind: str) -> str:
    """Returns the text of a key as SQL, `{}` for its table; `1`, `1.0` and the JSON text `"1"` are one."""
    column = "{}." + quoted(key).replace("{", "{{").replace("}", "}}")
    text = f"({column}->>'$')" if kind == "JSON" else f"{column}::varchar"
    whole = kind == "JSON" or kind in ("FLOAT", "DOUBLE") or kind.startswith("DECIMAL")
    return f"regexp_replace({text}, '^(-?[0-9]+)\\.0+$', '\\1')" if whole else text


def _refuse_doubled(
    connection: duckdb.DuckDBPyConnection, view: str, key: tuple[str, str], name: str, *, most: int
) -> None:
    own, text = key[0], key[1].format("t")
    found = connection.execute(
        f"select {text}, count(*) from {view} t group by 1 having count(*) > {most} or "
        f"{text} is null order by 1 nulls first limit {_SHOWN + 1}"
    ).fetchall()
    if found and found[0][0] is None:
        raise InputError(f"join {own}: {found[0][1]} rows of {name} have no {own}; fill it in")
    if found:
        raise InputError(
            f"join {own}: several rows of {name} have the same one: {_listed([row[0] for row in found])}; "
            "leave all but one out"
        )


def _refuse_missing(
    connection: duckdb.DuckDBPyConnection,
    key: str,
    first: tuple[str, str, str],
    other: tuple[str, str, str],
) -> None:
    for (one, view, text), (there, its, own) in ((first, other), (other, first)):
        found = connection.execute(
            f"select distinct {text.format('t')} from {view} t where {text.format('t')} not in "
            f"(select {own.format('u')} from {its} u) order by 1 limit {_SHOWN + 1}"
        ).fetchall()
        if found:
            raise InputError(
                f"join {key}: rows of {one} have no row in {there}: {_listed([row[0] for row in found])}; "
                "leave them out of the one file, or add them to the other"
            )


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(map(brief, keys[:_SHOWN])) + (" …" if len(keys) > _SHOWN else "")
