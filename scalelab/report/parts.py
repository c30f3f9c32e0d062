"""What a report is made of: sections with sentences, tables of finished text and the numbers of figures.

Where a part is shown (a terminal, a page, a Markdown file) is not its business. `scalelab.report.drawing`
turns the numbers of a figure into pixels; tests assert the numbers here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from scalelab.report.runs import NO_RUN, Run

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from scalelab.arrays import Array

MAX_PANELS = 4
MAX_CHOICES = 12


@dataclass(frozen=True)
class Table:
    """A table of finished text.

    Attributes:
        title: A line above it; may be empty.
        columns: The heads.
        rows: As many texts a row as there are columns.
        numeric: Which columns hold numbers, to be aligned at the right.
        notes: Lines below it.
        optional: Columns to leave out where they do not fit, the first one first.
        folded: Whether it is long or of interest to few, so that a page shows it on request.
        runs: For each row the key of the design that it is about (`scalelab.report.runs`); empty where rows
            are of none.
    """

    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    numeric: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    folded: bool = False
    runs: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        title: str,
        rows: Iterable[Mapping[str, str]],
        *,
        numbers: slice = slice(1, None),
        notes: Iterable[str] = (),
        optional: Iterable[str] = (),
        folded: bool = False,
        runs: Iterable[Run] = (),
    ) -> Table:
        """Returns the table whose rows are given by the heads of their columns.

        Args:
            title: A line above it.
            rows: All with the same keys.
            numbers: Which columns hold numbers; default all but the first.
            notes: Lines below it.
            optional: Columns to leave out where they do not fit.
            folded: Whether a page shows it on request only.
            runs: The design that each row is about.
        """
        listed = list(rows)
        columns = tuple(listed[0]) if listed else ()
        cells = tuple(tuple(row[name] for name in columns) for row in listed)
        keys = tuple(run.key for run in runs)
        numeric = frozenset(columns[numbers])
        return cls(title, columns, cells, numeric, tuple(notes), tuple(optional), folded, keys)

    @property
    def widths(self) -> dict[str, int]:
        """How many characters each column takes."""
        cells = [self.columns, *self.rows]
        return {name: max(len(row[i]) for row in cells) for i, name in enumerate(self.columns)}

    def within(self, width: int, *, gap: int = 2) -> Table:
        """Returns the table without as many optional columns as it takes to fit into a width, and says so."""
        left_out: list[str] = []
        for name in self.optional:
            kept = [size for column, size in self.widths.items() if column not in left_out]
            if sum(kept) + gap * (len(kept) - 1) <= width:
                break
            left_out.append(name)
        if not left_out or not self.rows:
            return self
        places = [i for i, name in enumerate(self.columns) if name not in left_out]
        rows = tuple(tuple(row[i] for i in places) for row in self.rows)
        note = f"for {', '.join(left_out)} use a wider terminal or --plain"
        columns = tuple(self.columns[i] for i in places)
        return replace(self, columns=columns, rows=rows, notes=(*self.notes, note), optional=())


_MANY_ROWS = 8


def same_in_all(
    rows: Sequence[dict[str, str]], heads: Iterable[str]
) -> tuple[list[dict[str, str]], list[str]]:
    """Returns the rows of a table without columns that say the same in all of many, and a note of these.

    Args:
        rows: All with the same keys.
        heads: The columns that may be left out.
    """
    alike = [head for head in heads if rows and head in rows[0] and len({row[head] for row in rows}) == 1]
    if len(rows) < _MANY_ROWS or not alike:
        return list(rows), []
    kept = [{head: text for head, text in row.items() if head not in alike} for row in rows]
    return kept, [f"the same in all: {', '.join(f'{head} {rows[0][head]}' for head in alike)}"]


class Line(NamedTuple):
    """A line, with a band around it where there is one.

    Attributes:
        values: Where it is known and its values, and both ends of its band, NaN where there is none; shape
            (points, 2) or (points, 4).
        outer: Both ends of a wider, fainter band, shape (points, 2).
        steps: Whether each value holds until the next point, as on a front.
        data_end: Where the line leaves the data; from there on it is drawn thin.
    """

    values: Array
    outer: Array | None = None
    steps: bool = False
    data_end: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Series:
    """Points and the line that belongs to them; either may be missing.

    Attributes:
        label: What the legend says; may be empty.
        color: A whole number: the same for the same thing in all panels.
        points: Points and their values, and their standard deviations over seeds, NaN where unknown; shape
            (points, 2) or (points, 3).
        line: The law, the front or the curve.
        others: Faint points beside it, shape (points, 2).
        level: For what belongs to a level of another axis, its value; it decides the color.
        family: Whose it is, the same text in all panels, however the legend words it; by default the label.
        runs: The design of each point; empty where points are of none.
        other_runs: The same of the faint points.
        run: The run that a line is the curve of.
    """

    label: str = ""
    color: int = 0
    points: Array | None = None
    line: Line | None = None
    others: Array | None = None
    level: float | None = None
    family: str = ""
    runs: tuple[Run, ...] = ()
    other_runs: tuple[Run, ...] = ()
    run: Run = NO_RUN


def array(table: pd.DataFrame, *columns: str) -> Array:
    """Returns some columns of a table as numbers, shape (rows, columns)."""
    numbers: Array = table[list(columns)].to_numpy(dtype=float)
    return numbers


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes.

    Attributes:
        title: A line above it.
        x_axis: What the horizontal axis shows: a column of `runs`, or words.
        y_label: What the vertical axis shows.
        series: What is drawn.
        log_x: Whether the horizontal axis is logarithmic.
        log_y: Whether the vertical axis is.
        ticks: For values without order their names, drawn at 0, 1, 2 …
        reference: A horizontal line to compare with.
        diagonal: Whether both axes have one scale and a line where they are equal.
    """

    title: str
    x_axis: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = True
    log_y: bool = True
    ticks: tuple[str, ...] = ()
    reference: float | None = None
    diagonal: bool = False


@dataclass(frozen=True, eq=False)
class Bars:
    """Horizontal bars.

    Attributes:
        title: A line above it.
        x_label: What the bars measure.
        rows: Their labels, from top to bottom.
        values: Value and both ends of its interval, shape (rows, 3), NaN where there is none.
        matters: Whether a row can be distinguished from noise, shape (rows,).
        noise: What noise reaches, shape (rows,), NaN where unknown.
    """

    title: str
    x_label: str
    rows: tuple[str, ...]
    values: Array
    matters: NDArray[np.bool_]
    noise: Array


@dataclass(frozen=True, eq=False)
class Boxes:
    """Horizontal boxes with their single values.

    Attributes:
        x_label: What the horizontal axis shows.
        rows: What the boxes are of, from top to bottom.
        boxes: Least, quartiles, greatest, shape (rows, 5).
        points: For each box the single values.
        colors: For each box a whole number: the same for the same kind.
    """

    x_label: str
    rows: tuple[str, ...]
    boxes: Array
    points: tuple[Array, ...]
    colors: tuple[int, ...]


class Predicted(NamedTuple):
    """What was predicted with which probability, and how much of it came true.

    Attributes:
        label: What the legend says.
        points: Mean probability of each bin, the part that came true, and both ends of its interval, NaN
            where it is empty; shape (bins, 4).
        counts: How many predictions are in each bin of equal width from 0 to 1, shape (bins,).
    """

    label: str
    points: Array
    counts: Array


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram: what came true against what was predicted, and below it how many predictions.

    Attributes:
        title: A line above it.
        predicted: What is drawn, each in a color of its own.
    """

    title: str
    predicted: tuple[Predicted, ...]


AnyPanel = Panel | Bars | Boxes | Reliability


@dataclass(frozen=True, eq=False)
class Figure:
    """The numbers of a figure, in data units, before any pixel.

    Attributes:
        name: A file name without its ending.
        title: A line above the figure.
        caption: What it shows and how to read it, in a sentence or two.
        panels: From left to right, row by row; `Bars` come first, `Boxes` and `Reliability` alone.
        legend: `panels` (one in each), `figure` (one for all), `colors` (a color bar of levels) or nothing.
        level_label: What the levels of series are.
        apart: Whether a page leaves it to the files of figures, for others of the page show about the same.
    """

    name: str
    title: str
    caption: str
    panels: tuple[AnyPanel, ...]
    legend: str = "panels"
    level_label: str = ""
    apart: bool = False


class File(NamedTuple):
    """A text file that a reader may want to take along.

    Attributes:
        name: What to call it.
        title: A line above it.
        text: What is in it.
    """

    name: str
    title: str
    text: str


class Stop(NamedTuple):
    """One of a row of training budgets.

    Attributes:
        key: The budget in FLOPs as it is typed, `1e+13`.
        words: What it buys, in a sentence.
        notes: What else there is to know of it.
    """

    key: str
    words: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """One topic of a report.

    Attributes:
        key: A short name that stays the same.
        title: The heading.
        answer: What a reader should take away, in sentences; powers are written `N^-0.3`.
        warnings: What a reader should know before believing it, a line each.
        figures: Their numbers; empty where no figures were requested.
        tables: In the order in which a reader wants them.
        notes: Paragraphs below all else.
        reason: Why the section is missing; empty where it is not.
        files: Texts to be taken along.
        stops: For each of the first tables, what the budgets buy that its rows are about; rising.
    """

    key: str
    title: str
    answer: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""
    files: tuple[File, ...] = ()
    stops: tuple[tuple[Stop, ...], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show, not even a reason."""
        return not (self.answer or self.warnings or self.figures or self.tables or self.notes or self.reason)
