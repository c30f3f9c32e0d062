"""The curves of a tracker's runs, as the runs of a store have them.

A curve is of the metric that is the loss, with the compute at each step where that was reported too. Other
metrics of a run are facts: their last values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalelab.store.foreign import PLACE, Source
from scalelab.store.reports import best
from scalelab.store.rows import curve_text
from scalelab.store.schema import quoted
from scalelab.store.tracked import Tracked

Reported = tuple[list[int], list[float], list[float] | None]


class RunCurves:
    """Gives the curves of some rows, and takes the best values of them for loss and objective.

    Args:
        source: The table.
        taken: By column of `runs` the column of the table that it is, where it is one.
        upward: Whether a higher objective is better.
    """

    def __init__(self, source: Source, taken: Mapping[str, str], *, upward: bool) -> None:
        self._source = source
        self._upward = upward
        self._metrics: dict[str, tuple[Tracked, int]] = {
            name: (tracked, tracked.metrics[column])
            for name, column in taken.items()
            for tracked in source.tracked
            if name in ("loss", "objective", "train_flops") and column in tracked.metrics
        }

    def join(self, rows: Sequence[int], columns: dict[str, list[Any]]) -> list[str | None]:
        """Returns the text of each row's curve, and changes the columns.

        A run's loss and objective are the best of its curve, as those of runs made here; the last one where
        that is not finite, for the run has diverged. A result that the run gave itself stays what it is.

        Args:
            rows: The rows' numbers, in order.
            columns: Of `runs`.
        """
        told = {name: self._of(rows, *metric) for name, metric in self._metrics.items()}
        for name, upward in (("loss", False), ("objective", self._upward)):
            if name in told and not self._metrics[name][0].final:
                for at, reported in enumerate(told[name]):
                    if reported is not None:
                        columns[name][at] = best(reported[1], upward=upward)
        none: list[Reported | None] = [None] * len(rows)
        pairs = zip(told.get("loss", none), told.get("train_flops", none), strict=True)
        return [None if loss is None else _text(loss, flops) for loss, flops in pairs]

    def _of(self, rows: Sequence[int], tracked: Tracked, metric: int) -> list[Reported | None]:
        places = self._source.query(
            f"select {quoted(tracked.place)} from kept where {PLACE} between {rows[0]} and {rows[-1]} "
            f"order by {PLACE}"
        )
        return [tracked.curves.of(run, metric) for (run,) in places.fetchall()]


def _text(loss: Reported, flops: Reported | None) -> str:
    """Returns the text of a curve, with the compute at the steps where that is known."""
    steps, values, seconds = loss
    columns: dict[str, Sequence[float | None]] = {"step": steps, "loss": values}
    if flops is not None:
        known = dict(zip(*flops[:2], strict=True))
        columns["train_flops"] = [known.get(step) for step in steps]
    if seconds is not None:
        columns["wall_seconds"] = seconds
    return curve_text(columns)
