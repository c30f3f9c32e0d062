"""Tables from tools that track runs: their words for how a run ended, and their reports along a run.

Ray Tune, Weights & Biases, Optuna, MLflow and SLURM each have words of their own for the end of a run, and
some write a line for every report. Both are read here: a run that was pruned or crashed is not one that is
done, and the reports of a run are its learning curve.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scalelab.errors import InputError
from scalelab.records import Status
from scalelab.store.foreign import Source, Values
from scalelab.store.joins import REPORTED, STEPS
from scalelab.store.rows import curve_text
from scalelab.store.schema import quoted

_WORDS: dict[Status, tuple[str, ...]] = {
    "done": ("done", "complete", "completed", "finished", "success", "succeeded", "terminated", "true"),
    "diverged": ("diverged", "nan"),
    "failed": ("failed", "fail", "failure", "crashed", "error", "errored", "out_of_memory"),
    "interrupted": (
        "interrupted", "pruned", "killed", "stopped", "aborted", "cancelled", "canceled", "timeout",
        "preempted", "preempting", "running", "pending", "waiting", "scheduled", "queued", "paused", "false",
    ),
}  # fmt: skip
"""By status, what trackers call it; in small letters."""
_STATUS_OF = {word: status for status, words in _WORDS.items() for word in words}
_TOLD = ("loss", "objective", "train_flops", "wall_seconds")


def status_of(word: str | None) -> str | None:
    """Returns the status that a tracker's word means; a word that none of them has stays what it is."""
    return None if word is None else _STATUS_OF.get(word.strip().lower(), word)


def tells_status(source: Source, column: str) -> bool:
    """Returns whether a column holds a word for the end of a run in any of its rows."""
    words = source.query(f"select distinct value from ({source.texts(column, quoted(column)).query})")
    while row := words.fetchone():
        if row[0] and row[0].strip().lower() in _STATUS_OF:
            return True
    return False


class Reports:
    """The rows that are reports of one run: those of the same `trial_id`, at ever other steps.

    A run is what its last report says, and its loss and objective are the best of all, as those of runs made
    here; one that ends without a finite loss has none.

    Args:
        source: The table.
        columns: Columns of `runs`.
        upward: Whether a higher objective is better.

    Raises:
        InputError: A report has no step, or two of a run have the same one.
    """

    def __init__(self, source: Source, columns: Mapping[str, Values], *, upward: bool) -> None:
        self._source = source
        self._upward = {"loss": False, "objective": upward}
        self._told = [name for name in _TOLD if name in columns]
        step = next((name for name in STEPS if name in source.kinds), None)
        self._there = REPORTED in source.kinds and step is not None and not source.tracked
        if not self._there or step is None:
            return
        trials, steps = source.texts(REPORTED, quoted(REPORTED)), source.numbers(step, quoted(step))
        source.query(
            "create table reports as select place, trial, step, "
            "last_value(place) over (partition by trial order by step, place rows between unbounded "
            "preceding and unbounded following) as last, count(*) over (partition by trial) as n_reports "
            f"from (select t.place, t.value as trial, s.value as step from ({trials.query}) t "
            f"join ({steps.query}) s using (place) where t.value is not null) qualify n_reports > 1"
        )
        wrong = source.query(
            "select trial from reports group by trial "
            "having count(distinct case when isfinite(step) then step end) < count(*) "
            "order by min(place) limit 1"
        ).fetchone()
        if wrong:
            raise InputError(
                f"{source.name}: run {wrong[0]} has several rows, and {step} does not tell them apart; give "
                "each of them a trial_id of its own, or leave all but one out with --only"
            )
        joins = "".join(f" join ({columns[name].query}) as {name} using (place)" for name in self._told)
        values = "".join(f", {name}.value as {name}" for name in self._told)
        source.query(f"create table points as select last, place, step{values} from reports{joins}")

    def join(
        self, rows: list[int], tables: Sequence[dict[str, list[Any]]]
    ) -> tuple[list[int], list[str | None]]:
        """Makes one run of its reports among some rows, where the last of them is; changes the columns.

        Args:
            rows: The rows' numbers, in order.
            tables: Columns by name, a value for each row.

        Returns:
            The numbers of the rows that are left, and for each of them its curve, as `curve_text` gives it;
            none where it has one report alone.
        """
        if not self._there:
            return rows, [None] * len(rows)
        span = f"between {rows[0]} and {rows[-1]}"
        query = f"select place from reports where place <> last and place {span}"
        earlier = {place for (place,) in self._source.query(query).fetchall()}
        kept = [at for at, row in enumerate(rows) if row not in earlier]
        for table in tables:
            for name, values in table.items():
                table[name] = [values[at] for at in kept]
        left = [rows[at] for at in kept]
        shown = ", ".join(["last", "step", *self._told])
        found = self._source.query(f"select {shown} from points where last {span} order by last, step")
        points: dict[int, list[dict[str, Any]]] = {}
        for last, *values in found.fetchall():
            points.setdefault(last, []).append(dict(zip(("step", *self._told), values, strict=True)))
        at = {row: place for place, row in enumerate(left)}
        for last, own in points.items():
            for name, upward in self._upward.items():
                for table in tables:
                    if name in table and name in self._told:
                        table[name][at[last]] = best([point[name] for point in own], upward=upward)
        return left, [_curve(points[row]) if row in points else None for row in left]


def _curve(points: Sequence[Mapping[str, Any]]) -> str:
    names = ("loss", "train_flops", "wall_seconds")
    steps = [int(point["step"]) for point in points]
    return curve_text({"step": steps, **{name: [point.get(name) for point in points] for name in names}})


def best(values: Sequence[float | None], *, upward: bool) -> float | None:
    """Returns the best of a run's values; the last one where that is not finite, for the run has diverged."""
    last = values[-1]
    if last is not None and not math.isfinite(last):
        return last
    finite = (value for value in values if value is not None and math.isfinite(value))
    return (max if upward else min)(finite, default=None)
