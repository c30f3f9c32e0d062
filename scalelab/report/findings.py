"""What a panel of a figure shows, in words: for those who do not see it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scalelab.arrays import Array
from scalelab.report.numbers import AXIS_LABELS, plain, short
from scalelab.report.parts import AnyPanel, Bars, Boxes, Panel, Reliability, Series

_NAMED = 6
_TOP = 3


def finding(panel: AnyPanel, level_label: str = "") -> str:
    """Returns what a panel shows, with its numbers, in a sentence or a few.

    Args:
        panel: The panel.
        level_label: What the levels of its series are.
    """
    if isinstance(panel, Bars):
        said = _of_bars(panel)
    elif isinstance(panel, Boxes):
        rows = zip(panel.rows, panel.boxes[:, 2], strict=True)
        said = f"{panel.x_label}, medians: " + ", ".join(
            f"{name} {plain(float(value))}" for name, value in rows
        )
    elif isinstance(panel, Reliability):
        said = "; ".join(_of_reliability(panel))
    else:
        said = _of_lines(panel, level_label)
    return f"{said}."


def _of_bars(panel: Bars) -> str:
    order = [int(i) for i in np.argsort(-np.nan_to_num(panel.values[:, 0], nan=-np.inf))[:_TOP]]
    most = ", ".join(
        f"{panel.rows[i]} {plain(float(panel.values[i, 0]))}"
        for i in order
        if np.isfinite(panel.values[i, 0])
    )
    n = int(panel.matters.sum())
    return f"{panel.x_label}, largest: {most or 'none is known'}; {n} of {len(panel.rows)} are beyond noise"


def _of_reliability(panel: Reliability) -> Iterator[str]:
    for one in panel.predicted:
        known = one.points[np.isfinite(one.points[:, 1])]
        if not len(known):
            continue
        worst = known[int(np.argmax(np.abs(known[:, 0] - known[:, 1])))]
        yield (
            f"{one.label}: furthest from the diagonal where {plain(float(worst[0]))} was predicted and "
            f"{plain(float(worst[1]))} came true"
        )


def _of_lines(panel: Panel, level_label: str) -> str:
    axis = AXIS_LABELS.get(panel.x_axis, panel.x_axis)
    by = f", by {level_label}" if level_label and any(one.level is not None for one in panel.series) else ""
    lead = f"{panel.y_label} against {axis}{by}"
    if panel.diagonal:
        return f"{lead}: {_beside(panel)}"
    shown = [(series, places) for series in panel.series if (places := _places(series)) is not None]
    if not shown:
        return f"{lead}: nothing is drawn"
    if len(shown) > _NAMED:
        series, _ = min(shown, key=lambda one: float(one[1][-1, 1]))
        ends = [float(places[-1, 1]) for _, places in shown]
        name = _name(series)
        which = f"; the lowest is that of {name}" if name else ""
        return (
            f"{lead}: {len(shown)} lines, which end between {plain(min(ends))} and {plain(max(ends))}{which}"
        )
    return f"{lead}: " + "; ".join(_said(panel, series, places) for series, places in shown)


def _beside(panel: Panel) -> str:
    """Returns how near points are to the line on which both axes are equal."""
    drawn = [one.others for one in panel.series if one.others is not None]
    points = np.concatenate(drawn) if drawn else np.empty((0, 2))
    said = f"{len(points)} points beside the line on which both are equal"
    if len(points) < 3 or not (np.ptp(points[:, :2], axis=0) > 0).all():
        return said
    return f"{said}, correlation {plain(float(np.corrcoef(points[:, 0], points[:, 1])[0, 1]), 2)}"


def _name(series: Series) -> str:
    return series.family or series.label or ("" if series.level is None else short(series.level))


def _said(panel: Panel, series: Series, places: Array) -> str:
    """Returns whose a line is, how it goes, and what was fitted to it."""
    fitted = series.label.removeprefix(f"{series.family}: ") if series.family else ""
    exponents = f", fitted exponent {fitted}" if fitted and fitted != series.family else ""
    return f"{_name(series) or 'it'} {_trend(panel, places)}{exponents}"


def _trend(panel: Panel, places: Array) -> str:
    """Returns how values fall or rise, where they are lowest in between, or how far from zero."""

    def where(i: int) -> str:
        x = float(places[i, 0])
        return panel.ticks[int(x)] if panel.ticks else short(x)

    def at(i: int) -> str:
        return f"{plain(float(places[i, 1]))} at {where(i)}"

    y = places[:, 1]
    if len(y) == 1:
        return f"has {at(0)}"
    if panel.reference == 0.0:
        return f"is furthest from zero with {at(int(np.argmax(np.abs(y))))}"
    lowest = int(np.argmin(y))
    if 0 < lowest < len(y) - 1:
        return f"is lowest with {at(lowest)}, between {where(0)} and {where(-1)}"
    verb = "falls" if y[-1] < y[0] else "rises" if y[-1] > y[0] else "goes"
    return f"{verb} from {at(0)} to {at(-1)}"


def _places(series: Series) -> Array | None:
    """Returns the points of a series, or else its line, from left to right; `None` where it has neither."""
    drawn = series.points if series.points is not None else series.line.values if series.line else None
    if drawn is None:
        return None
    known: Array = drawn[np.isfinite(drawn[:, :2]).all(axis=1)][:, :2]
    return known[np.argsort(known[:, 0], kind="stable")] if len(known) else None
