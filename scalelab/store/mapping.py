"""From the columns of a foreign table to those of `runs`: what is which, calculated, checked row by row.

A column of `KNOWN_AS` is taken for what its name says, by the exact name; everything else is said by the
caller, as an SQL expression over the table's columns. Nothing is taken in silence: the result lists every
column with where it came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from scalelab.amounts import amount
from scalelab.errors import InputError, brief, suggest
from scalelab.records import UNSPECIFIED, Direction
from scalelab.store.foreign import Source, Values, opened
from scalelab.store.import_notes import notes_on_names
from scalelab.store.import_rows import Reading
from scalelab.store.imports import ImportedTable
from scalelab.store.parameters import COMPONENTS, PREFIXES, SCALES, Kind, free_name
from scalelab.store.reports import tells_status
from scalelab.store.schema import quoted
from scalelab.store.targets import KNOWN_AS, OPTION, OUTCOMES, TARGETS, TEXTS, Wanted

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = ("BIGINT", "DOUBLE")
_STUDY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Mapped:
    """A column of `runs` and where its values come from.

    Attributes:
        column: In `runs`.
        expression: Over the table's columns.
        how: `given` by the caller, known `by name`, `kept` as a fact or an option, or a `default`.
    """

    column: str
    expression: str
    how: Literal["given", "by name", "kept", "default"]


@dataclass(frozen=True)
class Import:
    """What was read of a foreign table, and the outcome of it.

    Attributes:
        study: The name under which its rows are runs.
        source: The file's name.
        n_rows: Rows of the file.
        n_runs: Rows taken.
        mapped: Where every column comes from.
        statuses: Runs by status.
        notes: What the reader should know, a line each.
        outcome: `read` (nothing stored), `imported`, `replaced` or `unchanged`.
        table: The rows, as the journal is to hold them.
    """

    study: str
    source: str
    n_rows: int
    n_runs: int
    mapped: tuple[Mapped, ...]
    statuses: dict[str, int]
    notes: tuple[str, ...]
    outcome: Literal["read", "imported", "replaced", "unchanged"] = "read"
    table: ImportedTable = field(kw_only=True, repr=False)

    json_fields: ClassVar[tuple[str, ...]] = (
        "study", "source", "outcome", "n_rows", "n_runs", "mapped", "statuses",
        "condition=table.condition", "notes",
    )  # fmt: skip
    """Everything but the rows."""


def read_runs(table: pd.DataFrame | Path | str, wanted: Wanted) -> Import:
    """Reads a foreign table into rows of `runs`; stores nothing.

    Raises:
        InputError: The table, a name, an expression or a value is wrong.
    """
    _check(wanted)
    with opened(table) as source:
        study = _study_name(wanted.study, source)
        mapped = _mapped(source, wanted, study)
        if wanted.only is not None:
            source.keep(wanted.only)
        columns, extra, kinds = _values(source, mapped)
        reading = Reading(source, columns, extra, kinds, wanted)
        for rows, values in source.pieces([*columns.values(), *extra.values()]):
            reading.add(rows, values)
        table_read = reading.table(study, {item.column: item.expression for item in mapped})
        notes = (*notes_on_names(source.renamed), *reading.notes.told())
        return Import(
            study,
            source.name,
            source.n_rows,
            table_read.n_runs,
            tuple(mapped),
            dict(reading.notes.statuses),
            notes,
            table=table_read,
        )


def _check(wanted: Wanted) -> None:
    for name in wanted.map:
        if name not in TARGETS and not OPTION.fullmatch(name):
            raise InputError(
                f"map {name}: runs has no such column{suggest(name, TARGETS)}; there are "
                f"{', '.join(TARGETS)}, and {', '.join(f'{p}_…' for p in PREFIXES)} for options and facts"
            )
    if wanted.rest not in PREFIXES:
        raise InputError(
            f"rest {wanted.rest!r}{suggest(wanted.rest, PREFIXES)}; there are {', '.join(PREFIXES)}"
        )
    if wanted.direction is not None and wanted.direction not in get_args(Direction):
        raise InputError(f"direction {wanted.direction!r} is not one of {', '.join(get_args(Direction))}")
    if (wanted.metric is None) != (wanted.direction is None):
        raise InputError(
            "metric and direction go together: say --metric NAME and --direction minimize or maximize"
        )
    twice = [name for name in ("metric", "direction") if getattr(wanted, name) and name in wanted.map]
    if twice:
        raise InputError(f"{twice[0]} is both given and mapped; drop one")


def _study_name(given: str | None, source: Source) -> str:
    name = given if given is not None else source.stem
    if name is None:
        raise InputError("name what is imported: a DataFrame has no file name, say study='…'")
    if not _STUDY.fullmatch(name):
        raise InputError(
            f"study {brief(name)}: a name has letters, digits, '-', '_' and '.', 100 at most, "
            "the first a letter or a digit; give one with --study"
        )
    return name


def _mapped(source: Source, wanted: Wanted, study: str) -> list[Mapped]:
    """Decides where every column comes from: first what was given, then known names, then the rest."""
    given = dict(wanted.map)
    if wanted.metric is not None and "objective" not in given:
        if wanted.metric not in source.kinds:
            hint = suggest(wanted.metric, source.kinds)
            raise InputError(
                f"metric {wanted.metric!r}: {source.name} has no such column{hint}; "
                f"map it with --map objective=… (columns: {source.columns_named})"
            )
        given["objective"] = quoted(wanted.metric)
    found = [Mapped(column, expression, "given") for column, expression in given.items()]
    plain = {form: name for name in source.kinds for form in (name, quoted(name))}
    used = {plain[item.expression.strip()] for item in found if item.expression.strip() in plain}
    for target, names in KNOWN_AS.items():
        there = [name for name in names if name in source.kinds and name not in used]
        if target == "status":
            # Other things have states, too: where no word is one for the end of a run, it is a fact.
            there = [name for name in there if name == target or tells_status(source, name)]
        if target in given or not there:
            continue
        if len(there) > 1:
            raise InputError(
                f"{source.name} has the columns {' and '.join(map(repr, there))}, each of which may be "
                f"{target}; say which: --map {target}={there[0]}"
            )
        found.append(Mapped(target, quoted(there[0]), "by name"))
        used.add(there[0])
    _require(source, {item.column for item in found}, used)
    taken = [item.column for item in found]
    for name in source.kinds:
        if name not in used:
            own = bool(OPTION.fullmatch(name))
            column = free_name(name if own else f"{wanted.rest}_{name}", taken)
            taken.append(column)
            found.append(Mapped(column, quoted(name), "by name" if own else "kept"))
    defaults = {name: study if name == "dataset" else UNSPECIFIED for name in COMPONENTS}
    found += [Mapped(n, f"'{value}'", "default") for n, value in defaults.items() if n not in taken]
    return found


def _require(source: Source, there: set[str], used: set[str]) -> None:
    if not there & set(OUTCOMES):
        raise InputError(
            f"{source.name} has no column named {' or '.join(KNOWN_AS['loss'])}; say what the loss is with "
            "--map loss=…, or name another outcome with --metric and --direction "
            f"(columns: {source.columns_named})"
        )
    numbers = [name for name, kind in source.kinds.items() if kind in _NUMBERS and name not in used]
    if not there & set(SCALES) and not numbers:
        raise InputError(
            f"{source.name} has no scale by a known name and no other column of numbers; map one of "
            f"{', '.join(SCALES)}, such as --map n_params=… (columns: {source.columns_named})"
        )


def _values(
    source: Source, mapped: Sequence[Mapped]
) -> tuple[dict[str, Values], dict[str, Values], dict[str, Kind]]:
    """Calculates all columns: those of `runs`, those of options and facts, and the types of the latter."""
    columns: dict[str, Values] = {}
    extra: dict[str, Values] = {}
    kinds: dict[str, Kind] = {}
    for item in mapped:
        if item.column in TEXTS:
            columns[item.column] = source.texts(item.column, item.expression)
        elif item.column in SCALES:
            columns[item.column] = _amounts(source, item)
        elif item.column in TARGETS:
            columns[item.column] = source.numbers(item.column, item.expression)
        else:
            kinds[item.column], extra[item.column] = source.facts(item.column, item.expression)
    return columns, extra, kinds


def _amounts(source: Source, item: Mapped) -> Values:
    """Returns a scale of every row; a text such as `10M` is a number, too."""
    try:
        return source.numbers(item.column, item.expression)
    except InputError as error:
        return source.put(_read_amounts(source, item, str(error)))


def _read_amounts(source: Source, item: Mapped, told: str) -> Iterator[tuple[list[int], list[float | None]]]:
    """Yields the numbers of rows and the amounts in them; `told` is why they are no plain numbers."""
    any_found = False
    for rows, (texts,) in source.pieces([source.texts(item.column, item.expression)]):
        found: list[float | None] = []
        for row, text in zip(rows, texts, strict=True):
            try:
                found.append(None if text is None else amount(text, item.column))
            except InputError as wrong:
                # Where no text before is an amount that is no number, this one is what is told already.
                any_found = any_found or any(found)
                raise InputError(f"row {row} of {source.name}: {wrong}" if any_found else told) from None
        any_found = any_found or any(found)
        yield rows, found
