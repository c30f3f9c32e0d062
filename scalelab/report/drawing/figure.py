"""Pixels of a whole figure: its panels laid out and drawn, as PNG and SVG files or inside a page.

Uses Matplotlib's objects without pyplot: there is no global state, no window, and nothing to close.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import InputError
from scalelab.report.drawing.bars import draw_bars, draw_boxes
from scalelab.report.drawing.panels import LevelColors, draw_panel, look_at_the_points
from scalelab.report.drawing.reliability import draw_reliability
from scalelab.report.drawing.style import CSS_COLORS, new_figure, styled
from scalelab.report.parts import Bars, Boxes, Figure, Panel, Reliability

if TYPE_CHECKING:
    from matplotlib import figure as matplotlib_figure
    from matplotlib.axes import Axes

_PANEL = (3.5, 3.1)
_ROW = 0.26
_BOX = 0.42
_IN_A_ROW = 3
_DPI = 200
_REM_A_POINT = 0.095
"""Shows every figure of a page at one scale: three panels fill it."""


def draw(content: Figure) -> matplotlib_figure.Figure:
    """Draws a figure.

    Args:
        content: Its numbers.

    Returns:
        A Matplotlib figure with a transparent background.
    """
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
    """Writes every figure as PNG and SVG.

    Args:
        figures: Their numbers.
        folder: Where to; made where it does not exist.

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


def svg_text(content: Figure) -> str:
    """Draws a figure as an SVG document whose text stays text."""
    figure = draw(content)
    buffer = io.StringIO()
    with styled(svg_fonttype="none"):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def inline_svg(content: Figure) -> str:
    """Draws a figure as an SVG element that can stand inside a page with others.

    It has no prologue and no metadata with their addresses, identifiers that are unique by the figure's name,
    and instead of the colors of `scalelab.report.drawing.style` those of the page's theme.
    """
    document = svg_text(content)
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href=", "href=")
    own = re.sub(r"[^A-Za-z0-9_-]+", "-", content.name)
    for reference in ('id="', 'href="#', "url(#"):
        svg = re.sub(r"(?<![\w-])" + re.escape(reference), f"{reference}{own}-", svg)
    for color, variable in CSS_COLORS.items():
        svg = svg.replace(color, variable)
    width = float(re.search(r'\bwidth="([\d.]+)pt"', svg)[1])  # type: ignore[index]
    svg = re.sub(r'^<svg (?:(?:width|height)="[^"]*" )*', "", svg)
    # Text without a color of its own would be black, whatever the theme: hence the fill.
    size = f'style="max-width: {width * _REM_A_POINT:.0f}rem"'
    opening = f'<svg role="img" aria-label="{html.escape(content.title)}" fill="var(--ink)" {size} '
    return re.sub(r"\n\s*\n+", "\n", opening + svg).strip()


def _draw_rows(content: Figure) -> matplotlib_figure.Figure:
    """Draws panels of horizontal rows side by side, and what stands beside them."""
    panels = content.panels
    rows = max(len(panel.rows) for panel in panels if isinstance(panel, (Bars, Boxes)))
    if isinstance(panels[0], Boxes):
        width, height = 6.4, 1.0 + _BOX * rows
    else:
        width, height = max(5.0, 2.1 * len(panels) + 1.6), 1.0 + _ROW * rows
    beside = any(isinstance(panel, Panel) for panel in panels)
    figure = new_figure(width, max(height, _PANEL[1]) if beside else height)
    shares = [1.25 if isinstance(panel, Panel) else 1.0 for panel in panels]
    all_axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=shares)[0]
    for index, (axes, panel) in enumerate(zip(all_axes, panels, strict=True)):
        if isinstance(panel, Bars):
            draw_bars(axes, panel, first=index == 0)
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
