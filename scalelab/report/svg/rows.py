"""Drawings of horizontal rows: `Bars` with their intervals, `Boxes` with single values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from scalelab.arrays import Array
from scalelab.report.parts import Bars, Boxes
from scalelab.report.svg.marks import digits, look, number
from scalelab.report.svg.panel import WIDTH, opened, tick_labels, words
from scalelab.report.svg.scale import Scale, shortened, width_of

_TOP, _BOTTOM, _ROW, _RIGHT = 22.0, 38.0, 20.0, 14.0
_NAMES = 220.0


def height(rows: Sequence[str]) -> float:
    """Returns how high a drawing of rows with these names is."""
    return _TOP + _pitch(rows) * len(rows) + _BOTTOM


def _pitch(rows: Sequence[str]) -> float:
    """Returns how far rows lie apart: where a name is too long for one line, there is room for two."""
    return _ROW if all(width_of(name) <= _NAMES for name in rows) else 1.5 * _ROW


def _middles(rows: Sequence[str]) -> list[float]:
    return [_TOP + _pitch(rows) * (row + 0.5) for row in range(len(rows))]


def _lines(name: str) -> list[str]:
    """Returns a name in one line or, where it is too long and has spaces, in two of about the same length."""
    spaces = [i for i, letter in enumerate(name) if letter == " "]
    if width_of(name) <= _NAMES or not spaces:
        return [shortened(name, _NAMES)]
    at = min(spaces, key=lambda i: max(i, len(name) - i))
    return [shortened(part, _NAMES) for part in (name[:at], name[at + 1 :])]


def bars_group(panel: Bars) -> Markup:
    """Returns the group of a panel of bars: bar, interval, and what noise reaches.

    The page's script reads the numbers of a row in its title.
    """
    values = np.concatenate([panel.values.ravel(), panel.noise.ravel(), [0.0]])
    out, x = _frame(panel.title, panel.x_label, panel.rows, values, log=False)
    whiskers, noises = "", ""
    for index, (name, middle) in enumerate(zip(panel.rows, _middles(panel.rows), strict=True)):
        value, lower, upper = panel.values[index]
        if not np.isfinite(value):
            continue
        start, end = sorted(x(np.array([0.0, value])))
        said = f"{name}: {digits(value)}"
        if np.isfinite(lower + upper):
            low, high = x(np.array([lower, upper]))
            whiskers += f"M{number(low)} {number(middle)}H{number(high)}"
            said += f" [{digits(lower)}, {digits(upper)}]"
        if np.isfinite(panel.noise[index]):
            at = float(x(np.array(panel.noise[index])))
            noises += f"M{number(at)} {number(middle - 9)}v18"
        out += Markup('<path class="bar{}" d="M{} {}H{}v12H{}z"><title>{}</title></path>').format(
            "" if panel.matters[index] else " dim",
            *(number(start), number(middle - 6), number(end), number(start), said),
        )
    lines = Markup('<path class="whisker" d="{}"/><path class="noise" d="{}"/></g>')
    return out + lines.format(whiskers, noises)


def boxes_group(panel: Boxes) -> Markup:
    """Returns the group of a panel of boxes: least, quartiles, greatest, and the single values.

    Their titles have the median between the least and the greatest.
    """
    out, x = _frame("", panel.x_label, panel.rows, panel.boxes.ravel(), log=True)
    rows = zip(panel.rows, _middles(panel.rows), panel.boxes, panel.points, panel.colors, strict=True)
    for name, middle, box, points, color in rows:
        low, q25, half, q75, high = x(box)
        path = (
            f"M{number(low)} {number(middle)}H{number(high)}M{number(half)} {number(middle - 6)}v12"
            f"M{number(q25)} {number(middle - 5)}H{number(q75)}v10H{number(q25)}z"
        )
        ticks = "".join(f"M{number(at)} {number(middle + 6)}v4" for at in x(points))
        out += Markup('<g class="row series c{}"><title>{}</title>').format(
            look(color), f"{name}: {digits(box[2])} [{digits(box[0])}, {digits(box[4])}]"
        ) + Markup('<path class="error" d="{}"/><path class="error" d="{}"/></g>').format(path, ticks)
    return out + Markup("</g>")


def _frame(title: str, label: str, rows: Sequence[str], values: Array, *, log: bool) -> tuple[Markup, Scale]:
    """Returns the opening of a group with title, names of rows and the axis below them, and that axis."""
    left = max((width_of(line) for name in rows for line in _lines(name)), default=0.0) + 12
    x = Scale.around(values, log=log, start=left, end=WIDTH - _RIGHT)
    bottom = height(rows) - _BOTTOM
    out = opened(x) + words(0, 13, shortened(title, WIDTH), "title")
    ticks = x.ticks()
    grid = "".join(f"M{at:.0f} {bottom:.0f}V{_TOP:.0f}" for at, _ in ticks)
    out += Markup('<path class="grid" d="{}"/>').format(grid)
    frame = f"M{number(left)} {number(bottom)}H{number(x.end)}"
    if not x.log:
        zero = float(x(np.array(0.0)))
        frame += f"M{number(zero)} {number(bottom)}V{number(_TOP)}"
    out += Markup('<path class="frame" d="{}"/>').format(frame)
    out += tick_labels([(at, bottom + 15, text) for at, text in ticks], "middle")
    names = [
        (left - 6, middle + 4 + 13 * (i - (len(lines) - 1) / 2), line)
        for middle, lines in zip(_middles(rows), map(_lines, rows), strict=True)
        for i, line in enumerate(lines)
    ]
    out += tick_labels(names, "end")
    label = shortened(label, WIDTH - 40)
    # Beside long names the axis is short: its label then ends where the drawing does.
    half = width_of(label) / 2
    middle = min(max((left + x.end) / 2, half), WIDTH - half)
    return out + words(middle, bottom + 31, label, "axis middle"), x
