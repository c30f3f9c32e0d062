"""Folders of Ray Tune: an experiment with a folder for each trial, or `ray_results/` with several of them.

How trials ended is in the newest `experiment_state-*.json`. A trial that a scheduler stopped is `TERMINATED`
there, as one that ran to its end; its last report says `done`, as no report of a function that returned does.
So one that was stopped after fewer iterations than others, and not by its own stopping criterion, is taken
as stopped. Pickled files are not opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.errors import in_words
from scalelab.store.trackers.documents import read_json
from scalelab.store.trackers.folders import (
    Note,
    curves_of,
    folders,
    key_of,
    lines_of,
    natural,
    noted,
    start_of,
    text_of,
)  # fmt: skip
from scalelab.store.trackers.found import ForeignRun, Opened, Problem, Tracker, flat, number

_RESULTS, _PARAMS, _ERROR, _STATES = "result.json", "params.json", "error.txt", "experiment_state-*.json"
_OWN = frozenset({
    "checkpoint_dir_name", "date", "done", "episodes_total", "experiment_id", "experiment_tag", "hostname",
    "iterations_since_restore", "node_ip", "pid", "should_checkpoint", "time_since_restore", "time_total_s",
    "time_this_iter_s", "timestamp", "timesteps_since_restore", "timesteps_total", "training_iteration",
    "trial_id", "warmup_time",
})  # fmt: skip
"""What Ray Tune adds to each report."""


@dataclass(frozen=True)
class Trial:
    """A trial of an experiment: its folder, where it has one, and what the experiment's state says of it."""

    folder: Path | None
    state: Mapping[str, Any]
    longest: float
    """The most iterations of any trial of the experiment."""


def experiments(path: Path) -> dict[str, int]:
    """Returns how many trials each experiment has that a folder is, or that is below it."""
    there = [path] if is_experiment(path) else [at for at, _ in folders(path, 2) if is_experiment(at)]
    return {key_of(folder, path): len(trial_folders(folder)) for folder in there}


def is_experiment(path: Path) -> bool:
    """Returns whether a folder holds trials."""
    return path.is_dir() and (any(path.glob(_STATES)) or any(map(_is_trial, path.glob(f"*/{_RESULTS}"))))


def _is_trial(results: Path) -> bool:
    return (results.parent / _PARAMS).is_file() and b'"training_iteration"' in start_of(results, 2**16)


def trial_folders(path: Path) -> list[Path]:
    """Returns the folders of an experiment's trials."""
    found = {file.parent for name in (_PARAMS, _RESULTS) for file in path.glob(f"*/{name}")}
    return sorted(found, key=lambda folder: natural(folder.name))


def told_of(path: Path) -> tuple[dict[str, dict[str, Any]], list[Problem]]:
    """Returns what the newest state of an experiment that is whole says of each trial, by its identity."""
    problems: list[Problem] = []
    for file in sorted(path.glob(_STATES), reverse=True):
        found: dict[str, dict[str, Any]] = {}
        try:
            state = read_json(file)
            # Before Ray 2.4 a trial was one text, of the list `checkpoints`.
            for parts in (*state.get("trial_data", ()), *([text] for text in state.get("checkpoints", ()))):
                told: dict[str, Any] = {}
                for part in parts:
                    told |= json.loads(part) if isinstance(part, str) else part
                found[str(told["trial_id"])] = told
            return found, problems
        except (AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
            reason = f"{in_words(error)}; an earlier state is taken where there is one"
            problems.append(Problem(file.name, reason, left_out=False))
    return {}, problems


def trials(path: Path) -> Iterator[ForeignRun | Problem]:
    """Reads the trials of an experiment."""
    states, problems = told_of(path)
    yield from problems
    longest = max((_iterations(state.get("last_result")) for state in states.values()), default=0.0)
    logged = {Path(str(state.get("relative_logdir") or id)).name: id for id, state in states.items()}
    named = sorted(states, key=len, reverse=True)
    found: dict[str, Trial] = {}
    for folder in trial_folders(path):
        id = logged.get(folder.name) or next((id for id in named if id in folder.name), folder.name)
        found[id] = Trial(folder, states.get(id, {}), longest)
    found |= {id: Trial(None, state, longest) for id, state in states.items() if id not in found}
    yield from noted(found.items(), read)


def _iterations(report: Any) -> float:
    return (number(report.get("training_iteration")) or 0.0) if isinstance(report, Mapping) else 0.0


def read(key: str, note: Note, trial: Trial) -> ForeignRun:
    """Reads a trial."""
    folder, state = trial.folder, trial.state
    results = None if folder is None else folder / _RESULTS
    rows = [] if results is None or not results.is_file() else list(lines_of(results, note))
    last: Mapping[str, Any] = rows[-1] if rows else {}
    config = last.get("config", state.get("config"))
    if folder is not None and not isinstance(config, Mapping):
        config = read_json(folder / _PARAMS)
    flats = map(flat, rows)
    own = [{name: told for name, told in row.items() if not name.startswith("config.")} for row in flats]
    names = {name for row in own for name in row} - _OWN
    final = {name: own[-1].get(name) for name in names} if own else {}
    how = _ended(trial, last)
    return ForeignRun(
        str(last.get("trial_id", key)),
        name=folder.name if folder is not None else None,
        state=how,
        params=flat(config) if isinstance(config, Mapping) else {},
        values={
            **final,
            "n_iterations": _iterations(last) or None,
            "wall_seconds": number(last.get("time_total_s")),
        },
        curves={name: at for name, at in curves_of(own, ("training_iteration",)).items() if name in names},
        error=_error(folder) if how == "ERROR" and folder is not None else None,
    )


def _ended(trial: Trial, last: Mapping[str, Any]) -> str | None:
    status = trial.state.get("status")
    if not isinstance(status, str):
        return "ERROR" if trial.folder is not None and (trial.folder / _ERROR).is_file() else None
    limits = trial.state.get("stopping_criterion")
    reached = isinstance(limits, Mapping) and any(
        (number(last.get(name)) or 0.0) >= (number(limit) or 0.0) for name, limit in limits.items()
    )
    told_to = last.get("done") is True and _iterations(last) < trial.longest and not reached
    return "stopped" if status == "TERMINATED" and told_to else status


def _error(folder: Path) -> str | None:
    path = folder / _ERROR
    lines = text_of(path).strip().splitlines() if path.is_file() else []
    return lines[-1] if lines else None


RAY_TUNE = Tracker(
    name="ray",
    title="an experiment of Ray Tune",
    recognizes=lambda path: path.is_dir() and bool(experiments(path)),
    read=lambda path, name: Opened(trials(path if is_experiment(path) else path / (name or ""))),
    experiments=experiments,
)
