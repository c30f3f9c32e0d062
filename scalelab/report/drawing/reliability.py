"""Pixels of reliability diagrams: what came true against what was predicted, above how many predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scalelab.report.drawing.style import MUTED, PAPER, color, log_axis, marker, new_figure
from scalelab.report.parts import Predicted, Reliability

if TYPE_CHECKING:
    from matplotlib import figure as matplotlib_figure
    from matplotlib.axes import Axes

_SIZE = (3.5, 4.2)
_IN_A_ROW = 3
_SHARES = (3.0, 1.0)


def draw_reliability(panels: Sequence[Reliability]) -> matplotlib_figure.Figure:
    """Draws diagrams side by side, each above its histogram."""
    n = len(panels)
    n_columns = n if n <= _IN_A_ROW else math.ceil(math.sqrt(n))
    n_rows = math.ceil(n / n_columns)
    figure = new_figure(_SIZE[0] * n_columns if n > 1 else 4.4, _SIZE[1] * n_rows)
    grid = figure.subplots(
        2 * n_rows, n_columns, sharex=True, sharey="row", squeeze=False, height_ratios=_SHARES * n_rows
    )
    for place in range(n_rows * n_columns):
        row, column = divmod(place, n_columns)
        above, below = grid[2 * row : 2 * row + 2, column]
        if place >= n:
            above.remove()
            below.remove()
            continue
        _draw(above, below, panels[place])
        below.tick_params(labelbottom=True)
        if column == 0:
            above.set_ylabel("Part that came true")
            below.set_ylabel("Predictions")
    return figure


def _draw(above: Axes, below: Axes, panel: Reliability) -> None:
    above.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, zorder=1)
    for index, predicted in enumerate(panel.predicted):
        _points(above, predicted, index)
        _histogram(below, predicted, index)
    above.set_title(panel.title, loc="left")
    above.set_xlim(-0.02, 1.02)
    above.set_ylim(-0.02, 1.02)
    above.legend(loc="best")
    log_axis(below.yaxis)
    below.set_xlabel("Predicted probability")


def _points(axes: Axes, predicted: Predicted, index: int) -> None:
    x, y, lower, upper = predicted.points.T
    tint = color(index)
    axes.vlines(x, lower, upper, color=tint, linewidth=1.2, zorder=3)
    axes.plot(
        x, y, color=tint, linewidth=0.9, marker=marker(index), markersize=5.0, markeredgecolor=PAPER,
        markeredgewidth=0.6, label=predicted.label, zorder=4,
    )  # fmt: skip


def _histogram(axes: Axes, predicted: Predicted, index: int) -> None:
    """Draws how many predictions each bin has, outlined and of the first split filled."""
    counts = np.where(predicted.counts > 0, predicted.counts, np.nan)
    edges = np.linspace(0, 1, len(counts) + 1)
    tint = color(index)
    if index == 0:
        axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=tint, alpha=0.3, linewidth=0)
    axes.hlines(counts, edges[:-1], edges[1:], color=tint, linewidth=1.4, zorder=3)
