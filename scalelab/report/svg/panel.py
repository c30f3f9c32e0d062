"""The drawing of a `Panel`: axes, grid, series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup

from scalelab.arrays import Array
from scalelab.report.numbers import AXIS_LABELS, short
from scalelab.report.parts import Panel, Series
from scalelab.report.svg.marks import digits, line_marks, look, number, other_marks, point_marks
from scalelab.report.svg.scale import Scale, shortened, width_of

WIDTH, HEIGHT = 360.0, 290.0
_TOP, _BOTTOM, _RIGHT = 40.0, 42.0, 14.0
_TURNED = 3
_MANY = 12


def limits(panels: Sequence[Panel]) -> tuple[float, float]:
    """Returns the ends of the vertical axis that the panels of a figure share.

    Bands that say next to nothing do not squeeze points and lines: they leave the panel.
    """
    series = [one for panel in panels for one in panel.series]
    firm = [end for one in series if one.points is not None for end in _ends(one.points)]
    firm += [one.others[:, 1] for one in series if one.others is not None]
    firm += [one.line.values[:, 1] for one in series if one.line is not None]
    firm += [np.array([panel.reference]) for panel in panels if panel.reference is not None]
    bands = [one.line.values[:, 2:].ravel() for one in series if one.line is not None]
    if any(panel.ticks and panel.reference is not None for panel in panels):
        firm += bands  # points are held against these intervals: both ends are to be seen
    bands += [one.line.outer.ravel() for one in series if one.line is not None and one.line.outer is not None]
    log = panels[0].log_y
    values = _shown(np.concatenate(firm) if firm else np.empty(0), log=log)
    wide = _shown(np.concatenate([values, *bands]), log=log)
    if not values.size:
        return (np.nan, np.nan)
    low, high = float(values.min()), float(values.max())
    if log:
        room = max((high / low) ** 0.5, 1.3)
        return max(float(wide.min()), low / room), min(float(wide.max()), high * room)
    room = 0.5 * (high - low) or abs(high)
    return max(float(wide.min()), low - room), min(float(wide.max()), high + room)


def _ends(points: Array) -> list[Array]:
    """Returns the values of points, and both ends of their spread where it is known."""
    value, *spread = points[:, 1:].T
    return [value, *(value + sign * np.nan_to_num(spread[0]) for sign in (-1, 1) if spread)]


def _shown(values: Array, *, log: bool) -> Array:
    known: Array = values[np.isfinite(values)]
    return known[known > 0] if log else known


def across(panel: Panel) -> Array:
    """Returns all that lies along the horizontal axis of a panel."""
    parts = [one.points[:, 0] for one in panel.series if one.points is not None]
    parts += [one.others[:, 0] for one in panel.series if one.others is not None]
    parts += [one.line.values[:, 0] for one in panel.series if one.line is not None]
    return np.concatenate(parts) if parts else np.empty(0)


def panel_group(panel: Panel, ends: tuple[float, float], shades: Sequence[int | None]) -> Markup:
    """Returns the group of a panel.

    Args:
        panel: Its numbers.
        ends: Of the vertical axis.
        shades: For each series that belongs to a level the shade of it.
    """
    x, y = _scales(panel, ends)
    tell = "loss" if panel.y_label.endswith("loss") else panel.y_label
    out = [_frame(panel, x, y)]
    if panel.reference is not None:
        out.append(_rule((x.start, x.end), (float(y(np.array(panel.reference))),) * 2, "reference"))
    if panel.diagonal:
        low, high = max(x.low, y.low), min(x.high, y.high)
        both = np.array([low, high])
        out.append(_rule(tuple(x(both)), tuple(y(both)), "reference"))
    for series, shade in zip(panel.series, shades, strict=True):
        out.append(_series(series, panel, (x, y), shade, tell))
    return opened(x, y) + Markup("").join(out) + Markup("</g>")


def _scales(panel: Panel, ends: tuple[float, float]) -> tuple[Scale, Scale]:
    y = Scale.around(np.array(ends), log=panel.log_y, start=HEIGHT - _BOTTOM, end=_TOP)
    left = max((width_of(text) for _, text in y.ticks()), default=0.0) + 12
    if panel.ticks:
        return Scale(-0.5, len(panel.ticks) - 0.5, False, left, WIDTH - _RIGHT), y
    values = across(panel)
    if panel.diagonal:
        values = np.concatenate([values, np.array(ends)])
        return tuple(  # type: ignore[return-value]
            Scale.around(values, log=False, start=start, end=end)
            for start, end in ((left, WIDTH - _RIGHT), (HEIGHT - _BOTTOM, _TOP))
        )
    return Scale.around(values, log=panel.log_x, start=left, end=WIDTH - _RIGHT), y


def opened(x: Scale, y: Scale | None = None) -> Markup:
    """Returns the opening of a panel, which tells how numbers become places: an axis' ends, and theirs."""
    out = Markup('<g class="panel"')
    for name, scale in (("x", x), ("y", y)):
        if scale is not None:
            ends = f"{digits(scale.low)} {digits(scale.high)} {number(scale.start)} {number(scale.end)}"
            out += Markup(' data-{}-axis="{} {}"').format(name, "log" if scale.log else "linear", ends)
    return out + Markup(">")


def _frame(panel: Panel, x: Scale, y: Scale) -> Markup:
    """Returns title, axes, grid and their words."""
    axis = AXIS_LABELS.get(panel.x_axis, panel.x_axis)
    ticks = x.ticks(power=panel.x_axis.endswith("flops"))
    turned = ""
    if panel.ticks:
        places = x(np.arange(len(panel.ticks), dtype=float))
        ticks = list(zip(places.tolist(), (shortened(name, 90) for name in panel.ticks), strict=True))
        turned = "turned" if len(ticks) > _TURNED else ""
    return (
        words(0, 13, shortened(panel.title, WIDTH - 30), "title")
        + words(0, 30, shortened(panel.y_label, WIDTH - 10), "axis")
        + rules(x, y, ticks, turned)
        + words((x.start + x.end) / 2, HEIGHT - 8, shortened(axis, WIDTH - 60), "axis middle")
    )


def rules(x: Scale, y: Scale, ticks: Sequence[tuple[float, str]], turned: str = "") -> Markup:
    """Returns the grid, the axes and the labels of their ticks."""
    own = y.ticks()
    grid = "".join(f"M{at:.0f} {y.start:.0f}V{y.end:.0f}" for at, _ in ticks)
    grid += "".join(f"M{x.start:.0f} {at:.0f}H{x.end:.0f}" for at, _ in own)
    frame = f"M{x.start:.0f} {y.end:.0f}V{y.start:.0f}H{x.end:.0f}"
    out = Markup('<path class="grid" d="{}"/><path class="frame" d="{}"/>').format(grid, frame)
    if turned:
        low = number(y.start + 13)
        labels = Markup("").join(
            Markup('<text x="{}" y="{}" transform="rotate(-20 {} {})">{}</text>').format(
                number(at + 4), low, number(at), low, text
            )
            for at, text in ticks
        )
        out += Markup('<g class="tick end">{}</g>').format(labels)
    else:
        out += tick_labels([(at, y.start + 15, text) for at, text in ticks], "middle")
    return out + tick_labels([(x.start - 6, at + 4, text) for at, text in own], "end")


def tick_labels(labels: Iterable[tuple[float, float, str]], side: str) -> Markup:
    """Returns the labels of ticks at their places; those around a place stay within the drawing.

    Args:
        labels: Place across, place down, and words.
        side: Where the place is: in the `middle` of the words, or at their `end`.
    """
    texts = Markup("").join(
        words(min(x, WIDTH - width_of(text) / 2) if side == "middle" else x, y, text) for x, y, text in labels
    )
    return Markup('<g class="tick {}">{}</g>').format(side, texts)


def words(x: float, y: float, text: str, kind: str = "") -> Markup:
    """Returns a text at a place."""
    if not text:
        return Markup("")
    style = Markup(' class="{}"').format(kind) if kind else ""
    return Markup('<text{} x="{:.0f}" y="{:.0f}">{}</text>').format(style, x, y, text)


def _rule(x: Sequence[float], y: Sequence[float], kind: str) -> Markup:
    path = f"M{number(x[0])} {number(y[0])}L{number(x[1])} {number(y[1])}"
    return Markup('<path class="{}" d="{}"/>').format(kind, path)


def _series(
    series: Series, panel: Panel, scales: tuple[Scale, Scale], shade: int | None, tell: str
) -> Markup:
    x, y = scales
    color = f"c{look(series.color)}" if shade is None else f"s{shade}"
    name = series.label or ("" if series.level is None else short(series.level))
    names = {"series": name, "family": series.family or series.label, "run": series.run.key}
    about = Markup("").join(Markup(' data-{}="{}"').format(*one) for one in names.items() if one[1])
    many = " many" if len(panel.series) > _MANY else ""
    opening = Markup('<g class="series {}{}"{}>').format(color, many, about)
    parts = list(other_marks(series, x, y))
    if series.line is not None:
        parts += _at_ticks(series, x, y) if panel.ticks else line_marks(series.line, x, y)
    title = Markup("<title>{}</title>").format(series.run.words) if series.run.words else Markup("")
    return opening + title + Markup("").join([*parts, *point_marks(series, x, y, tell)]) + Markup("</g>")


def _at_ticks(series: Series, x: Scale, y: Scale) -> list[Markup]:
    """Returns a line's values and intervals as marks, for a horizontal axis without order."""
    assert series.line is not None
    at, value, *band = series.line.values.T
    out = []
    ends = [("outer", series.line.outer.T)] if series.line.outer is not None else []
    for kind, pair in (*ends, *([("error", np.array(band))] if band else [])):
        lines = zip(x(at), *(np.clip(y(end), y.end, y.start) for end in pair), strict=True)
        path = "".join(f"M{number(a)} {number(b)}V{number(c)}" for a, b, c in lines)
        out.append(Markup('<path class="{} {}" d="{}"/>').format(kind, "bar", path))
    points = Series(color=series.color, points=np.column_stack([at, value]))
    return [*out, *point_marks(points, x, y, "")]
