"""From the mapped columns of a foreign table to its runs: checked, completed and named, piece by piece."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from scalelab.errors import InputError, brief
from scalelab.records import FINAL_STATUSES, UNSPECIFIED, Direction, Status
from scalelab.store.faults import Faults
from scalelab.store.foreign import Source, Values
from scalelab.store.import_notes import Distinct, Notes
from scalelab.store.imports import ImportedTable, imported
from scalelab.store.parameters import COMPONENTS, SCALES, Kind
from scalelab.store.reports import Reports, status_of
from scalelab.store.rows import Collected, sorted_json
from scalelab.store.run_curves import RunCurves
from scalelab.store.schema import COUNTED
from scalelab.store.targets import OUTCOMES, TESTED, WHOLE, Wanted

Columns = dict[str, list[Any]]


class Reading:
    """Runs that are made of the rows of a foreign table, given piece by piece.

    Args:
        source: The table.
        columns: Of `runs`.
        extra: Of options and facts.
        kinds: The types of the latter.
        wanted: How it is to be read.
        taken: By column of `runs` or of options and facts the column of the table that it is, if it is one.
        faults: What is wrong with rows; of a tracker's runs these are left out, of a table none may be.

    Raises:
        InputError: The reports of a run are not told apart.

    Attributes:
        notes: What a reader should know of it.
        states: How many runs have a word for their end and, for it, a status.
    """

    def __init__(
        self,
        source: Source,
        columns: Mapping[str, Values],
        extra: Mapping[str, Values],
        kinds: Mapping[str, Kind],
        wanted: Wanted,
        taken: Mapping[str, str],
        faults: Faults,
    ) -> None:
        self.notes = Notes(kinds)
        self.states: Counter[tuple[str | None, str]] = Counter()
        self._source, self._wanted, self._faults = source, wanted, faults
        self._names = list(columns), list(extra)
        self._kinds = dict(kinds)
        upward = wanted.direction == "maximize"
        self._reports = Reports(source, columns, upward=upward)
        self._curves = RunCurves(source, taken, upward=upward) if source.tracked else None
        self._counted: dict[str, Kind] = {name: "BIGINT" for name in COUNTED if name in columns}
        self._rows = Collected()
        self._names_given = _Names()

    def add(self, rows: list[int], values: Sequence[list[Any]]) -> None:
        """Adds rows, given their numbers and the values of the columns.

        Raises:
            InputError: A value cannot be that of a run.
            StoreError: There is no room for them.
        """
        n_columns = len(self._names[0])
        columns: Columns = dict(zip(self._names[0], values[:n_columns], strict=True))
        extra: Columns = dict(zip(self._names[1], values[n_columns:], strict=True))
        _check_scales(columns, rows, self._faults)
        rows, curves = self._reports.join(rows, (columns, extra))
        if not rows:
            return
        if self._curves is not None:
            curves = self._curves.join(rows, columns)
        words = list(columns.get("status", [None] * len(rows)))
        _complete(columns, rows, self._faults, self._wanted, tracked=self._curves is not None)
        whole = [at for at, row in enumerate(rows) if row not in self._faults.found]
        if len(whole) < len(rows):
            for table in (columns, extra):
                table.update({name: [values[at] for at in whole] for name, values in table.items()})
            curves, words = ([values[at] for at in whole] for values in (curves, words))
        if not whole:
            return
        self.states.update(zip(words, columns["status"], strict=True))
        for name in self._counted:
            if not _are_whole(columns[name]):
                self._counted[name] = "DOUBLE"
        self.notes.add(columns, extra)
        self._rows.add(self._content(columns, extra, curves))

    def table(self, study: str, mapping: dict[str, str]) -> ImportedTable:
        """Returns what was read.

        Raises:
            InputError: Something is wrong with every row.
            StoreError: There is no room for it.
        """
        if not self._rows.n_rows:
            self._faults.refuse()
        return imported(
            self._rows,
            study=study,
            source=self._source.name,
            imported_at=0.0,
            n_runs=self.notes.statuses.total(),
            mapping=mapping,
            condition=self._wanted.only,
            columns=self._kinds | self._counted,
        )

    def _content(self, columns: Columns, extra: Columns, curves: Sequence[str | None]) -> Columns:
        """Returns rows as they are kept, named by their content."""
        names = sorted(columns)
        own = []
        for name in names:
            texts, _ = _texts(columns[name])
            own.append(["" if text == "null" else f',["{name}",{text}]' for text in texts])
        told, kept = _facts(extra, curves)
        rows = zip(map("".join, zip(*own, strict=True)), told, strict=True)
        named = self._names_given.of([f"[[{row[1:]}],{facts or 'null'}]" for row, facts in rows])
        return {"trial_id": named, **{name: columns[name] for name in names}, "extra": kept}


def _facts(extra: Columns, curves: Sequence[str | None]) -> tuple[list[str | None], list[str | None]]:
    """Returns each row's facts, options and curve as the text of a JSON object; `None` where it has none.

    Args:
        extra: Facts and options by column.
        curves: The curves, among the facts as `curve`; the names of the others all have a prefix.

    Returns:
        The texts as they are in a row's name, in the columns' order and with letters escaped; and those that
        are kept, in the order of their names.
    """
    texts = {name.lower(): _texts(values) for name, values in extra.items()}
    if any(curves):
        given = [text or "" for text in curves]
        texts["curve"] = given, given
    if not texts:
        return [None] * len(curves), [None] * len(curves)
    escaped = [_members(json.dumps(name), own) for name, (own, _) in texts.items()]
    plain = [_members(sorted_json(name), own) for name, (_, own) in sorted(texts.items())]
    return _objects(escaped), _objects(plain)


def _members(key: str, texts: list[str]) -> list[str]:
    return [text and f",{key}:{text}" for text in texts]


def _objects(members: list[list[str]]) -> list[str | None]:
    return [f"{{{row[1:]}}}" if row else None for row in map("".join, zip(*members, strict=True))]


def _texts(values: list[Any]) -> tuple[list[str], list[str]]:
    """Returns the JSON texts of plain values, with letters escaped and as they are.

    They are made in one go: no text of JSON has a line break in it.
    """
    plain = json.dumps(values, separators=("\n", ":"), allow_nan=False, ensure_ascii=False)
    texts = plain[1:-1].split("\n")
    if plain.isascii() and "\x7f" not in plain:
        return texts, texts
    escaped = json.dumps(values, separators=("\n", ":"), allow_nan=False)
    return escaped[1:-1].split("\n"), texts


class _Names:
    """Gives rows the names of their content.

    Rows of the same content have the same id in every table; repeats within one table get different ids.
    """

    def __init__(self) -> None:
        self._first = Distinct()
        self._again: Counter[bytes] = Counter()

    def of(self, texts: Sequence[str]) -> list[str]:
        """Returns the names of rows, given their content."""
        named = [_digest(1, text) for text in texts]
        keys = [int.from_bytes(digest[:8], "big", signed=True) for digest in named]
        for place, known in enumerate(self._first.add(keys)):
            if known:
                first = named[place]
                self._again[first] += 1
                named[place] = _digest(self._again[first] + 1, texts[place])
        return [digest.hex() for digest in named]


def _digest(number: int, text: str) -> bytes:
    return hashlib.sha256(f"{number} {text}".encode()).digest()[:8]


def _check_scales(columns: Columns, rows: Sequence[int], faults: Faults) -> None:
    """Makes sure that scales are positive and whole numbers whole, which they are made in place."""
    for name in (*SCALES, *WHOLE, "wall_seconds"):
        for at, (row, value) in enumerate(zip(rows, columns.get(name, ()), strict=False)):
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
                advice = "fix it, or leave the row out with --only"
                faults.add(row, f": {name} = {value:g} {wrong}", advice)
                columns[name][at] = None
    for name in WHOLE:
        if name in columns:
            columns[name] = [None if value is None else int(value) for value in columns[name]]


def _complete(
    columns: Columns, rows: Sequence[int], faults: Faults, wanted: Wanted, *, tracked: bool
) -> None:
    """Fills in what follows from other columns: names, status, objective.

    What a run that was cut short said last is no outcome.
    """
    for name in COMPONENTS:
        columns[name] = [value or UNSPECIFIED for value in columns[name]]
    if tracked:
        _end(columns, len(rows))
    columns["status"] = _statuses(columns, rows, faults)
    ended = [status in FINAL_STATUSES for status in columns["status"]]
    _require_scales(columns, rows, faults, ended)
    for name in (*OUTCOMES, *TESTED):
        if name in columns:
            columns[name] = [
                value if own and value is not None and math.isfinite(value) else None
                for value, own in zip(columns[name], ended, strict=True)
            ]
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
            f"direction {brief(min(wrong))} of {faults.source} is not one of {', '.join(get_args(Direction))}"
        )


def _require_scales(columns: Columns, rows: Sequence[int], faults: Faults, ended: Sequence[bool]) -> None:
    given = [columns[name] for name in SCALES if name in columns]
    for row, own, *values in zip(rows, ended, *given, strict=True):
        if own and values and all(value is None for value in values):
            faults.add(row, " has no scale at all", "leave it out with --only")


def _end(columns: Columns, n_rows: int) -> None:
    """Says how the runs of a tracker ended whose state and outcome do not agree."""
    outcomes = [columns[name] for name in OUTCOMES if name in columns]
    words, errors = (list(columns.get(name, [None] * n_rows)) for name in ("status", "error"))
    for at, values in enumerate(zip(*outcomes, strict=True)):
        if status_of(words[at]) not in (None, "done"):
            continue
        if None in values:
            words[at], errors[at] = "failed", errors[at] or "it ended without a loss"
        elif not all(map(math.isfinite, values)):
            words[at] = "diverged"
    columns |= {"status": words, "error": errors}


def _statuses(columns: Columns, rows: Sequence[int], faults: Faults) -> list[str]:
    """Returns every run's status; one that is not given follows from the outcome."""
    outcomes = {name: columns[name] for name in OUTCOMES if name in columns}
    statuses = [status_of(word) for word in columns.get("status", [None] * len(rows))]
    known = (None, *get_args(Status))
    result = []
    for i, (row, status) in enumerate(zip(rows, statuses, strict=True)):
        if status not in known:
            faults.add(
                row,
                f": status {brief(status)} is not one of {', '.join(get_args(Status))}",
                "map it with --map status=\"case … when … then 'done' … end\"",
            )
        for name, values in outcomes.items():
            value = values[i]
            if value is None and status in (None, "done"):
                faults.add(
                    row,
                    f" has no {name}",
                    "leave such rows out with --only, or say that they diverged: "
                    f"--map {name}=\"coalesce(…, 'nan'::double)\"",
                )
            if value is not None and not math.isfinite(value):
                if status == "done":
                    faults.add(row, f" is done, but its {name} is {value:g}", "call it diverged")
                status = status or "diverged"
        result.append(status or "done")
    return result


def _are_whole(values: Sequence[float | None]) -> bool:
    return all(value is None or (value.is_integer() and value < 2**63) for value in values)
