"""Pixels of horizontal rows: `Bars` with intervals, and `Boxes` with single values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scalelab.report.drawing.style import INK, MUTED, color, log_axis
from scalelab.report.parts import Bars, Boxes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_bars(axes: Axes, panel: Bars, *, named: bool) -> None:
    """Draws bars with their intervals and what noise reaches; rows may be named by a panel at their left."""
    places = np.arange(len(panel.rows))[::-1]
    values, lower, upper = panel.values.T
    known, noisy = np.isfinite(values), np.isfinite(panel.noise)
    fills = [color(0) if matters else "none" for matters in panel.matters]
    edges = [color(0) if matters else MUTED for matters in panel.matters]
    axes.barh(places, np.where(known, values, 0.0), height=0.62, color=fills, edgecolor=edges, zorder=2)
    axes.hlines(places[known], lower[known], upper[known], color=INK, linewidth=1.1, zorder=3)
    axes.vlines(
        panel.noise[noisy], places[noisy] - 0.5, places[noisy] + 0.5, color=color(1), linewidth=1.1, zorder=4
    )
    axes.axvline(0.0, color=MUTED, linewidth=0.8, zorder=1)
    axes.set_title(panel.title, loc="left")
    axes.set_yticks(places, panel.rows if named else [""] * len(places))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(places) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(panel.x_label)


def draw_boxes(axes: Axes, panel: Boxes) -> None:
    """Draws boxes, their whiskers to the ends, and the single values."""
    places = np.arange(len(panel.rows))[::-1]
    for place, (low, q25, middle, q75, high), points, index in zip(
        places, panel.boxes, panel.points, panel.colors, strict=True
    ):
        tint = color(index)
        axes.hlines(place, low, high, color=tint, linewidth=1.0, zorder=2)
        axes.barh(place, q75 - q25, left=q25, height=0.5, color=tint, alpha=0.35, zorder=2)
        at = np.full(len(points), place - 0.36)
        axes.plot(points, at, "|", color=tint, markersize=3.5, alpha=0.6, zorder=3)
        axes.plot([middle, middle], [place - 0.25, place + 0.25], color=INK, linewidth=1.6, zorder=4)
    axes.set_yticks(places, panel.rows)
    axes.set_ylim(-0.7, len(places) - 0.4)
    axes.grid(axis="y", visible=False)
    log_axis(axes.xaxis)
    axes.set_xlabel(panel.x_label)
