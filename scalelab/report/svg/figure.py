"""A whole figure inside a page: its panels, each a drawing of its own, so that they stack on a phone.

Colors, dashes and widths are the page's style; each drawing has a label that says what it shows, each group
the numbers of its axes, each point the run that it is of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from scalelab.report.findings import finding
from scalelab.report.numbers import short
from scalelab.report.parts import AnyPanel, Bars, Boxes, Figure, Panel, Reliability, Series
from scalelab.report.svg.marks import look, marker
from scalelab.report.svg.panel import HEIGHT, WIDTH, limits, panel_group
from scalelab.report.svg.reliability import HEIGHT as RELIABILITY
from scalelab.report.svg.reliability import reliability_groups
from scalelab.report.svg.rows import bars_group, boxes_group, height

N_SHADES = 7


class _Entry(NamedTuple):
    """A line of a legend: the style, the outline of its points, and what it says."""

    style: str
    outline: str
    label: str
    family: str


def identifier(name: str) -> str:
    """Returns a name as a part of an identifier of the page."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)


def panels_markup(content: Figure) -> Markup:
    """Returns the panels of a figure, each with its drawing and its legend."""
    shades = _Shades([series.level for series in _series(content.panels) if series.level is not None])
    ends = limits([panel for panel in content.panels if isinstance(panel, Panel)] or [Panel("", "", "", ())])
    legends = [_legend(panel, shades) for panel in content.panels]
    together = _joined(legends) if content.legend in ("figure", "colors") else []
    out = Markup("")
    for panel, legend in zip(content.panels, legends, strict=True):
        own = [] if together else legend
        drawing = _drawing(panel, content, ends, shades)
        out += Markup('<div class="drawing">{}{}</div>').format(drawing, _list(own))
    label = (
        Markup('<p class="levels">{}</p>').format(content.level_label) if content.level_label else Markup("")
    )
    return Markup('<div class="panels">{}</div>{}{}').format(out, label if together else "", _list(together))


def _series(panels: Sequence[AnyPanel]) -> Iterator[Series]:
    for panel in panels:
        if isinstance(panel, Panel):
            yield from panel.series


class _Shades:
    """Shades of one color for levels, by their logarithm; few levels have a shade each."""

    def __init__(self, levels: Sequence[float]) -> None:
        self.known = sorted(set(levels))
        logs = np.log(self.known) if self.known else np.empty(0)
        span = float(logs[-1] - logs[0]) if len(logs) else 0.0
        few = len(logs) <= N_SHADES
        places = np.arange(len(logs)) / max(len(logs) - 1, 1) if few else (logs - logs[0]) / (span or 1.0)
        self.of = dict(zip(self.known, np.round(places * (N_SHADES - 1)).astype(int).tolist(), strict=True))

    def entries(self) -> list[_Entry]:
        """Returns a line of the legend for each shade: its level, or the levels that share it."""
        out = []
        for shade in dict.fromkeys(self.of.values()):
            own = [level for level in self.known if self.of[level] == shade]
            ends = dict.fromkeys((short(own[0]), short(own[-1])))
            out.append(_Entry(f"s{shade}", "", " to ".join(ends), ""))
        return out


def _legend(panel: AnyPanel, shades: _Shades) -> list[_Entry]:
    if isinstance(panel, Reliability):
        return [
            _Entry(f"c{look(index)}", marker(index), one.label, one.label)
            for index, one in enumerate(panel.predicted)
        ]
    if not isinstance(panel, Panel):
        return []
    if shades.known:
        return shades.entries()
    labeled = [one for one in panel.series if one.label]
    return [
        _Entry(
            f"c{look(one.color)}",
            marker(one.color) if one.points is not None else "",
            one.label,
            one.family or one.label,
        )
        for one in labeled
    ]


def _joined(legends: Sequence[Sequence[_Entry]]) -> list[_Entry]:
    return list(dict.fromkeys(entry for legend in legends for entry in legend))


def _list(entries: Sequence[_Entry]) -> Markup:
    if not entries:
        return Markup("")
    items = Markup("").join(
        Markup(
            '<li data-family="{}"><svg class="key {}" aria-hidden="true">'
            '<path class="line" d="M0 6H26"/>{}</svg>{}</li>'
        ).format(
            entry.family,
            entry.style,
            Markup('<path class="point" d="M13 6{}"/>').format(entry.outline) if entry.outline else "",
            entry.label,
        )
        for entry in entries
    )
    return Markup('<ul class="legend">{}</ul>').format(items)


def _drawing(panel: AnyPanel, content: Figure, ends: tuple[float, float], shades: _Shades) -> Markup:
    if isinstance(panel, Reliability):
        high, group = RELIABILITY, reliability_groups(panel)
    elif isinstance(panel, Bars):
        high, group = height(panel.rows), bars_group(panel)
    elif isinstance(panel, Boxes):
        high, group = height(panel.rows), boxes_group(panel)
    else:
        own = [None if one.level is None else shades.of[one.level] for one in panel.series]
        high, group = HEIGHT, panel_group(panel, ends, own)
    head = "" if isinstance(panel, Boxes) else panel.title
    label = f"{', '.join(filter(None, (content.title, head)))}. {finding(panel, content.level_label)}"
    return Markup('<svg role="img" aria-label="{}" viewBox="0 0 {:.0f} {:.0f}">{}</svg>').format(
        label, WIDTH, high, group
    )
