"""Tables from tools that track runs: their words for how a run ended, and their reports along a run.

Ray Tune, Weights & Biases, Optuna, MLflow and SLURM each have words of their own for the end of a run, and
some write a line for every report. Both are read here: a run that was pruned or crashed is not one that is
done, and the reports of a run are its learning curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from scalelab.errors import InputError
from scalelab.records import Status
from scalelab.store.foreign import Source
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
_TRIAL = "trial_id"
_STEPS = ("training_iteration", "step", "iteration", "epoch")


def status_of(word: str | None) -> str | None:
    """Returns the status that a tracker's word means; a word that none of them has stays what it is."""
    return None if word is None else _STATUS_OF.get(word.strip().lower(), word)


def tells_status(source: Source, column: str) -> bool:
    """Returns whether a column holds a word for the end of a run in any of its rows."""
    return any(word.strip().lower() in _STATUS_OF for word in source.texts(column, quoted(column)) if word)


def join_reports(
    source: Source,
    columns: dict[str, list[Any]],
    extra: dict[str, list[Any]],
    rows: Sequence[int],
    *,
    upward: bool,
) -> tuple[list[int], list[list[dict[str, Any]] | None]]:
    """Makes one run of the rows that are reports of one: those of the same `trial_id`, at ever other steps.

    A run is what its last report says, and its loss and objective are the best of all, as those of runs made
    here; one that ends without a finite loss has none. Changes the columns in place.

    Args:
        source: The table.
        columns: Columns of `runs`, a value for each row.
        extra: Options and facts, likewise.
        rows: The rows' numbers.
        upward: Whether a higher objective is better.

    Returns:
        The numbers of the rows that are left, and for each of them its curve, a point for each report; none
        where it has one report alone.

    Raises:
        InputError: A report has no step, or two of a run have the same one.
    """
    step_name = next((name for name in _STEPS if name in source.kinds), None)
    curves: list[list[dict[str, Any]] | None] = [None] * len(rows)
    if _TRIAL not in source.kinds or step_name is None:
        return list(rows), curves
    trials, steps = source.texts(_TRIAL, quoted(_TRIAL)), source.numbers(step_name, quoted(step_name))
    reports: dict[str, list[int]] = {}
    for place, trial in enumerate(trials):
        reports.setdefault(f"{place}" if trial is None else f" {trial}", []).append(place)
    kept = []
    for places in reports.values():
        if len(places) > 1:
            _in_order(places, steps, f"{source.name}: run {trials[places[0]]}", step_name)
            curves[places[-1]] = [_point(columns, place, steps[place]) for place in places]
            for name in ("loss", "objective"):
                if name in columns:
                    own = [columns[name][place] for place in places]
                    columns[name][places[-1]] = _best(own, max if upward and name == "objective" else min)
        kept.append(places[-1])
    kept.sort()
    for table in (columns, extra):
        for name, values in table.items():
            table[name] = [values[place] for place in kept]
    return [rows[place] for place in kept], [curves[place] for place in kept]


def _in_order(places: list[int], steps: Sequence[float | None], run: str, step_name: str) -> None:
    """Sorts the places of a run's reports by their steps."""
    own = [steps[place] for place in places]
    if None in own or len(set(own)) < len(own):
        raise InputError(
            f"{run} has several rows, and {step_name} does not tell them apart; give each of them a trial_id "
            "of its own, or leave all but one out with --only"
        )
    places.sort(key=lambda place: steps[place] or 0.0)


def _point(columns: dict[str, list[Any]], place: int, step: float | None) -> dict[str, Any]:
    point: dict[str, Any] = {"step": int(step or 0)}
    for name in ("loss", "train_flops", "wall_seconds"):
        value = columns[name][place] if name in columns else None
        if value is not None and math.isfinite(value):
            point[name] = value
    return point


def _best(values: Sequence[float | None], choose: Callable[..., float | None]) -> float | None:
    """Returns the best of a run's values; the last one where that is not finite, for the run has diverged."""
    last = values[-1]
    if last is not None and not math.isfinite(last):
        return last
    return choose((value for value in values if value is not None and math.isfinite(value)), default=None)
