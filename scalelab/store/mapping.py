"""From the columns of a foreign table to those of `runs`: what is which, calculated, checked row by row.

A column of `KNOWN_AS` is taken for what its name says, by the exact name; everything else is said by the
caller, as an SQL expression over the table's columns. Nothing is taken in silence: the result lists every
column with where it came from.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from scalelab.amounts import amount
from scalelab.errors import InputError, brief, suggest
from scalelab.records import UNSPECIFIED, Direction, Status
from scalelab.store.foreign import Source, opened
from scalelab.store.import_notes import notes_on, notes_on_names
from scalelab.store.imports import ImportedTable, rows_json
from scalelab.store.parameters import COMPONENTS, PREFIXES, SCALES, Kind, free_name
from scalelab.store.reports import join_reports, status_of, tells_status
from scalelab.store.schema import COUNTED, quoted

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES = ("loss", "objective")
TESTED = ("test_loss", "test_objective")
WHOLE = ("seed", "n_steps", "batch_size")
TEXTS = (*COMPONENTS, "metric", "direction", "status", "error")
TARGETS = (*OUTCOMES, *TESTED, *SCALES, *WHOLE, "wall_seconds", *TEXTS)
KNOWN_AS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in TARGETS},
    "loss": ("loss", "val_loss", "final_loss"),
    "n_params": ("n_params", "params", "num_params", "parameters", "N"),
    "n_examples": ("n_examples", "examples", "n_tokens", "tokens", "D"),
    "train_flops": ("train_flops", "flops", "FLOPs", "compute", "C"),
    "wall_seconds": ("wall_seconds", "time_total_s"),
    "status": ("status", "state", "done"),
}
"""By column of `runs`, the names under which it is known in tables from elsewhere."""
_OPTION = re.compile(rf"({'|'.join(PREFIXES)})_\w+")
_NUMBERS = ("BIGINT", "DOUBLE")
_STUDY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_COMPACT = (",", ":")


@dataclass(frozen=True)
class Wanted:
    """How a foreign table is to be read; see `scalelab.import_runs`."""

    study: str | None = None
    map: Mapping[str, str] = field(default_factory=dict)
    only: str | None = None
    metric: str | None = None
    direction: str | None = None
    rest: str = "feature"


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
        rows, renamed = source.rows(), source.renamed
        where = f"of {source.name}"
        _check_scales(columns, rows, where)
        rows, curves = join_reports(source, columns, extra, rows, upward=wanted.direction == "maximize")
    _complete(columns, rows, where, wanted)
    kinds |= {name: _count_kind(columns[name]) for name in COUNTED if name in columns}
    imported = ImportedTable(
        study=study,
        source=source.name,
        imported_at=0.0,
        n_runs=len(rows),
        mapping={item.column: item.expression for item in mapped},
        condition=wanted.only,
        columns=kinds,
        rows=rows_json(_content(columns, extra, curves)),
    )
    return Import(
        study,
        source.name,
        source.n_rows,
        len(rows),
        tuple(mapped),
        dict(Counter(columns["status"])),
        (*notes_on_names(renamed), *notes_on(columns, extra)),
        table=imported,
    )


def _check(wanted: Wanted) -> None:
    for name in wanted.map:
        if name not in TARGETS and not _OPTION.fullmatch(name):
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
            own = bool(_OPTION.fullmatch(name))
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


Columns = dict[str, list[Any]]


def _values(source: Source, mapped: Sequence[Mapped]) -> tuple[Columns, Columns, dict[str, Kind]]:
    """Calculates all columns: those of `runs`, those of options and facts, and the types of the latter."""
    columns: Columns = {}
    extra: Columns = {}
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


def _amounts(source: Source, item: Mapped) -> list[float | None]:
    """Returns a scale of every row; a text such as `10M` is a number, too."""
    try:
        return source.numbers(item.column, item.expression)
    except InputError as error:
        found: list[float | None] = []
        for row, text in zip(source.rows(), source.texts(item.column, item.expression), strict=True):
            try:
                found.append(None if text is None else amount(text, item.column))
            except InputError as wrong:
                # Where no text before is an amount that is no number, this one is what is told already.
                told = str(error) if not any(found) else f"row {row} of {source.name}: {wrong}"
                raise InputError(told) from None
        return found


def _check_scales(columns: Columns, rows: Sequence[int], where: str) -> None:
    """Makes sure that scales are positive and whole numbers whole, which they are made in place."""
    for name in (*SCALES, *WHOLE, "wall_seconds"):
        for row, value in zip(rows, columns.get(name, ()), strict=False):
            if value is None:
                continue
            wrong = None
            if not math.isfinite(value):
                wrong = "must be finite"
            elif name in SCALES and value <= 0:
                wrong = "must be above zero"
            elif name in WHOLE and not (value.is_integer() and 0 <= value < 2**63):
                wrong = "must be a whole number, zero or more"
            if wrong:
                raise InputError(
                    f"row {row} {where}: {name} = {value:g} {wrong}; fix it, or leave the row out with --only"
                )
    for name in WHOLE:
        if name in columns:
            columns[name] = [None if value is None else int(value) for value in columns[name]]
    given = [columns[name] for name in SCALES if name in columns]
    for row, *values in zip(rows, *given, strict=True):
        if values and all(value is None for value in values):
            raise InputError(f"row {row} {where} has no scale at all; leave it out with --only")


def _complete(columns: Columns, rows: Sequence[int], where: str, wanted: Wanted) -> None:
    """Fills in what follows from other columns: names, status, objective."""
    for name in COMPONENTS:
        columns[name] = [value or UNSPECIFIED for value in columns[name]]
    columns["status"] = _statuses(columns, rows, where)
    for name in (*OUTCOMES, *TESTED):
        if name in columns:
            columns[name] = [v if v is not None and math.isfinite(v) else None for v in columns[name]]
    metric, direction = wanted.metric, wanted.direction
    if "objective" not in columns:
        columns["objective"] = columns["loss"]
        metric, direction = "loss", "minimize"
    if metric is not None:
        columns |= {"metric": [metric] * len(rows), "direction": [direction] * len(rows)}
    for name in ("metric", "direction"):
        if None in columns.get(name, [None]):
            raise InputError("the objective has no name or no direction; say --metric NAME and --direction …")
    wrong = set(columns["direction"]) - set(get_args(Direction))
    if wrong:
        raise InputError(
            f"direction {brief(min(wrong))} {where} is not one of {', '.join(get_args(Direction))}"
        )


def _statuses(columns: Columns, rows: Sequence[int], where: str) -> list[str]:
    """Returns every run's status; one that is not given follows from the outcome."""
    outcomes = {name: columns[name] for name in OUTCOMES if name in columns}
    statuses = [status_of(word) for word in columns.get("status", [None] * len(rows))]
    result = []
    for i, (row, status) in enumerate(zip(rows, statuses, strict=True)):
        if status not in (None, *get_args(Status)):
            raise InputError(
                f"row {row} {where}: status {brief(status)} is not one of {', '.join(get_args(Status))}; "
                "map it with --map status=\"case … when … then 'done' … end\""
            )
        for name, values in outcomes.items():
            value = values[i]
            if value is None and status in (None, "done"):
                raise InputError(
                    f"row {row} {where} has no {name}; leave such rows out with --only, or say that they "
                    f"diverged: --map {name}=\"coalesce(…, 'nan'::double)\""
                )
            if value is not None and not math.isfinite(value):
                if status == "done":
                    raise InputError(
                        f"row {row} {where} is done, but its {name} is {value:g}; call it diverged"
                    )
                status = status or "diverged"
        result.append(status or "done")
    return result


def _count_kind(values: Sequence[float | None]) -> Kind:
    whole = all(value is None or (value.is_integer() and value < 2**63) for value in values)
    return "BIGINT" if whole else "DOUBLE"


def _content(columns: Columns, extra: Columns, curves: Sequence[list[dict[str, Any]] | None]) -> Columns:
    """Returns the rows as the journal holds them, named by their content.

    The curve of a run is among its facts, as `curve`; the names of the others all have a prefix. Rows of the
    same content have the same id in every table; repeats within one table get different ids.
    """
    n_runs = len(curves)
    facts: list[dict[str, Any] | None] = [None] * n_runs
    if extra:
        keys = [name.lower() for name in extra]
        facts = [dict(zip(keys, values, strict=True)) for values in zip(*extra.values(), strict=True)]
    facts = [
        own if curve is None else {**(own or {}), "curve": curve}
        for own, curve in zip(facts, curves, strict=True)
    ]
    names = sorted(columns)
    encode = json.JSONEncoder(separators=_COMPACT, allow_nan=False).encode
    seen: Counter[str] = Counter()
    ids = []
    for i in range(n_runs):
        row = [[name, columns[name][i]] for name in names if columns[name][i] is not None]
        text = encode([row, facts[i]])
        seen[text] += 1
        ids.append(hashlib.sha256(f"{seen[text]} {text}".encode()).hexdigest()[:16])
    content: Columns = {"trial_id": ids, **{name: columns[name] for name in names}}
    return {**content, "extra": facts} if any(facts) else content
