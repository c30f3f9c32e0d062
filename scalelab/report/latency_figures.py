"""The numbers of the figures of ``scalelab bench``: boxes, latency against FLOPs, fronts of the objective."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from scalelab.analysis.latency import KEY, measured
from scalelab.analysis.latency_summary import BOX, LatencyFront, boxes, fronts
from scalelab.analysis.points import split
from scalelab.report.figures import Panel, PanelFigure, Series
from scalelab.report.latency_boxes import BoxFigure
from scalelab.report.names import place_names

if TYPE_CHECKING:
    import pandas as pd

LATENCY = "latency_ms"
"""The axis of latency, in milliseconds."""


def latency_figures(latencies: pd.DataFrame) -> tuple[BoxFigure | PanelFigure, ...]:
    """Returns the numbers of every figure that the measurements have something for.

    Args:
        latencies: A row a measurement, as the store's ``latencies``.
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
    """Returns latency against the FLOPs of a forward pass, a panel for each batch size."""
    panels = tuple(
        Panel(f"batch of {batch}", "forward_flops", "Latency (ms)", tuple(_against_flops(own)))
        for (batch,), own in split(rows, ["batch_size"])
    )
    caption = "Each point is a network: median latency against the FLOPs of one example."
    return PanelFigure("latency-flops", "Latency against FLOPs", caption, panels, "fronts")


def _against_flops(rows: pd.DataFrame) -> Iterator[Series]:
    found = list(split(rows, list(KEY)))
    name = place_names([key for key, _ in found])
    for index, (key, own) in enumerate(found):
        ordered = own.sort_values("forward_flops")
        x = ordered["forward_flops"].to_numpy(dtype=float)
        yield Series(name(key), index, x, 1e3 * ordered["latency"].to_numpy(dtype=float))


def front_figures(rows: pd.DataFrame) -> Iterator[PanelFigure]:
    """Yields the Pareto fronts of objective against latency, a figure for each metric."""
    found = fronts(rows)
    name = place_names([front.place for front in found])
    for number, metric in enumerate(sorted({front.metric for front in found})):
        own = [front for front in found if front.metric == metric]
        series = tuple(_front_series(front, name(front.place), index) for index, front in enumerate(own))
        label = "Validation loss" if metric == "loss" else metric
        better = "higher" if own[0].direction == "maximize" else "lower"
        yield PanelFigure(
            "latency-front" + (f"-{number + 1}" if number else ""),
            f"Pareto fronts of {metric} against latency",
            f"Filled points and steps: networks that no other beats in both {metric} ({better} is better) "
            "and latency on the same target; faint points: all others.",
            (Panel("", LATENCY, label, series, log_y=metric == "loss"),),
            "fronts",
        )


def _front_series(front: LatencyFront, label: str, index: int) -> Series:
    x = 1e3 * front.points["latency"].to_numpy(dtype=float)
    y = front.points["outcome"].to_numpy(dtype=float)
    others = (
        1e3 * front.others["latency"].to_numpy(dtype=float),
        front.others["outcome"].to_numpy(dtype=float),
    )
    end = max(x.max(), others[0].max() if others[0].size else 0.0)
    steps = np.repeat(np.append(x, end), 2)[1:-1], np.repeat(y, 2)
    return Series(label, index, x, y, others=others, steps=steps)
