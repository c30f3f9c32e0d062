"""The numbers of the figures of `scalelab bench`: boxes, latency against FLOPs, fronts of the objective."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scalelab.analysis.latency.law import KEY, Place, measured
from scalelab.analysis.latency.summary import BOX, LatencyFront, boxes, fronts
from scalelab.analysis.runs.designs import split
from scalelab.arrays import Array
from scalelab.measure.targets import PRECISIONS
from scalelab.report.drawing.boxes import BoxFigure
from scalelab.report.figures import Panel, PanelFigure, Series
from scalelab.report.names import AnyPlace, place_names

if TYPE_CHECKING:
    import pandas as pd

LATENCY = "latency_ms"
"""The axis of latency, in milliseconds."""

COLORS: dict[str, int] = {precision: index for index, precision in enumerate(PRECISIONS)}
"""Every precision has one color, whatever else is drawn."""


def latency_figures(latencies: pd.DataFrame) -> tuple[BoxFigure | PanelFigure, ...]:
    """Returns the numbers of every figure that the measurements have something for.

    Args:
        latencies: A row a measurement, as the store's `latencies`.
    """
    rows = measured(latencies)
    if rows.empty:
        return ()
    return (box_figure(rows), flops_figure(rows), *front_figures(rows))


def box_figure(rows: pd.DataFrame) -> BoxFigure:
    """Returns a box of latencies for each place."""
    found = boxes(rows)
    places = [tuple(row[name] for name in KEY) for row in found.to_dict("records")]
    name = place_names(places)
    values = {key: own["latency"].to_numpy(dtype=float) for key, own in split(rows, list(KEY))}
    backends = sorted({str(place[1]).partition(":")[0] for place in places})
    return BoxFigure(
        name="latency-boxes",
        title="Latency on each target",
        caption="Boxes: quartiles over networks; lines: fastest to slowest; ticks: the networks.",
        labels=tuple(name(place) for place in places),
        boxes=1e3 * found[list(BOX)].to_numpy(dtype=float),
        points=tuple(1e3 * np.sort(values[place]) for place in places),
        colors=tuple(backends.index(str(place[1]).partition(":")[0]) for place in places),
        x_label="Latency (ms)",
    )


def flops_figure(rows: pd.DataFrame) -> PanelFigure:
    """Returns latency against the FLOPs of a forward pass, a panel for each device."""
    drawn = []
    for key, own in split(rows, list(KEY)):
        ordered = own.sort_values("forward_flops")
        x = ordered["forward_flops"].to_numpy(dtype=float)
        drawn.append((Place(*key), _Drawn(x, 1e3 * ordered["latency"].to_numpy(dtype=float))))
    caption = "Each point is a network: median latency against the FLOPs of one example."
    panels = tuple(_panels(drawn, "forward_flops", "Latency (ms)", log_y=True))
    return PanelFigure("latency-flops", "Latency against FLOPs", caption, panels, "fronts")


def front_figures(rows: pd.DataFrame) -> Iterator[PanelFigure]:
    """Yields the Pareto fronts of objective against latency, a figure a metric and a panel a device."""
    found = fronts(rows)
    for number, metric in enumerate(sorted({front.metric for front in found})):
        own = [front for front in found if front.metric == metric]
        drawn = [(front.place, _drawn_front(front)) for front in own]
        label = "Validation loss" if metric == "loss" else metric
        better = "higher" if own[0].direction == "maximize" else "lower"
        yield PanelFigure(
            "latency-front" + (f"-{number + 1}" if number else ""),
            f"Pareto fronts of {metric} against latency",
            f"Filled points and steps: networks that no other beats in both {metric} ({better} is better) "
            "and latency on the same target; faint points: all others.",
            tuple(_panels(drawn, LATENCY, label, log_y=metric == "loss")),
            "fronts",
        )


class _Drawn(NamedTuple):
    """What is drawn of one place: points, and what stands beside them."""

    x: Array
    y: Array
    others: tuple[Array, Array] | None = None
    steps: tuple[Array, Array] | None = None


def _drawn_front(front: LatencyFront) -> _Drawn:
    x = 1e3 * front.points["latency"].to_numpy(dtype=float)
    y = front.points["outcome"].to_numpy(dtype=float)
    others = (
        1e3 * front.others["latency"].to_numpy(dtype=float),
        front.others["outcome"].to_numpy(dtype=float),
    )
    end = max(x.max(), others[0].max() if others[0].size else 0.0)
    return _Drawn(x, y, others, (np.repeat(np.append(x, end), 2)[1:-1], np.repeat(y, 2)))


def _panels(
    drawn: Sequence[tuple[AnyPlace, _Drawn]], x_axis: str, y_label: str, *, log_y: bool
) -> Iterator[Panel]:
    """Yields a panel for each device, in which precisions have the colors that they have in all."""
    devices: dict[AnyPlace, list[Series]] = {}
    for place, content in drawn:
        host, target, batch_size, threads = place
        device, _, precision = target.rpartition(":")
        color = COLORS.get(precision, len(COLORS))
        series = Series(precision, color, content.x, content.y, others=content.others, steps=content.steps)
        devices.setdefault((host, device, batch_size, threads), []).append(series)
    name = place_names(list(devices))
    for one, own in devices.items():
        yield Panel(name(one), x_axis, y_label, tuple(own), log_y=log_y)
