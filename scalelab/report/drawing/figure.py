"""Pixels of a whole figure: its panels laid out and drawn, as files.

Uses Matplotlib's objects without pyplot: there is no global state, no window, and nothing to close.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.report.drawing.bars import draw_bars, draw_boxes
from scalelab.report.drawing.panels import LevelColors, draw_panel, look_at_the_points
from scalelab.report.drawing.reliability import draw_reliability
from scalelab.report.drawing.style import drawable, new_figure, styled
from scalelab.report.folders import writing_into
from scalelab.report.parts import Bars, Boxes, Figure, Panel, Reliability

if TYPE_CHECKING:
    from matplotlib import figure as matplotlib_figure
    from matplotlib.axes import Axes

_PANEL = (3.5, 3.1)
_ROW = 0.26
_BOX = 0.42
_IN_A_ROW = 3
_FORMATS: dict[str, dict[str, Any]] = {
    "png": {"dpi": 200},
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
}
"""By ending what is said when a figure is saved: the same numbers give the same bytes."""


def draw(content: Figure) -> matplotlib_figure.Figure:
    """Draws a figure.

    Args:
        content: Its numbers.

    Returns:
        A Matplotlib figure with a transparent background.
    """
    content = drawable(content)
    with styled():
        if isinstance(content.panels[0], Reliability):
            figure = draw_reliability([panel for panel in content.panels if isinstance(panel, Reliability)])
        elif isinstance(content.panels[0], Panel):
            figure = _draw_grid(content, [panel for panel in content.panels if isinstance(panel, Panel)])
        else:
            figure = _draw_rows(content)
        # Ticks and layout are settled here, while the style is in force.
        figure.draw_without_rendering()
    return figure


def save(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """Writes every figure as PNG, SVG and PDF.

    Args:
        figures: Their numbers.
        folder: Where to; made where it does not exist.

    Returns:
        The files, in order.

    Raises:
        InputError: The folder cannot be written.
    """
    paths = []
    with writing_into(folder, "figures"):
        for content in figures:
            figure = draw(content)
            for ending, options in _FORMATS.items():
                path = folder / f"{content.name}.{ending}"
                with styled(svg_fonttype="path"):
                    figure.savefig(path, facecolor="white", **options)
                paths.append(path)
    return paths


def _draw_rows(content: Figure) -> matplotlib_figure.Figure:
    """Draws panels of horizontal rows side by side, and what stands beside them."""
    panels = content.panels
    rows = max(len(panel.rows) for panel in panels if isinstance(panel, (Bars, Boxes)))
    # A panel whose rows are those of the panel before it needs no second names for them.
    shown = [panel.rows if isinstance(panel, Bars) else () for panel in panels]
    named = [bool(own) and own != before for own, before in zip(shown, [(), *shown], strict=False)]
    if isinstance(panels[0], Boxes):
        width, height = 6.4, 1.0 + _BOX * rows
    else:
        width, height = max(5.0, 2.1 * len(panels) + 1.6 * sum(named)), 1.0 + _ROW * rows
    beside = any(isinstance(panel, Panel) for panel in panels)
    figure = new_figure(width, max(height, _PANEL[1]) if beside else height)
    shares = [1.25 if isinstance(panel, Panel) else 1.0 for panel in panels]
    all_axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=shares)[0]
    for axes, panel, first in zip(all_axes, panels, named, strict=True):
        if isinstance(panel, Bars):
            draw_bars(axes, panel, named=first)
        elif isinstance(panel, Boxes):
            draw_boxes(axes, panel)
        elif isinstance(panel, Panel):
            draw_panel(axes, panel, None)
            axes.set_ylabel(panel.y_label)
    return figure


def _draw_grid(content: Figure, panels: Sequence[Panel]) -> matplotlib_figure.Figure:
    """Draws panels that share their vertical axis, row by row."""
    n = len(panels)
    n_columns = n if n <= _IN_A_ROW else math.ceil(math.sqrt(n))
    n_rows = math.ceil(n / n_columns)
    width = _PANEL[0] * n_columns if n > 1 else 5.0
    figure = new_figure(width, _PANEL[1] * n_rows)
    one_x_axis = content.legend == "figure" and len({panel.x_axis for panel in panels}) == 1
    grid = figure.subplots(n_rows, n_columns, sharex=one_x_axis, sharey=True, squeeze=False).ravel()
    all_axes = list(grid[:n])
    for axes in grid[n:]:
        axes.remove()
    for axes in all_axes[-n_columns:]:
        axes.tick_params(labelbottom=True)
    levels = [series.level for panel in panels for series in panel.series if series.level is not None]
    colors = LevelColors(levels) if levels else None
    for axes, panel in zip(all_axes, panels, strict=True):
        draw_panel(axes, panel, colors)
    for axes, panel in zip(all_axes[::n_columns], panels[::n_columns], strict=True):
        axes.set_ylabel(panel.y_label)
    look_at_the_points(all_axes[0], panels)
    if content.legend == "colors" and colors is not None:
        colors.bar(figure, all_axes, content.level_label)
    else:
        _add_legends(figure, all_axes, content)
    return figure


def _add_legends(figure: matplotlib_figure.Figure, all_axes: Sequence[Axes], content: Figure) -> None:
    found = [axes.get_legend_handles_labels() for axes in all_axes]
    if content.legend == "figure" and (len(all_axes) > 1 or content.level_label):
        known: dict[str, Any] = {}
        for handles, labels in found:
            known |= dict(zip(labels, handles, strict=True))
        figure.legend(
            list(known.values()),
            list(known),
            title=content.level_label,
            loc="outside right upper",
            alignment="left",
        )
        return
    for axes, (handles, _) in zip(all_axes, found, strict=True):
        if handles:
            axes.legend(loc="best")
