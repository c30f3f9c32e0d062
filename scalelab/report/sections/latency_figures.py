"""The numbers of the figures of `scalelab bench`: boxes, latency against FLOPs, fronts of the objective."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scalelab.analysis.latency.law import KEY, Place, measured
from scalelab.analysis.latency.summary import BOX, LatencyFront, boxes, fronts
from scalelab.analysis.runs.designs import split
from scalelab.arrays import Array
from scalelab.measure.targets import PRECISIONS
from scalelab.report.names import AnyPlace, grouped, place_names
from scalelab.report.outcomes import axis_label
from scalelab.report.parts import Boxes, Figure, Panel, Series, array
from scalelab.report.sections.fronts import better, staircase
from scalelab.report.sections.topic import figure

if TYPE_CHECKING:
    import pandas as pd

LATENCY = "latency_ms"
"""The axis of latency, in milliseconds."""


def latency_figures(latencies: pd.DataFrame) -> tuple[Figure, ...]:
    """Returns the numbers of every figure that the measurements have something for.

    Args:
        latencies: One row per measurement, as the store's `latencies`.
    """
    rows = measured(latencies)
    return () if rows.empty else (_boxes(rows), _flops(rows), *_fronts(rows))


def _boxes(rows: pd.DataFrame) -> Figure:
    """Returns a box of latencies for each place."""
    found = boxes(rows)
    places = [tuple(row[name] for name in KEY) for row in found.to_dict("records")]
    name = place_names(places)
    values = {key: own["latency"].to_numpy(dtype=float) for key, own in split(rows, list(KEY))}
    backends = sorted({str(place[1]).partition(":")[0] for place in places})
    panel = Boxes(
        x_label="Latency (ms)",
        rows=tuple(name(place) for place in places),
        boxes=1e3 * found[list(BOX)].to_numpy(dtype=float),
        points=tuple(1e3 * np.sort(values[place]) for place in places),
        colors=tuple(backends.index(str(place[1]).partition(":")[0]) for place in places),
    )
    return figure("latency-boxes", "", [panel])


def _flops(rows: pd.DataFrame) -> Figure:
    """Returns latency against the FLOPs of a forward pass, a panel for each device."""
    drawn = []
    for key, own in split(rows, list(KEY)):
        points = array(own.sort_values("forward_flops"), "forward_flops", "latency") * (1.0, 1e3)
        drawn.append((Place(*key), _series(Place(*key), points)))
    return figure("latency-flops", "", _panels(drawn, "forward_flops", "Latency (ms)", log_y=True))


def _fronts(rows: pd.DataFrame) -> Iterator[Figure]:
    """Yields the Pareto fronts of objective against latency, a figure per metric with a panel per device."""
    found = sorted(fronts(rows), key=lambda front: front.metric)
    for number, (metric, own) in enumerate(grouped(found, lambda front: front.metric).items()):
        drawn = [(front.place, _front(front)) for front in own]
        panels = _panels(drawn, LATENCY, axis_label(metric), log_y=metric == "loss")
        end = f"-{number + 1}" if number else ""
        yield figure("latency-front", end, panels, metric=metric, better=better(own[0].direction))


def _front(front: LatencyFront) -> Series:
    points, others = (
        array(table, "latency", "outcome") * (1e3, 1.0) for table in (front.points, front.others)
    )
    line = staircase(points, float(np.max(others[:, 0], initial=0.0)))
    return replace(_series(front.place, points), line=line, others=others)


def _series(place: AnyPlace, points: Array) -> Series:
    """Returns a place's points in the color of its precision, which is the same whatever else is drawn."""
    precision, known = place[1].rpartition(":")[2], list(PRECISIONS)
    color = known.index(precision) if precision in known else len(known)
    return Series(label=precision, color=color, points=points)


def _panels(
    drawn: Iterable[tuple[AnyPlace, Series]], x_axis: str, y_label: str, *, log_y: bool
) -> Iterator[Panel]:
    """Yields a panel for each device."""

    def device(one: tuple[AnyPlace, Series]) -> AnyPlace:
        host, target, batch_size, threads = one[0]
        return host, target.rpartition(":")[0], batch_size, threads

    devices = grouped(drawn, device)
    name = place_names(list(devices))
    for place, own in devices.items():
        yield Panel(name(place), x_axis, y_label, tuple(series for _, series in own), log_y=log_y)
