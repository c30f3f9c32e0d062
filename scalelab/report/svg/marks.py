"""Marks of a drawing: lines with their bands, points with what they are about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from scalelab.arrays import Array
from scalelab.report.parts import Line, Series
from scalelab.report.runs import NO_RUN, Run
from scalelab.report.svg.scale import Scale

MARKERS = (
    "m0-3a3 3 0 1 1-.1 0z",
    "m-3-3h6v6h-6z",
    "m0-3.9l3.7 6.6h-7.4z",
    "m0-4.2l4.2 4.2l-4.2 4.2l-4.2-4.2z",
    "m0 3.9l3.7-6.6h-7.4z",
    "m-1.2-3.8h2.4v2.6h2.6v2.4h-2.6v2.6h-2.4v-2.6h-2.6v-2.4h2.6z",
    "m-3.6-2.2l1.4-1.4l2.2 2.2l2.2-2.2l1.4 1.4l-2.2 2.2l2.2 2.2l-1.4 1.4l-2.2-2.2l-2.2 2.2l-1.4-1.4l2.2-2.2z",
)
"""Outlines around a point, one for each color, so that nothing is told by color alone."""
N_COLORS = len(MARKERS)
_SMALL = "m0-2a2 2 0 1 1-.1 0z"
_MOST, _MOST_STEPS, _MOST_OF_BAND = 24, 32, 10
"""Places of a line, of one in steps, and of either end of a band: more are not seen."""


def number(value: float) -> str:
    """Returns a place with a tenth of a unit."""
    return f"{value:.1f}".removesuffix(".0")


def digits(value: float) -> str:
    """Returns a number as a data attribute has it: five digits, an exponent where that is shorter."""
    text = f"{value:.5g}"
    whole = f"{float(text):.0f}"
    return whole if "e+" in text and len(whole) <= len(text) else text


def look(index: int) -> int:
    """Returns which color, dash and marker an index has; after the last they repeat."""
    return index % N_COLORS


def marker(index: int) -> str:
    """Returns the outline of a point; where colors repeat, another one goes with them."""
    return MARKERS[(index + index // N_COLORS) % N_COLORS]


def line_marks(line: Line, x: Scale, y: Scale) -> Iterator[Markup]:
    """Yields the bands of a line, and the line: strong where there are data, thin beyond them."""
    across, value, *band = line.values.T
    at = x(across)
    if line.outer is not None:
        low, high = line.outer.T
        yield _band("outer", at, y(low), y(high), y, steps=False)
    if band:
        yield _band("band", at, y(band[0]), y(band[1]), y, steps=line.steps)
    places = np.column_stack([at, y(value)])
    inside = across <= (np.inf if line.data_end is None else line.data_end * (1 + 1e-9))
    yield Markup('<path class="line" d="{}"/>').format(_line(places[inside], steps=line.steps))
    if not inside.all():
        edge = max(int(inside.sum()) - 1, 0)
        yield Markup('<path class="line beyond" d="{}"/>').format(_line(places[edge:], steps=line.steps))


def _thinned(places: Array, most: int) -> Array:
    """Returns places that draw the same line as far as anybody sees, the first and the last among them."""
    if len(places) <= most:
        return places
    kept: Array = places[np.linspace(0, len(places) - 1, most).round().astype(int)]
    return kept


def _line(places: Array, *, steps: bool) -> str:
    return _path(_thinned(places, _MOST_STEPS if steps else _MOST), steps=steps)


def _path(places: Array, *, steps: bool) -> str:
    """Returns the path through places, in pieces where some are unknown."""
    words, move = [], True
    for across, down in places:
        if not np.isfinite(across + down):
            move = True
            continue
        if steps and not move:
            words.append(f"H{number(across)}V{number(down)}")
        else:
            words.append(f"{'M' if move else 'L'}{number(across)} {number(down)}")
        move = False
    return "".join(words)


def _band(kind: str, at: Array, low: Array, high: Array, y: Scale, *, steps: bool) -> Markup:
    """Returns the outline of a band, cut off at the ends of the axis."""
    top, bottom = min(y.start, y.end), max(y.start, y.end)
    rows = np.column_stack([at, np.nan_to_num(low, nan=bottom), np.nan_to_num(high, nan=top)])
    rows[:, 1:] = np.clip(rows[:, 1:], top, bottom)
    rows = rows[np.isfinite(at)]
    if steps:
        rows = np.repeat(rows, 2, axis=0)
        rows = np.column_stack([rows[1:, 0], rows[:-1, 1:]])
    rows = _thinned(rows, _MOST_OF_BAND)
    around = np.vstack([rows[:, [0, 2]], rows[::-1, [0, 1]]]).round()
    return Markup('<path class="{}" d="{}z"/>').format(kind, _path(around, steps=False))


def point_marks(series: Series, x: Scale, y: Scale, tell: str) -> Iterator[Markup]:
    """Yields the points of a series with their spread over seeds, with titles for whoever asks.

    Args:
        series: The series.
        x: The horizontal axis.
        y: The vertical one.
        tell: What the vertical axis shows, in a word or two.
    """
    if series.points is None:
        return
    across, value, *spread = series.points.T
    at, height = x(across), y(value)
    if spread and np.isfinite(spread[0]).any():
        low, high = np.clip([value - spread[0], value + spread[0]], y.low, y.high)
        ends = (y(low), y(high))
        rows = zip(at, *ends, strict=True)
        bars = "".join(f"M{number(a)} {number(b)}V{number(c)}" for a, b, c in rows if np.isfinite(a + b + c))
        yield Markup('<path class="error" d="{}"/>').format(bars)
    outline = marker(series.color)
    if series.run.key:
        # The marks of a curve are of its run, which the group names.
        places = zip(at, height, strict=True)
        marks = "".join(f"M{number(a)} {number(b)}{outline}" for a, b in places if np.isfinite(a + b))
        yield Markup('<path class="point" d="{}"/>').format(marks)
        return
    runs = series.runs or (NO_RUN,) * len(across)
    words = [
        ": ".join(filter(None, (run.words, f"{tell} {own:.4g}")))
        for run, own in zip(runs, value, strict=True)
    ]
    together = runs[0].words if len({run.words for run in runs}) == 1 else ""
    yield _points(outline, (at, height), series.points, runs, words, together=together)


def other_marks(series: Series, x: Scale, y: Scale) -> Iterator[Markup]:
    """Yields the faint points of a series: a small ring for each that is of a run, else dots."""
    if series.others is None:
        return
    places = np.column_stack([x(series.others[:, 0]), y(series.others[:, 1])])
    if not series.other_runs:
        known = places[np.isfinite(places).all(axis=1)]
        # Dots of one place are seen once.
        dots = "".join(dict.fromkeys(f"M{a:.0f} {b:.0f}h0" for a, b in known))
        yield Markup('<path class="dots" d="{}"/>').format(dots)
        return
    yield _points(
        _SMALL, (places[:, 0], places[:, 1]), series.others, series.other_runs, kind="points others"
    )


def _points(
    outline: str,
    places: tuple[Array, Array],
    values: Array,
    runs: Sequence[Run],
    words: Sequence[str] = (),
    *,
    together: str = "",
    kind: str = "points",
) -> Markup:
    """Returns a group of points; `data-points` has the run and both numbers of each, in their order.

    Args:
        outline: What is drawn around each place.
        places: Where they lie, across and down; those that lie nowhere are left out.
        values: Their numbers, two or more a row.
        runs: What each is of.
        words: The title of each.
        together: One title for all instead.
        kind: The class of the group.
    """
    known = [int(i) for i in np.flatnonzero(np.isfinite(places[0] + places[1]))]
    told = ";".join(f"{runs[i].key} {digits(values[i, 0])} {digits(values[i, 1])}" for i in known)
    titles = [
        Markup("<title>{}</title>").format(words[i]) if words and not together else Markup("") for i in known
    ]
    marks = Markup("").join(
        Markup('<path d="M{} {}{}"{}').format(
            number(places[0][i]),
            number(places[1][i]),
            outline,
            Markup(">{}</path>").format(title) if title else Markup("/>"),
        )
        for i, title in zip(known, titles, strict=True)
    )
    head = Markup("<title>{}</title>").format(together) if together else Markup("")
    return Markup('<g class="{}" data-points="{}">{}{}</g>').format(kind, told, head, marks)
