"""Pixels: turns the numbers of `scalelab.report.figures` into Matplotlib figures, PNG and SVG.

Uses Matplotlib's objects without pyplot: there is no global state, no window, and nothing to close.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.errors import InputError
from scalelab.report.drawing.bars import draw_design
from scalelab.report.drawing.boxes import BoxFigure, draw_boxes
from scalelab.report.drawing.style import (
    GRID,
    INK,
    MUTED,
    PAPER,
    SEQUENTIAL,
    color,
    log_axis,
    marker,
    new_figure,
    scale_axis,
    styled,
)
from scalelab.report.figures import AnyFigure, Panel, PanelFigure, Series, TreeFigure
from scalelab.report.sections.design_figures import BarFigure, LineFigure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_WIDTH = 3.5
_HEIGHT = 3.1
_ONE_ROW = 3
_DPI = 200


def draw(content: AnyFigure | BoxFigure) -> Figure:
    """Draws a figure.

    Args:
        content: Its numbers.

    Returns:
        A Matplotlib figure with a transparent background.
    """
    with styled():
        if isinstance(content, (BarFigure, LineFigure)):
            figure = draw_design(content)
        elif isinstance(content, BoxFigure):
            figure = draw_boxes(content)
        else:
            figure = _draw_trees(content) if isinstance(content, TreeFigure) else _draw_panels(content)
        # Ticks and layout are settled here, while the style is in force.
        figure.draw_without_rendering()
    return figure


def save(figures: Sequence[AnyFigure | BoxFigure], folder: Path) -> list[Path]:
    """Writes every figure as PNG and SVG.

    Args:
        figures: Their numbers.
        folder: Where to; made where it is not there.

    Returns:
        The files, in order.

    Raises:
        InputError: The folder cannot be written.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for content in figures:
            figure = draw(content)
            for ending, options in (("png", {"dpi": _DPI}), ("svg", {"metadata": {"Date": None}})):
                path = folder / f"{content.name}.{ending}"
                with styled(svg_fonttype="path"):
                    figure.savefig(path, facecolor="white", **options)
                paths.append(path)
    except OSError as error:
        raise InputError(f"figures cannot be written to {folder}: {error.strerror or error}") from error
    return paths


def svg_text(content: AnyFigure) -> str:
    """Draws a figure as an SVG document whose text stays text."""
    figure = draw(content)
    buffer = io.StringIO()
    with styled(svg_fonttype="none"):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _figure(n_panels: int, *, width: float = _PANEL_WIDTH, height: float = _HEIGHT) -> Figure:
    return new_figure(width * n_panels, height)


def _draw_panels(content: PanelFigure) -> Figure:
    n = len(content.panels)
    n_columns = n if n <= _ONE_ROW else math.ceil(math.sqrt(n))
    n_rows = math.ceil(n / n_columns)
    figure = _figure(n_columns, width=_PANEL_WIDTH if n > 1 else 5.0, height=_HEIGHT * n_rows)
    one_x_axis = content.kind == "fronts" and len({panel.x_axis for panel in content.panels}) == 1
    grid = figure.subplots(n_rows, n_columns, sharex=one_x_axis, sharey=True, squeeze=False).ravel()
    all_axes = grid[:n]
    for axes in grid[n:]:
        axes.remove()
    for axes in all_axes[-n_columns:]:
        axes.tick_params(labelbottom=True)
    levels = [series.level for panel in content.panels for series in panel.series if series.level is not None]
    colors = _level_colors(levels)
    for axes, panel in zip(all_axes, content.panels, strict=True):
        for series in panel.series:
            _DRAWERS[content.kind](axes, series, colors)
        _finish(axes, panel, first=axes in all_axes[::n_columns])
    if content.kind == "laws":
        _look_at_the_points(all_axes[0], content)
    if content.kind in ("curves", "isoflops"):
        _color_bar(figure, all_axes, colors, content.level_label)
    elif content.kind == "grid" or (content.kind == "fronts" and n > 1):
        known: dict[str, Any] = {}
        for axes in all_axes:
            handles, labels = axes.get_legend_handles_labels()
            known |= dict(zip(labels, handles, strict=True))
        figure.legend(
            list(known.values()),
            list(known),
            title=content.level_label,
            loc="outside right upper",
            alignment="left",
        )
    elif content.kind in ("fronts", "multipliers", "optima"):
        all_axes[-1].legend(loc="best")
    return figure


def _look_at_the_points(axes: Axes, content: PanelFigure) -> None:
    """Keeps a band that says next to nothing from squeezing points and curves; it leaves the panel."""
    series = [series for panel in content.panels for series in panel.series]
    drawn = [line.y for line in series] + [line.band.mean for line in series if line.band is not None]
    drawn += [line.others[1] for line in series if line.others is not None]
    values = np.concatenate(drawn)
    values = values[np.isfinite(values) & (values > 0)]
    if len(values):
        low, high = values.min(), values.max()
        room = max((high / low) ** 0.5, 1.3)
        shown_low, shown_high = axes.get_ylim()
        axes.set_ylim(max(shown_low, low / room), min(shown_high, high * room))


def _finish(axes: Axes, panel: Panel, *, first: bool) -> None:
    axes.set_title(panel.title, loc="left")
    scale_axis(axes.xaxis, panel.x_axis)
    if panel.log_y:
        log_axis(axes.yaxis)
    if first:
        axes.set_ylabel(panel.y_label)


def _draw_law(axes: Axes, series: Series, colors: Any) -> None:
    del colors
    tint = color(series.color)
    if series.others is not None:
        axes.scatter(
            *series.others, s=9, facecolors="none", edgecolors=tint, alpha=0.35, linewidths=0.7, zorder=2
        )
    if series.band is not None:
        axes.fill_between(
            series.band.x, series.band.low, series.band.high, color=tint, alpha=0.16, linewidth=0
        )
        _law_line(axes, series, tint)
    _points(axes, series, tint, label=series.label)
    axes.legend(loc="best")


def _draw_grid(axes: Axes, series: Series, colors: Any) -> None:
    tint = colors(series.level)
    _law_line(axes, series, tint)
    _points(axes, series, tint, label=series.label)


def _law_line(axes: Axes, series: Series, tint: Any) -> None:
    """Draws a law: solid where there are points, dashed beyond them."""
    assert series.band is not None
    limit = np.inf if series.extrapolated_from is None else series.extrapolated_from
    inside = series.band.x <= limit * (1 + 1e-9)
    edge = max(int(inside.sum()) - 1, 0)
    axes.plot(series.band.x[inside], series.band.mean[inside], color=tint, zorder=3)
    axes.plot(
        series.band.x[edge:],
        series.band.mean[edge:],
        color=tint,
        linestyle=(0, (3, 2)),
        linewidth=1.2,
        zorder=3,
    )


def _points(axes: Axes, series: Series, tint: Any, *, label: str) -> None:
    error = (
        None if series.error is None or not np.isfinite(series.error).any() else np.nan_to_num(series.error)
    )
    if error is not None:
        axes.errorbar(series.x, series.y, yerr=error, fmt="none", ecolor=tint, elinewidth=0.9, zorder=4)
    axes.plot(
        series.x,
        series.y,
        marker=marker(series.color),
        color=tint,
        markersize=5.0,
        markeredgecolor=PAPER,
        markeredgewidth=0.6,
        linestyle="none",
        label=label,
        zorder=4,
    )


def _draw_isoflops(axes: Axes, series: Series, colors: Any) -> None:
    if series.band is not None:
        _law_line(axes, series, colors(series.level))
    _points(axes, series, colors(series.level), label="")


def _draw_multiplier(axes: Axes, series: Series, colors: Any) -> None:
    del colors
    assert series.band is not None
    tint = color(series.color)
    axes.axhline(1.0, color=MUTED, linewidth=0.8, zorder=1)
    axes.fill_between(series.band.x, series.band.low, series.band.high, color=tint, alpha=0.16, linewidth=0)
    axes.plot(series.band.x, series.band.mean, color=tint, zorder=3, label=series.label)


def _draw_optimum(axes: Axes, series: Series, colors: Any) -> None:
    del colors
    _law_line(axes, series, color(series.color))
    _points(axes, series, color(series.color), label=series.label)


def _draw_front(axes: Axes, series: Series, colors: Any) -> None:
    del colors
    tint = color(series.color)
    if series.others is not None:
        axes.scatter(*series.others, s=10, color=tint, alpha=0.22, linewidths=0, zorder=2)
    if series.steps is not None:
        axes.plot(*series.steps, color=tint, linewidth=1.2, zorder=3)
    _points(axes, series, tint, label=series.label)


def _draw_curve(axes: Axes, series: Series, colors: Any) -> None:
    axes.plot(series.x, series.y, color=colors(series.level), linewidth=0.9, alpha=0.85)


_DRAWERS = {
    "laws": _draw_law,
    "grid": _draw_grid,
    "multipliers": _draw_multiplier,
    "isoflops": _draw_isoflops,
    "optima": _draw_optimum,
    "fronts": _draw_front,
    "curves": _draw_curve,
}


class _LevelColors:
    """Colors of a sequential map by the log of a level, without the ends that light or dark paper hides."""

    def __init__(self, levels: Sequence[float]) -> None:
        import matplotlib
        from matplotlib.colors import ListedColormap, LogNorm

        low, high = min(levels), max(levels)
        shades = matplotlib.colormaps[SEQUENTIAL](np.linspace(0.22, 0.88, 256))
        self.map = ListedColormap(shades)
        self.norm = LogNorm(low, high) if high > low else LogNorm(low / 2, low * 2)

    def __call__(self, level: float | None) -> Any:
        return self.map(self.norm(level)) if level is not None else MUTED


def _level_colors(levels: Sequence[float]) -> _LevelColors | None:
    return _LevelColors(levels) if levels else None


def _color_bar(figure: Figure, axes: Any, colors: Any, label: str) -> None:
    from matplotlib.cm import ScalarMappable

    bar = figure.colorbar(ScalarMappable(colors.norm, colors.map), ax=list(axes), pad=0.02, aspect=28)
    bar.outline.set_visible(False)
    log_axis(bar.ax.yaxis, power=label.endswith("(FLOP)"))
    bar.set_label(label)


def _draw_trees(content: TreeFigure) -> Figure:
    n = len(content.bars)
    height = max(_HEIGHT, 0.9 + 0.26 * len(content.choices))
    figure = _figure(n + 1, width=11.0 / (n + 1) if n > 2 else _PANEL_WIDTH, height=height)
    all_axes = figure.subplots(1, n + 1, squeeze=False, width_ratios=[1.0] * n + [1.25])[0]
    places = np.arange(len(content.choices))[::-1]
    for index, (axes, (scope, bars)) in enumerate(zip(all_axes, content.bars.items(), strict=False)):
        _bars(axes, places, bars, content.matters[scope])
        axes.set_title("all optimizers" if scope == "all" else scope, loc="left")
        axes.set_yticks(places, content.choices if index == 0 else [""] * len(places))
        axes.set_xlabel("Importance")
    _observed(all_axes[-1], content)
    return figure


def _bars(axes: Axes, places: Any, bars: Any, matters: Any) -> None:
    known = np.isfinite(bars[:, 0])
    tints = [color(0) if told else MUTED for told in matters]
    value = np.where(known, bars[:, 0], 0.0)
    axes.barh(places, value, height=0.62, color=tints, alpha=0.85, zorder=2)
    low, high = bars[known, 1], bars[known, 2]
    axes.hlines(places[known], low, high, color=INK, linewidth=1.1, zorder=3)
    axes.axvline(0.0, color=MUTED, linewidth=0.8, zorder=1)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(places) - 0.4)


def _observed(axes: Axes, content: TreeFigure) -> None:
    both = np.concatenate([content.observed, content.predicted])
    low, high = both.min(), both.max()
    margin = 0.04 * (high - low or 1.0)
    axes.plot(
        [low - margin, high + margin], [low - margin, high + margin], color=GRID, linewidth=1.2, zorder=1
    )
    axes.scatter(content.predicted, content.observed, s=12, color=color(0), alpha=0.5, linewidths=0, zorder=2)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(low - margin, high + margin)
    axes.set_title(content.r, loc="left")
    axes.set_xlabel(f"Predicted {content.metric}, held out")
    axes.set_ylabel(f"Observed {content.metric}")
