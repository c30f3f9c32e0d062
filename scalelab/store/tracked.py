"""The runs of a tracker as a foreign table, with their curves beside it.

Trade-off: which metric is the loss is known only once all runs were seen, and a second reading may take as
long as the first. So everything that a run reported goes to the disk on the way, 16 bytes a point, and only
the curves that are asked for come back. What is held in memory are a few numbers for each run and metric.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

import numpy as np

from scalelab.errors import InputError, brief, suggest
from scalelab.records import Direction
from scalelab.store.files import writing
from scalelab.store.parameters import SCALES, Kind, kind_of, sql_type, wider
from scalelab.store.rows import MAX_ROWS
from scalelab.store.schema import literal, quoted
from scalelab.store.targets import KEYS, KNOWN_AS, LOSSES, OUTCOMES, TESTED, WHOLE
from scalelab.store.trackers.folders import unread
from scalelab.store.trackers.found import Cell, Curve, ForeignRun, Problem, Tracker, undivided

if TYPE_CHECKING:
    import duckdb

Group = Literal["own", "value", "param"]
_PIECE = 2**20
_ENDS = {*LOSSES, *OUTCOMES, *TESTED, "epochs", "n_steps", "status"}.union(
    *(KNOWN_AS[name] for name in ("loss", "train_flops", "wall_seconds"))
)
"""What only the end of a run tells, whatever was chosen before it."""
_AMOUNTS = set(WHOLE).union(*(KNOWN_AS[name] for name in SCALES))
"""What a parameter says of a run as well as a value of the same name, where it has one of them alone."""
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass
class Tracked:
    """What is known of a tracker's source beside its table.

    Attributes:
        title: What it is, such as `an Optuna database, study 'x'`.
        origin: The tracker's name, and the experiment's where the source has any.
        stem: What its study is called where nobody says.
        place: The column of the table that holds the number of the run.
        facts: The columns that hold what came out of runs, and what tells them apart.
        params: The columns that hold parameters.
        metrics: By column the metric whose last value it holds.
        objective: Column and direction of the outcome, where the tracker says so.
        final: Whether that is what the run gave as its result.
        curves: What runs reported.
        problems: Of runs that could not be read.
        renamed: Which columns have another name than what they are, in words.
    """

    title: str
    origin: str
    stem: str
    place: str
    facts: frozenset[str]
    params: frozenset[str]
    metrics: Mapping[str, int]
    objective: tuple[str, Direction] | None
    final: bool
    curves: Curves
    problems: list[Problem]
    renamed: list[str]


class Curves:
    """What runs reported, on the disk; given back for one run and metric at a time.

    Args:
        path: Of the file, which is made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = bytearray()
        self._size = 0
        self._there: dict[tuple[int, int], tuple[int, int, bool]] = {}
        self.n_points = 0

    def add(self, run: int, metric: int, curve: Curve) -> None:
        """Keeps a curve; of reports of one step the last one, and all in the order of the steps.

        Raises:
            StoreError: There is no room for it.
        """
        steps, values = np.frombuffer(curve.steps, np.int64), np.frombuffer(curve.values, np.float64)
        parts = [steps, values]
        if curve.seconds:
            parts.append(np.frombuffer(curve.seconds, np.float64))
        if np.any(np.diff(steps) <= 0):
            order = np.argsort(steps, kind="stable")
            last = np.append(np.diff(steps[order]) > 0, True)
            parts = [part[order[last]] for part in parts]
        self._there[run, metric] = (self._size, len(parts[0]), len(parts) == 3)
        self.n_points += len(parts[0])
        for part in parts:
            self._waiting += part.tobytes()
            self._size += part.nbytes
        if len(self._waiting) > _PIECE:
            self.close()

    def close(self) -> None:
        """Writes what waits to be written."""
        with writing(self._path), self._path.open("ab") as file:
            file.write(self._waiting)
        self._waiting.clear()

    def of(self, run: int, metric: int) -> tuple[list[int], list[float], list[float] | None] | None:
        """Returns steps, values and seconds of a curve, by step; `None` where there is none."""
        if (run, metric) not in self._there:
            return None
        start, n_points, timed = self._there[run, metric]
        with self._path.open("rb") as file:
            file.seek(start)
            data = file.read(n_points * (24 if timed else 16))
        steps = np.frombuffer(data, np.int64, n_points).tolist()
        values = np.frombuffer(data, np.float64, n_points, 8 * n_points).tolist()
        seconds = np.frombuffer(data, np.float64, n_points, 16 * n_points).tolist() if timed else None
        return steps, values, seconds


@dataclass
class _Spool:
    """The rows of a table on their way to a file of JSON lines, and the types of its columns."""

    columns: dict[tuple[Group, str], int] = field(default_factory=dict)
    kinds: list[Kind] = field(default_factory=list)
    longest: int = 0
    n_runs: int = 0

    def line(self, cells: Mapping[tuple[Group, str], Cell]) -> str:
        """Returns the line of one more run."""
        row: dict[str, Cell] = {"run": self.n_runs}
        self.n_runs += 1
        for key, value in cells.items():
            if value is None:
                continue
            at = self.columns.setdefault(key, len(self.columns))
            if at == len(self.kinds):
                self.kinds.append("NULL")
            if self.kinds[at] != "VARCHAR":
                self.kinds[at] = wider(self.kinds[at], kind_of(value))
            row[f"c{at}"] = _plain(value)
        text = json.dumps(row, separators=(",", ":"))
        self.longest = max(self.longest, len(text))
        return text

    def show(
        self,
        connection: duckdb.DuckDBPyConnection,
        rows: Path,
        view: str,
        place: str,
        names: Mapping[tuple[Group, str], str],
    ) -> None:
        """Makes a view of the file: columns named so, and `place` for the numbers of the runs."""
        shown = "".join(
            f", {self._value(key, at)} as {quoted(names[key])}" for key, at in self.columns.items()
        )
        kinds = {"run": "BIGINT"} | {f"c{at}": sql_type(kind) for at, kind in enumerate(self.kinds)}
        given = ", ".join(f"{name}: {literal(kind)}" for name, kind in kinds.items())
        connection.execute(
            f"create temp view {view} as select run as {quoted(place)}{shown} from read_json("
            f"{literal(str(rows))}, format = 'newline_delimited', columns = {{{given}}}, "
            f"maximum_object_size = {self.longest + 1_000_000})"
        )

    def _value(self, key: tuple[Group, str], at: int) -> str:
        """Returns SQL for a column, which a parameter and a value of one name may fill together."""
        group, name = key
        other = self.columns.get(("value" if group == "param" else "param", name))
        first = (group == "value") == (name.strip() in _ENDS)
        if other is None or not first or name not in _AMOUNTS:
            return f"c{at}"
        kind = sql_type(wider(self.kinds[at], self.kinds[other]))
        return f"coalesce(c{at}::{kind}, c{other}::{kind})"


def _plain(value: Cell) -> Cell:
    """Returns a value as JSON can say it, and DuckDB read it."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode()  # lone surrogates
    return value


def load_runs(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    tracker: Tracker,
    experiment: str | None,
    folder: Path,
    view: str,
) -> Tracked:
    """Reads the runs of a source; makes a view of their values.

    Args:
        connection: Of the database.
        path: The source.
        tracker: What wrote it.
        experiment: Which of its experiments was asked for.
        folder: For what goes to the disk; kept as long as the curves and the view.
        view: Its name; new in the folder, too.

    Raises:
        InputError: The source cannot be read, has several experiments, no runs or too many.
        StoreError: There is no room.
    """
    experiment, n_other = _experiment(path, tracker, experiment)
    opened = tracker.read(path, experiment)
    spool, curves = _Spool(), Curves(folder / f"{view}.curves")
    rows = folder / f"{view}.json"
    with writing(rows), rows.open("w", encoding="ascii") as file:
        metrics, problems = _spooled(opened.runs, spool, curves, file)
    curves.close()
    named = {problem.run for problem in problems}
    problems += [problem for problem in unread(path) if problem.run not in named]
    if not spool.n_runs:
        told = f"; {len(problems)} could not be read, such as {problems[0]}" if problems else ""
        raise InputError(f"{path.name} is {tracker.title} without any run that can be imported{told}")
    if spool.n_runs > MAX_ROWS:
        raise InputError(f"{path.name} has more than {MAX_ROWS:,} runs; import a part of them")
    names, renamed = _names(spool.columns)
    place = f"run of {view}"
    spool.show(connection, rows, view, place, names)
    objective = opened.objective
    if objective is not None:
        objective = (names.get(("value", objective[0]), objective[0]), objective[1])
    return Tracked(
        title=tracker.title + ("" if experiment is None else f", {experiment!r}{n_other}"),
        origin=tracker.name + ("" if experiment is None else f" {experiment!r}"),
        stem=_UNFIT.sub("-", experiment or path.resolve().stem).strip("-") or tracker.name,
        place=place,
        facts=frozenset(names[key] for key in spool.columns if key[0] != "param"),
        params=frozenset(names[key] for key in spool.columns if key[0] == "param"),
        metrics={names["value", name]: at for name, at in metrics.items() if ("value", name) in names},
        objective=objective,
        final=opened.final,
        curves=curves,
        problems=problems,
        renamed=renamed,
    )


def _spooled(
    runs: Iterator[ForeignRun | Problem], spool: _Spool, curves: Curves, file: TextIO
) -> tuple[dict[str, int], list[Problem]]:
    """Reads runs, one too many at most; returns the numbers of their metrics, and what is wrong."""
    metrics: dict[str, int] = {}
    problems = []
    for run in runs:
        if isinstance(run, Problem):
            problems.append(run)
            continue
        for name, curve in run.curves.items():
            if curve.steps:
                curves.add(spool.n_runs, metrics.setdefault(name, len(metrics)), curve)
        print(spool.line(_cells(run)), file=file)
        if spool.n_runs > MAX_ROWS:
            break
    return metrics, problems


def _experiment(path: Path, tracker: Tracker, wanted: str | None) -> tuple[str | None, str]:
    """Returns which experiment of a source to read, and how many others there are, in words."""
    there = tracker.experiments(path)
    if not there and tracker.experiments is not undivided:
        raise InputError(f"{path.name} is {tracker.title} without any study or experiment")
    if wanted is not None and wanted not in there:
        known = ", ".join(map(repr, there)) or "none"
        raise InputError(
            f"{path.name} has no experiment or study {brief(wanted)}{suggest(wanted, there)}; there are: "
            f"{known}"
        )
    with_runs = [name for name, n_runs in there.items() if n_runs] or list(there)
    if wanted is None and len(with_runs) > 1:
        shown = ", ".join(f"{brief(name)} ({there[name]:,} runs)" for name in with_runs[:12])
        raise InputError(
            f"{path.name} is {tracker.title} with {len(with_runs)} experiments or studies: {shown}"
            f"{' …' if len(with_runs) > 12 else ''}; say which with --experiment NAME"
        )
    taken = wanted if wanted is not None else with_runs[0] if with_runs else None
    return taken, f" (one of {len(there)})" if len(there) > 1 else ""


def _cells(run: ForeignRun) -> dict[tuple[Group, str], Cell]:
    """Returns the values of a run's row; a metric without a final value has the last one reported."""
    own: dict[str, Cell] = {
        KEYS[0]: run.key, "run_name": run.name, "status": run.state, "error": run.error,
    }  # fmt: skip
    cells: dict[tuple[Group, str], Cell] = {("own", name): value for name, value in own.items()}
    cells |= {("value", name): _last(curve) for name, curve in run.curves.items() if curve.values}
    cells |= {("value", name): value for name, value in run.values.items() if value is not None}
    return cells | {("param", name): value for name, value in run.params.items()}


def _last(curve: Curve) -> float:
    """Returns the value at the last step, of those the one that came last."""
    steps = np.frombuffer(curve.steps, np.int64)
    return curve.values[len(steps) - 1 - int(np.argmax(steps[::-1]))]


def _names(columns: Mapping[tuple[Group, str], int]) -> tuple[dict[tuple[Group, str], str], list[str]]:
    """Returns the columns' names, and which of them differ from what they are, in words.

    Of a parameter and a value of one name the parameter has it, in all runs, whichever run has the value;
    but what only a run's end tells is the value's, such as the loss.
    """
    found: dict[tuple[Group, str], str] = {}
    told: list[str] = []
    used: set[str] = set()
    for key in sorted(columns, key=_rank):
        group, own = key
        name = own.strip() or "unnamed"
        if name.casefold() in used:
            name = f"{group}_{name}"
        base, number = name, 1
        while name.casefold() in used:
            number += 1
            name = f"{base}_{number}"
        if name not in (own.strip(), "unnamed"):
            told.append(f"the {'parameter' if group == 'param' else 'metric or fact'} {own!r} is {name} here")
        used.add(name.casefold())
        found[key] = name
    return found, told


def _rank(key: tuple[Group, str]) -> int:
    """Returns when a column gets its name; the earlier ones keep theirs."""
    group, name = key
    return 0 if group == "own" else 2 if group == "param" else 1 if name.strip() in _ENDS else 3
