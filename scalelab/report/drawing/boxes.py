"""Boxes: the spread of latencies on each target, as numbers and as pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalelab.arrays import Array
from scalelab.report.drawing.style import INK, color, log_axis, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_HEIGHT = 0.42


@dataclass(frozen=True, eq=False)
class BoxFigure:
    """A box for each target, horizontally.

    Attributes:
        name: A file name without its ending.
        title: A line above the figure.
        caption: What it shows and how to read it.
        labels: What the boxes are of, from top to bottom.
        boxes: Least, quartiles, greatest, shape (boxes, 5).
        points: For each box the single values.
        colors: For each box a whole number: the same for the same backend.
        x_label: What the horizontal axis shows.
    """

    name: str
    title: str
    caption: str
    labels: tuple[str, ...]
    boxes: Array
    points: tuple[Array, ...]
    colors: tuple[int, ...]
    x_label: str


def draw_boxes(content: BoxFigure) -> Figure:
    """Draws the boxes, their whiskers to the ends, and the single values."""
    n = len(content.labels)
    figure = new_figure(6.4, 1.0 + _ROW_HEIGHT * n)
    axes = figure.subplots()
    places = np.arange(n)[::-1]
    for place, (low, q25, middle, q75, high), points, index in zip(
        places, content.boxes, content.points, content.colors, strict=True
    ):
        tint = color(index)
        axes.hlines(place, low, high, color=tint, linewidth=1.0, zorder=2)
        axes.barh(place, q75 - q25, left=q25, height=0.5, color=tint, alpha=0.35, zorder=2)
        axes.plot(
            points, np.full(len(points), place - 0.36), "|", color=tint, markersize=3.5, alpha=0.6, zorder=3
        )
        axes.plot([middle, middle], [place - 0.25, place + 0.25], color=INK, linewidth=1.6, zorder=4)
    axes.set_yticks(places, content.labels)
    axes.set_ylim(-0.7, n - 0.4)
    axes.grid(axis="y", visible=False)
    log_axis(axes.xaxis)
    axes.set_xlabel(content.x_label)
    return figure
