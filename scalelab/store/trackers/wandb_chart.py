"""A chart of Weights & Biases, exported as CSV: a column a run, and two for the least and most of a group.

The first column is the step, or what else the chart has along the bottom; a header is `RUN - METRIC`, and
beside it are `RUN - METRIC__MIN` and `RUN - METRIC__MAX`. A chart has no states, no parameters and no sizes:
they are in the table of runs, which is joined by `Name`. No library writes it: this follows the layout of
exports.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from scalelab.errors import InputError
from scalelab.regular_files import open_regular, read_regular
from scalelab.store.trackers.found import Curve, ForeignRun, Opened, Tracker, number

_PARTS = (" - ", "__MIN", "__MAX")
_HEAD = 10**6


def _runs_of(header: list[str]) -> list[tuple[int, str, str]]:
    """Returns column, run and metric of each run in a chart; none where it is no chart."""
    there = set(header)
    found = []
    for at, name in enumerate(header):
        run, part, metric = name.rpartition(_PARTS[0])
        if part and {name + _PARTS[1], name + _PARTS[2]} <= there:
            found.append((at, run, metric))
    return found


def _recognizes(path: Path) -> bool:
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with open_regular(path) as file:
        first = file.readline(_HEAD).decode("utf-8-sig", "replace")
    return _PARTS[1] in first and bool(_runs_of(next(csv.reader([first]), [])))


def _read(path: Path, _: str | None) -> Opened:
    try:
        rows = list(csv.reader(StringIO(read_regular(path).decode("utf-8-sig")), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} cannot be read as CSV: {error}; export it again") from error
    header, points = rows[0], [row for row in rows[1:] if row]
    wrong = next((at for at, row in enumerate(points, start=2) if len(row) != len(header)), None)
    if wrong is not None:
        raise InputError(f"line {wrong} of {path.name} does not fit its first line; export it again")
    along = [number(row[0]) for row in points]
    whole = all(value is not None and value.is_integer() for value in along)
    steps = [int(value or 0) if whole else at for at, value in enumerate(along)]
    return Opened(_runs(header, points, steps))


def _runs(header: list[str], points: list[list[str]], steps: list[int]) -> Iterator[ForeignRun]:
    """Yields the runs; of several metrics of one each has a curve."""
    found: dict[str, dict[str, Curve]] = {}
    for at, run, metric in _runs_of(header):
        curve = found.setdefault(run, {}).setdefault(metric, Curve())
        for step, row in zip(steps, points, strict=True):
            value = number(row[at].strip() or None)
            if value is not None:
                curve.add(step, value)
    for run, curves in found.items():
        yield ForeignRun(run, values={"Name": run}, curves=curves)


WANDB_CHART = Tracker(
    name="wandb-chart",
    title="a chart of Weights & Biases",
    recognizes=_recognizes,
    read=_read,
)
