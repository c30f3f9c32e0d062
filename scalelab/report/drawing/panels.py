"""Pixels of a `Panel`: points, lines with their bands, and the axes around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.arrays import Array
from scalelab.report.drawing.style import GRID, MUTED, PAPER, SEQUENTIAL, color, dashes, log_axis, marker
from scalelab.report.numbers import AXIS_LABELS
from scalelab.report.parts import Line, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MANY = 12
_TURNED = 3


class LevelColors:
    """Colors of a sequential map by the log of a level, without the ends that light or dark paper hides.

    Args:
        levels: All levels of a figure, at least one.
    """

    def __init__(self, levels: Sequence[float]) -> None:
        import matplotlib
        from matplotlib.colors import ListedColormap, LogNorm

        low, high = min(levels), max(levels)
        shades = matplotlib.colormaps[SEQUENTIAL](np.linspace(0.22, 0.88, 256))
        self._map = ListedColormap(shades)
        self._norm = LogNorm(low, high) if high > low else LogNorm(low / 2, low * 2)

    def __call__(self, level: float) -> Any:
        """Returns the color of a level."""
        return self._map(self._norm(level))

    def bar(self, figure: Figure, axes: Sequence[Axes], label: str) -> None:
        """Draws what the colors mean beside some axes."""
        from matplotlib.cm import ScalarMappable

        bar = figure.colorbar(ScalarMappable(self._norm, self._map), ax=list(axes), pad=0.02, aspect=28)
        bar.outline.set_visible(False)
        log_axis(bar.ax.yaxis, power=label.endswith("(FLOP)"))
        bar.set_label(label)


def draw_panel(axes: Axes, panel: Panel, level_color: Callable[[float], Any] | None) -> None:
    """Draws a panel.

    Args:
        axes: Where.
        panel: Its numbers.
        level_color: The color of a level, where series have levels.
    """
    if panel.reference is not None:
        axes.axhline(panel.reference, color=MUTED, linewidth=0.8, zorder=1)
    width = 0.9 if len(panel.series) > _MANY else 1.4
    for series in panel.series:
        tint = color(series.color)
        if series.level is not None and level_color is not None:
            tint = level_color(series.level)
        if series.others is not None:
            axes.scatter(
                series.others[:, 0],
                series.others[:, 1],
                s=9,
                facecolors="none",
                edgecolors=tint,
                linewidths=0.6,
                zorder=2,
            )
        if series.line is not None and panel.ticks:
            _at_ticks(axes, series.line, tint, series.label)
        elif series.line is not None:
            label = series.label if series.points is None else ""
            look = {
                "color": tint,
                "linewidth": width,
                "linestyle": dashes(series.color),
                "label": label or None,
            }
            _draw_line(axes, series.line, look)
        if series.points is not None:
            _draw_points(axes, series.points, tint, {"label": series.label, "marker": marker(series.color)})
    _finish(axes, panel)


def _draw_line(axes: Axes, line: Line, look: dict[str, Any]) -> None:
    """Draws a line with its bands: strong where there are data, thin beyond them."""
    x, y, *band = line.values.T
    tint = look["color"]
    step: Any = "post" if line.steps else None
    if line.outer is not None:
        axes.fill_between(x, *line.outer.T, color=tint, alpha=0.10, linewidth=0)
    if band:
        axes.fill_between(x, band[0], band[1], color=tint, alpha=0.17, linewidth=0, step=step)
    look = look | {"zorder": 3, "drawstyle": "steps-post" if line.steps else "default"}
    inside = x <= (np.inf if line.data_end is None else line.data_end * (1 + 1e-9))
    axes.plot(x[inside], y[inside], **look)
    if not inside.all():
        edge = max(int(inside.sum()) - 1, 0)
        axes.plot(x[edge:], y[edge:], **look | {"linewidth": 0.7, "label": None})


def _at_ticks(axes: Axes, line: Line, tint: Any, label: str) -> None:
    """Draws a line's values and intervals as marks, for a horizontal axis without order."""
    x, y, *band = line.values.T
    if line.outer is not None:
        axes.vlines(x, *line.outer.T, color=tint, linewidth=5.0, alpha=0.15)
    if band:
        axes.vlines(x, *band, color=tint, linewidth=1.2)
    axes.plot(x, y, "o", color=tint, markersize=4.5, label=label or None)


def _draw_points(axes: Axes, points: Array, tint: Any, look: dict[str, Any]) -> None:
    x, y, *error = points.T
    if error and np.isfinite(error[0]).any():
        spread = np.nan_to_num(error[0])
        axes.errorbar(x, y, yerr=spread, fmt="none", ecolor=tint, elinewidth=0.9, zorder=4)
    edge: dict[str, Any] = {"markersize": 5.0, "markeredgecolor": PAPER, "markeredgewidth": 0.6}
    axes.plot(x, y, color=tint, linestyle="none", zorder=4, **edge, **look)


def _finish(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, loc="left")
    axes.set_xlabel(AXIS_LABELS.get(panel.x_axis, panel.x_axis))
    if panel.log_x:
        log_axis(axes.xaxis, power=panel.x_axis.endswith("flops"))
    if panel.ticks:
        axes.set_xticks(
            range(len(panel.ticks)), panel.ticks, rotation=30 if len(panel.ticks) > _TURNED else 0
        )
        axes.set_xlim(-0.5, len(panel.ticks) - 0.5)
    if panel.log_y:
        log_axis(axes.yaxis)
    if panel.diagonal:
        low, high = (end(*axes.get_xlim(), *axes.get_ylim()) for end in (min, max))
        axes.plot([low, high], [low, high], color=GRID, linewidth=1.2, zorder=1)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)


def look_at_the_points(axes: Axes, panels: Sequence[Panel]) -> None:
    """Keeps bands that say next to nothing from squeezing points and lines: they leave the panel.

    Args:
        axes: Any of the axes that share their vertical axis.
        panels: All panels on it.
    """
    drawn = [series for panel in panels for series in panel.series]
    lines = [(one.points, one.line.values) for one in drawn if one.line is not None]
    if not panels[0].log_y or not any(points is not None and line.shape[1] > 2 for points, line in lines):
        return
    parts = [*(one.points for one in drawn), *(one.others for one in drawn), *(line for _, line in lines)]
    values = np.concatenate([part[:, 1] for part in parts if part is not None])
    values = values[np.isfinite(values) & (values > 0)]
    if len(values):
        low, high = values.min(), values.max()
        room = max((high / low) ** 0.5, 1.3)
        shown_low, shown_high = axes.get_ylim()
        axes.set_ylim(max(shown_low, low / room), min(shown_high, high * room))
