"""Pixels of `scalelab.report.sections.design_figures`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.report.drawing.style import INK, MUTED, color, log_axis, new_figure
from scalelab.report.sections.design_figures import BarFigure, Bars, Line, LineFigure, LinePanel, axis_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_A_ROW = 4
_PANEL = (2.9, 2.7)
_BAR_HEIGHT = 0.26


def draw_design(content: BarFigure | LineFigure) -> Figure:
    """Draws a figure of a design space."""
    return _draw_bars(content) if isinstance(content, BarFigure) else _draw_lines(content)


def _draw_bars(content: BarFigure) -> Figure:
    n = len(content.panels)
    figure = new_figure(max(5.0, 2.1 * n + 1.6), 1.0 + _BAR_HEIGHT * len(content.rows))
    all_axes = figure.subplots(1, n, squeeze=False)[0]
    places = np.arange(len(content.rows))[::-1]
    for index, (axes, panel) in enumerate(zip(all_axes, content.panels, strict=True)):
        _bars(axes, places, panel)
        axes.set_title(panel.title, loc="left")
        axes.set_yticks(places, content.rows if index == 0 else [""] * len(places))
        axes.set_xlabel(content.x_label)
    return figure


def _bars(axes: Axes, places: Any, panel: Bars) -> None:
    known = np.isfinite(panel.values[:, 0])
    tints = [color(0) if told else MUTED for told in panel.matters]
    axes.barh(
        places, np.where(known, panel.values[:, 0], 0.0), height=0.62, color=tints, alpha=0.85, zorder=2
    )
    axes.hlines(places[known], panel.values[known, 1], panel.values[known, 2], color=INK, lw=1.1, zorder=3)
    axes.vlines(
        panel.noise[known], places[known] - 0.5, places[known] + 0.5, color=color(1), lw=1.1, zorder=4
    )
    axes.axvline(0.0, color=MUTED, linewidth=0.8, zorder=1)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(places) - 0.4)


def _draw_lines(content: LineFigure) -> Figure:
    n = len(content.panels)
    columns = min(n, _A_ROW)
    rows = -(-n // columns)
    figure = new_figure(max(5.0, _PANEL[0] * columns), _PANEL[1] * rows + 0.3)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    all_axes = list(grid.ravel())
    for index, (axes, panel) in enumerate(zip(all_axes, content.panels, strict=False)):
        for line in panel.lines:
            _line(axes, line, as_points=bool(panel.ticks))
        _finish(axes, panel)
        if index % columns == 0:
            axes.set_ylabel(content.y_label)
    for axes in all_axes[n:]:
        axes.set_visible(False)
    return figure


def _line(axes: Axes, line: Line, *, as_points: bool) -> None:
    tint = color(line.color)
    if as_points:
        if line.outer is not None:
            axes.vlines(line.x, *line.outer, color=tint, linewidth=5.0, alpha=0.15)
        axes.vlines(line.x, line.low, line.high, color=tint, linewidth=1.2)
        axes.plot(line.x, line.y, "o", color=tint, markersize=4.5)
        return
    step: Any = "post" if line.steps else None
    if line.points is not None:
        axes.scatter(*line.points, s=9, color=tint, alpha=0.25, linewidths=0, zorder=2)
    if line.outer is not None:
        axes.fill_between(line.x, *line.outer, color=tint, alpha=0.10, linewidth=0)
    axes.fill_between(line.x, line.low, line.high, color=tint, alpha=0.20, linewidth=0, step=step)
    axes.plot(
        line.x, line.y, color=tint, linewidth=1.4, label=line.label or None, zorder=3,
        drawstyle="steps-post" if line.steps else "default",
    )  # fmt: skip


def _finish(axes: Axes, panel: LinePanel) -> None:
    axes.set_title(panel.title, loc="left")
    if panel.log_x:
        log_axis(axes.xaxis, power=panel.x_label.endswith("flops"))
    axes.set_xlabel(axis_label(panel.x_label))
    if panel.ticks:
        axes.set_xticks(range(len(panel.ticks)), panel.ticks, rotation=30 if len(panel.ticks) > 3 else 0)
        axes.set_xlim(-0.5, len(panel.ticks) - 0.5)
    if any(line.label for line in panel.lines):
        axes.legend(loc="best")
