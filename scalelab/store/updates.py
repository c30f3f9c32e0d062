"""The same source imported again: what is new or changed is taken, and a run that is gone from it is kept.

Runs are known by the column that the tracker tells them apart with. Many call theirs `0` or `version_0`, so
a source is the same one only where its experiment is, and its place or a run that is done. Trade-off: an
imported table is one file of the journal, so an update writes it again as a whole; nobody ever sees half of
one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from scalelab.errors import InputError, brief
from scalelab.store.imports import ORIGIN, ImportedTable, canonical, imported, pieces
from scalelab.store.insert import described
from scalelab.store.parameters import COMPONENTS, Kind, wider
from scalelab.store.rows import COLUMNS, MAX_ROWS, Collected, Rows
from scalelab.store.schema import literal, quoted

if TYPE_CHECKING:
    import duckdb

    from scalelab.store.mapping import Import

_CHOSEN = ("n_params", "n_params_body", "seed", "batch_size", *COMPONENTS)
"""Columns of `runs` that no run changes on its way."""
_COMPARED = 1000
_SHOWN = 3


def updated(
    connection: duckdb.DuckDBPyConnection, read: Import
) -> tuple[ImportedTable, dict[str, int], str | None] | None:
    """Returns what a table is after an update.

    Args:
        connection: Of the store.
        read: What was read of the source.

    Returns:
        The table; how many runs are new, changed, unchanged and kept; and which ones are kept, in words.
        `None` where the table there is not one of the same source, or its runs are not told apart.

    Raises:
        InputError: Runs that the source no longer has were read in another way, or there are too many.
        StoreError: There is no room.
    """
    key, table = read.key, read.table
    before = connection.execute(
        "select source, condition, mapping, columns from imports where study = ?", [read.study]
    ).fetchone()
    if key is None or table.rows is None or before is None:
        return None
    columns: dict[str, Kind] = json.loads(before[3])
    if before[0] != read.source or key not in columns:
        return None
    place, mapping = literal(key.lower()), json.loads(before[2])
    taken = f"read_parquet({literal(str(table.rows.path))})"
    new = _keyed(connection, taken, place)
    old = _keyed(connection, f"(from imported_runs where study = {literal(read.study)})", place)
    for one in (new, old):
        doubled = connection.execute(f"select count(*) - count(distinct key) from ({one})").fetchone()
        if doubled is None or doubled[0]:
            return None
    told = _compared(connection, mapping, table.mapping, f"({new}) n full join ({old}) o using (key)")
    if told is None:
        return None
    if not told["kept"]:
        return table, told, None
    gone = f"study = {literal(read.study)} and extra->>{place} not in (select key from ({new}))"
    otherwise = [
        name
        for name in mapping
        if name not in ORIGIN and table.mapping.get(name, mapping[name]) != mapping[name]
    ]
    if otherwise or before[1] != table.condition:
        raise InputError(
            f"{told['kept']} runs under the name {read.study!r} are not among those of {read.source}, and "
            f"were read with another {'--map ' + otherwise[0] if otherwise else '--only'}; take them away "
            "with --replace, or give these another name with --study"
        )
    if table.n_runs + told["kept"] > MAX_ROWS:
        raise InputError(f"{read.study} would have more than {MAX_ROWS:,} runs; give these another name")
    for name, kind in table.columns.items():
        columns[name] = wider(columns.get(name, kind), kind)
    merged = table.model_copy(update={"columns": columns, "mapping": mapping | table.mapping})
    kept = _kept(connection, place, gone, read.source, told["kept"])
    return _with_kept(connection, merged, table.rows, gone), told, kept


def _kept(connection: duckdb.DuckDBPyConnection, place: str, gone: str, source: str, n_kept: int) -> str:
    """Returns which runs stay in the store, in words."""
    keys = connection.execute(
        f"select extra->>{place} from imported_runs where {gone} order by position limit {_SHOWN}"
    ).fetchall()
    names = ", ".join(brief(name) for (name,) in keys) + (" …" if n_kept > _SHOWN else "")
    return (
        f"runs of an earlier import that {source} no longer has, or that were left out now, stay in the "
        f"store as they were: {n_kept} ({names}); --replace drops them"
    )


def _keyed(connection: duckdb.DuckDBPyConnection, table: str, place: str) -> str:
    """Returns SQL that gives the key of each run, its name and status, what it has, and what was chosen.

    A value that is missing is like one that is not there, and 1 like 1.0 and '1': another run may have
    brought the column, or its type.
    """
    there = described(connection, f"(from {table})")
    own = [
        f"{quoted(c)}::varchar" if c in there else "null::varchar"
        for c in COLUMNS
        if c not in ("trial_id", "extra")
    ]
    facts = "json_merge_patch('{}', extra::json)::varchar"
    plain = f"""replace(regexp_replace({facts}, '\\.0([",}}\\]])', '\\1', 'g'), '"', '')"""
    chosen = ", ".join(f"'{c}', {quoted(c) if c in there else 'null'}" for c in _CHOSEN)
    return (
        f"select extra->>{place} as key, trial_id, status, md5([{', '.join(own)}, {plain}]::varchar) as "
        "content, json_merge_patch(extra::json, json_object('curve', null, "
        f"{chosen}))::varchar as chosen from {table}"
    )


def _compared(
    connection: duckdb.DuckDBPyConnection, before: Mapping[str, str], now: Mapping[str, str], pairs: str
) -> dict[str, int] | None:
    """Returns how many runs are new, changed, unchanged and kept; `None` where it is another source.

    Args:
        connection: Of the store.
        before: The mapping of the table that is there.
        now: That of what was read.
        pairs: SQL of the runs of both, by key.
    """
    same = "(n.trial_id = o.trial_id or n.content = o.content)"
    *counts, n_proofs = connection.execute(
        f"select count(*) filter (o.key is null), count(*) filter (not {same}), count(*) filter ({same}), "
        f"count(*) filter (n.key is null), count(*) filter ({same} and n.status = 'done') from {pairs}"
    ).fetchall()[0]
    told = dict(zip(("new", "changed", "unchanged", "kept"), map(int, counts), strict=True))
    experiment, place = (before.get(name) == now.get(name) for name in ORIGIN)
    if not experiment or not (place or n_proofs):
        return None
    if told["unchanged"] or not told["changed"]:
        return told
    # The same place may have been emptied, and other runs made there that have the same names.
    other = {name.lower() for name in before if now.get(name, before[name]) != before[name]}
    chosen = f"select n.chosen, o.chosen from {pairs} where not {same} order by key limit {_COMPARED}"
    for texts in connection.execute(chosen).fetchall():
        one, two = (set(_chosen(json.loads(text), other)) for text in texts)
        if one <= two or two <= one:
            return told
    return None


def _chosen(values: Mapping[str, Any], other: set[str]) -> Iterator[tuple[str, str]]:
    """Yields what was chosen before a run, but for what is read in another way now."""
    for name, value in values.items():
        if value is not None and name not in other and not name.startswith("feature_"):
            whole = isinstance(value, float) and value.is_integer()
            yield name, str(int(value) if whole else value)


def _with_kept(
    connection: duckdb.DuckDBPyConnection, table: ImportedTable, own: Rows, kept: str
) -> ImportedTable:
    """Returns a table with rows of the store added to its own: those for which the condition is true."""
    rows = Collected()
    taken = f"read_parquet({literal(str(own.path))}, file_row_number = true)"
    for piece in pieces(connection, f"(select * rename (file_row_number as position) from {taken})"):
        rows.add(piece)
    for piece in pieces(connection, f"(from imported_runs where {kept})"):
        rows.add(canonical(piece))
    names = ("study", "source", "condition", "imported_at", "mapping", "columns")
    return imported(rows, n_runs=rows.n_rows, **{name: getattr(table, name) for name in names})
