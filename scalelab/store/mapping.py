"""From the columns of a foreign table to those of `runs`: what is which, calculated, checked row by row.

A column of `KNOWN_AS` is taken for what its name says, by the exact name; everything else is said by the
caller, as an SQL expression over the table's columns. Nothing is taken in silence: the result lists every
column with where it came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, cast, get_args

from scalelab.amounts import amount
from scalelab.errors import InputError, brief, suggest
from scalelab.records import UNSPECIFIED, Direction
from scalelab.store.faults import Faults
from scalelab.store.foreign import Source, Values, opened
from scalelab.store.import_notes import notes_on_names
from scalelab.store.import_rows import Reading
from scalelab.store.imports import ImportedTable, origin
from scalelab.store.joins import STEPS
from scalelab.store.parameters import COMPONENTS, PREFIXES, SCALES, Kind, free_name
from scalelab.store.reports import tells_status
from scalelab.store.schema import quoted
from scalelab.store.targets import KEYS, KNOWN_AS, LOSSES, OPTION, OUTCOMES, TARGETS, TEXTS, Wanted

if TYPE_CHECKING:
    from scalelab.store.foreign import Foreign

_NUMBERS = ("BIGINT", "DOUBLE")
_STUDY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Mapped:
    """A column of `runs` and where its values come from.

    Attributes:
        column: In `runs`.
        expression: Over the table's columns.
        how: `given` by the caller, `told` by the tracker, known `by name`, `kept` as a fact or an option, or
            a `default`.
    """

    column: str
    expression: str
    how: Literal["given", "told", "by name", "kept", "default"]


@dataclass(frozen=True)
class State:
    """How a word for the end of a run was taken.

    Attributes:
        word: In the table; `None` where it has none.
        status: What it is here.
        n_runs: How many runs.
    """

    word: str | None
    status: str
    n_runs: int


@dataclass(frozen=True)
class Import:
    """What was read of foreign tables or a tracker's runs, and the outcome of it.

    Attributes:
        study: The name under which its rows are runs.
        source: The names of the files.
        title: What it is, where a tracker wrote it, such as `an Optuna database, 'x'`.
        n_rows: Rows of the file, or runs that could be read.
        n_runs: Rows taken.
        mapped: Where every column comes from.
        states: How each word for the end of a run was taken, where there is a column of them.
        statuses: Runs by status.
        problems: What could not be read of a tracker's runs, a line each.
        notes: What the reader should know, a line each.
        outcome: `read` (nothing stored), `imported`, `updated`, `replaced` or `unchanged`.
        counts: What an update did: how many runs are `new`, `changed`, `unchanged`, and `kept` because the
            source no longer has them.
        key: The column of `runs` that tells the runs apart and stays with them; `None` where there is none.
        table: The rows, as the journal is to hold them.
    """

    study: str
    source: str
    title: str | None
    n_rows: int
    n_runs: int
    mapped: tuple[Mapped, ...]
    states: tuple[State, ...]
    statuses: dict[str, int]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    outcome: Literal["read", "imported", "updated", "replaced", "unchanged"] = "read"
    counts: dict[str, int] = field(default_factory=dict)
    key: str | None = field(kw_only=True)
    table: ImportedTable = field(kw_only=True, repr=False)

    json_fields: ClassVar[tuple[str, ...]] = (
        "study", "source", "title", "outcome", "counts", "n_rows", "n_runs", "mapped", "states", "statuses",
        "condition=table.condition", "problems", "notes",
    )  # fmt: skip
    """Everything but the rows."""


def read_runs(table: Foreign | Sequence[Foreign], wanted: Wanted) -> Import:
    """Reads foreign tables, or runs of a tracker, into rows of `runs`; stores nothing.

    Raises:
        InputError: The table, a name, an expression or a value is wrong.
    """
    _check(wanted)
    tables: list[Foreign] = list(table) if isinstance(table, (list, tuple)) else [cast("Foreign", table)]
    with opened(tables, wanted.join, wanted.kind, wanted.experiment) as source:
        asked, wanted = wanted, _as_tracked(source, wanted)
        study = _study_name(wanted.study, source)
        mapped = _mapped(source, wanted, study)
        if wanted != asked:
            mapped = [
                replace(m, how="told") if m.how == "given" and m.column not in asked.map else m
                for m in mapped
            ]
        if wanted.only is not None:
            source.keep(wanted.only)
        faults = Faults(source)
        columns, extra, kinds = _values(source, mapped, faults)
        plain = {item.column: source.plain(item.expression) for item in mapped}
        taken = {column: name for column, name in plain.items() if name is not None}
        reading = Reading(source, columns, extra, kinds, wanted, taken, faults)
        for rows, values in source.pieces([*columns.values(), *extra.values()]):
            reading.add(rows, values)
        expressions = {item.column: item.expression for item in mapped}
        came = origin(tables, [one.origin for one in source.tracked])
        table_read = reading.table(study, expressions | came)
        problems = [*(problem for one in source.tracked for problem in one.problems), *faults.problems()]
        states = sorted(reading.states.items(), key=lambda item: (-item[1], str(item[0])))
        return Import(
            study,
            source.name,
            _title(source),
            source.n_rows,
            table_read.n_runs,
            tuple(mapped),
            tuple(State(*told, count) for told, count in states) if "status" in columns else (),
            dict(reading.notes.statuses),
            tuple(map(str, problems)),
            (*notes_on_names(source.renamed, source.tracked), *reading.notes.told()),
            key=next(
                (column for name in keys_of(source) for column, of in taken.items() if of == name), None
            ),
            table=table_read,
        )


def _title(source: Source) -> str | None:
    """Returns what wrote the tables, where that is known."""
    titles = [one.title for one in source.tracked]
    if {"Name", "State", "Created"} <= source.kinds.keys():
        titles.append("a table of runs of Weights & Biases")
    return ", with ".join(titles) or None


def _as_tracked(source: Source, wanted: Wanted) -> Wanted:
    """Returns what is wanted, with what the tracker says of its outcome where nobody said otherwise."""
    objective = next((one.objective for one in source.tracked if one.objective is not None), None)
    said = wanted.map.keys() & set(OUTCOMES) or wanted.metric is not None
    if objective is None or said or objective[0] not in source.kinds:
        return wanted
    column, direction = objective
    if direction == "minimize":
        return replace(wanted, map={"loss": quoted(column), **wanted.map})
    return replace(wanted, metric=column, direction=direction)


def _check(wanted: Wanted) -> None:
    for name in wanted.map:
        if name not in TARGETS and not OPTION.fullmatch(name):
            raise InputError(
                f"map {name}: runs has no such column{suggest(name, TARGETS)}; there are "
                f"{', '.join(TARGETS)}, and {', '.join(f'{p}_…' for p in PREFIXES)} for options and facts"
            )
    if wanted.rest is not None and wanted.rest not in PREFIXES:
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
    used = {name for item in found if (name := source.plain(item.expression)) is not None}
    for target, names in KNOWN_AS.items():
        there = [name for name in names if name in source.kinds and name not in used]
        if target == "status":
            # Other things have states, too: where no word is one for the end of a run, it is a fact.
            there = [name for name in there if name == target or tells_status(source, name)]
        if target == "loss" and source.tracked:
            # Trackers keep the loss on training data beside that on validation data; a law is of the latter.
            there = [name for name in LOSSES if name in source.kinds and name not in used][:1]
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
    params = {name for one in source.tracked for name in one.params}
    facts = {*keys_of(source), *(name for one in source.tracked for name in one.facts)}
    for name in source.kinds:
        if name not in used:
            own = bool(OPTION.fullmatch(name)) and name not in STEPS
            rest = wanted.rest or ("architecture" if name in params else "feature")
            column = free_name(name if own else f"{'feature' if name in facts else rest}_{name}", taken)
            taken.append(column)
            found.append(Mapped(column, quoted(name), "by name" if own else "kept"))
    defaults = {name: study if name == "dataset" else UNSPECIFIED for name in COMPONENTS}
    found += [Mapped(n, f"'{value}'", "default") for n, value in defaults.items() if n not in taken]
    return found


def keys_of(source: Source) -> list[str]:
    """Returns the columns that may tell the runs of a table apart, and stay with them."""
    # A table of anything has names; one with states of runs has names of runs.
    names = KEYS if "State" in source.kinds or source.tracked else KEYS[:2]
    return [name for name in names if name in source.kinds]


def _require(source: Source, there: set[str], used: set[str]) -> None:
    if not there & set(OUTCOMES):
        raise InputError(
            f"{source.name} has no column named {' or '.join(KNOWN_AS['loss'])}; say what the loss is with "
            "--map loss=…, or name another outcome with --metric and --direction "
            f"(columns: {source.columns_named}){source.nested}"
        )
    numbers = [name for name, kind in source.kinds.items() if kind in _NUMBERS and name not in used]
    if not there & set(SCALES) and not numbers:
        raise InputError(
            f"{source.name} has no scale by a known name and no other column of numbers; map one of "
            f"{', '.join(SCALES)}, such as --map n_params=… (columns: {source.columns_named}){source.nested}"
        )


def _values(
    source: Source, mapped: Sequence[Mapped], faults: Faults
) -> tuple[dict[str, Values], dict[str, Values], dict[str, Kind]]:
    """Calculates all columns: those of `runs`, those of options and facts, and the types of the latter."""
    columns: dict[str, Values] = {}
    extra: dict[str, Values] = {}
    kinds: dict[str, Kind] = {}
    for item in mapped:
        if item.column in TEXTS:
            columns[item.column] = source.texts(item.column, item.expression)
        elif item.column in TARGETS:
            columns[item.column] = _numbers(source, item, faults)
        else:
            kinds[item.column], extra[item.column] = source.facts(item.column, item.expression)
    return columns, extra, kinds


def _numbers(source: Source, item: Mapped, faults: Faults) -> Values:
    """Returns a number of every row; of a scale a text such as `10M` is one, too."""
    try:
        return source.numbers(item.column, item.expression)
    except InputError as error:
        if item.column not in SCALES and not source.tracked:
            raise
        return source.put(_read_numbers(source, item, str(error), faults))


def _read_numbers(
    source: Source, item: Mapped, told: str, faults: Faults
) -> Iterator[tuple[list[int], list[float | None]]]:
    """Yields the numbers of rows and what they say; `told` is why they are no plain numbers."""
    any_found = False
    for rows, (texts,) in source.pieces([source.texts(item.column, item.expression)]):
        found: list[float | None] = []
        for row, text in zip(rows, texts, strict=True):
            try:
                found.append(None if text is None else _number(text, item.column))
            except InputError as wrong:
                # Where no text before is an amount that is no number, this one is what is told already.
                any_found = any_found or any(found)
                if not source.tracked:
                    raise InputError(f"row {row} of {source.name}: {wrong}" if any_found else told) from None
                faults.add(row, f": {wrong}", "fix it, or leave the run out with --only")
                found.append(None)
        any_found = any_found or any(found)
        yield rows, found


def _number(text: str, column: str) -> float:
    if column in SCALES:
        return amount(text, column)
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{column} {brief(text)}: must be a number") from None
