"""The drawing of a reliability diagram: what came true above how many predictions there are."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from scalelab.report.parts import Line, Predicted, Reliability, Series
from scalelab.report.svg.marks import line_marks, look, number, point_marks
from scalelab.report.svg.panel import WIDTH, opened, rules, words
from scalelab.report.svg.scale import Scale, shortened

HEIGHT = 390.0
_LEFT, _RIGHT = 44.0, 14.0
_ABOVE, _BELOW = (40.0, 250.0), (286.0, 350.0)


def reliability_groups(panel: Reliability) -> Markup:
    """Returns the groups of both axes."""
    x = Scale(-0.02, 1.02, False, _LEFT, WIDTH - _RIGHT)
    share = Scale(-0.02, 1.02, False, _ABOVE[1], _ABOVE[0])
    counts = np.concatenate([one.counts for one in panel.predicted])
    ticks = x.ticks()
    out = words(0, 13, shortened(panel.title, WIDTH - 30), "title")
    out += words(0, 30, "Part that came true", "axis") + opened(x, share) + rules(x, share, ticks)
    ends = [number(float(end)) for end in (*x(np.array([0, 1])), *share(np.array([0, 1])))]
    out += Markup('<path class="reference" d="M{0} {2}L{1} {3}"/>').format(*ends)
    for index, one in enumerate(panel.predicted):
        out += _points(one, index, x, share)
    out += Markup("</g>") + words(0, _BELOW[0] - 8, "Predictions", "axis")
    many = Scale.around(counts[counts > 0], log=True, start=_BELOW[1], end=_BELOW[0])
    out += opened(x, many) + rules(x, many, ticks)
    for index, one in enumerate(panel.predicted):
        out += _histogram(one, index, x, many)
    middle = (x.start + x.end) / 2
    return out + Markup("</g>") + words(middle, HEIGHT - 6, "Predicted probability", "axis middle")


def _points(one: Predicted, index: int, x: Scale, y: Scale) -> Markup:
    across, part, lower, upper = one.points.T
    known = np.isfinite(part)
    bars = zip(x(across[known]), y(lower[known]), y(upper[known]), strict=True)
    error = "".join(f"M{number(a)} {number(b)}V{number(c)}" for a, b, c in bars)
    points = one.points[known][:, :2]
    series = Series(color=index, points=points, line=Line(points))
    marks = [*line_marks(Line(points), x, y), *point_marks(series, x, y, "came true")]
    opening = Markup('<g class="series c{0}" data-series="{1}" data-family="{1}">').format(
        look(index), one.label
    )
    return (
        opening
        + Markup('<path class="error" d="{}"/>').format(error)
        + Markup("").join(marks)
        + Markup("</g>")
    )


def _histogram(one: Predicted, index: int, x: Scale, y: Scale) -> Markup:
    """Returns how many predictions each bin has, as the tops of its bars."""
    edges = np.linspace(0, 1, len(one.counts) + 1)
    tops = y(np.where(one.counts > 0, one.counts, np.nan))
    lines = "".join(
        f"M{number(a)} {number(top)}H{number(b)}"
        for a, b, top in zip(x(edges[:-1]), x(edges[1:]), tops, strict=True)
        if np.isfinite(top)
    )
    return Markup(
        '<g class="series c{0}" data-series="{1}" data-family="{1}"><path class="line" d="{2}"/></g>'
    ).format(look(index), one.label, lines)
