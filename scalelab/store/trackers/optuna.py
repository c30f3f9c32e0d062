"""Optuna: studies in an SQLite database, or in the file of a `JournalStorage`.

A trial's values are what its objective returned, so they are its results; what it reported on the way is its
curve. Of a trial that was pruned Optuna keeps the last report as its value, which is no result. The formats
are those of Optuna 2.4 to 5.0 (`optuna/storages/_rdb/models.py`, `optuna/storages/journal/_storage.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from scalelab.errors import InputError, brief
from scalelab.records import Direction
from scalelab.regular_files import open_regular
from scalelab.store.trackers.found import (
    Cell,
    Curve,
    ForeignRun,
    Opened,
    Problem,
    Tracker,
    WrongRunError,
    each,
    flat,
    number,
)
from scalelab.store.trackers.sqlite import Database, asked, closing, has_tables, refuse_nameless

VALUE = "value"
_STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
_ENDED = ("COMPLETE", "PRUNED", "FAIL")
_DIRECTIONS: Mapping[Any, Direction] = {
    "MINIMIZE": "minimize", 1: "minimize", "MAXIMIZE": "maximize", 2: "maximize",
}  # fmt: skip
_INFINITE = {"INF_POS": float("inf"), "INF_NEG": float("-inf"), "NAN": float("nan")}
_METRIC_NAMES = "study:metric_names"


@dataclass
class _Trial:
    """A trial under way: what is known of it so far."""

    number: int
    state: str = "RUNNING"
    values: dict[int, float] = field(default_factory=dict)
    params: dict[str, Cell] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    reports: Curve = field(default_factory=Curve)
    begun: str | None = None
    ended: str | None = None

    def run(self, names: list[str]) -> ForeignRun:
        """Returns it as a run; `names` are those of its objectives."""
        facts = flat(self.attributes)
        facts["wall_seconds"] = _seconds(self.begun, self.ended)
        facts |= {name: self.values.get(at) for at, name in enumerate(names)}
        curves = {names[0]: self.reports} if len(names) == 1 else {}
        return ForeignRun(str(self.number), None, self.state, self.params, facts, curves)


@dataclass
class _Study:
    directions: list[Direction]
    names: Any = None
    trials: list[_Trial] = field(default_factory=list)

    @property
    def objectives(self) -> list[str]:
        """What its values are called."""
        if isinstance(self.names, list) and len(self.names) == len(self.directions):
            return list(map(str, self.names))
        many = [f"{VALUE}_{at}" for at in range(len(self.directions))]
        return [VALUE] if len(many) == 1 else many

    def opened(self, runs: Iterator[ForeignRun | Problem]) -> Opened:
        """Returns its runs; which of several objectives a law is of, only the caller knows."""
        one = len(self.directions) == 1
        return Opened(runs, (self.objectives[0], self.directions[0]) if one else None, final=True)


def _seconds(begun: str | None, ended: str | None) -> float | None:
    if begun is None or ended is None:
        return None
    try:
        return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()
    except (TypeError, ValueError):
        return None


def _param(value: Any, distribution: str) -> Cell:
    """Returns a parameter's value, given the number that Optuna keeps of it."""
    try:
        told = json.loads(distribution)
        kind, attributes = told["name"], told["attributes"]
        if kind == "CategoricalDistribution":
            choice = attributes["choices"][int(value)]
            return choice if choice is None or isinstance(choice, (str, int, float)) else json.dumps(choice)
        return int(value) if kind.startswith("Int") else float(value)
    except (KeyError, IndexError, OverflowError, TypeError, ValueError, AttributeError) as error:
        raise WrongRunError(f"its parameter {value!r} is not one of its distribution") from error


# SQLite


def _sqlite_studies(database: Database) -> dict[str, tuple[int, int]]:
    """Returns id and number of trials of each study, by name."""
    return {
        name: (key, count)
        for key, name, count in database.rows(
            "select study_id, study_name, (select count(*) from trials t where t.study_id = s.study_id) "
            "from studies s order by study_id"
        )
    }


def _sqlite_experiments(path: Path) -> dict[str, int]:
    found = {name: count for name, (_, count) in asked(path, _sqlite_studies).items()}
    refuse_nameless(path, "a study", list(found))
    return found


def _sqlite_read(path: Path, experiment: str | None) -> Opened:
    database = Database(path)
    if "objective" not in database.columns("trial_values"):
        raise InputError(
            f"{path} was written by Optuna before 2.4; run: optuna storage upgrade --storage sqlite:///{path}"
        )
    (study_id, _) = _sqlite_studies(database)[experiment or ""]
    told = database.rows(
        "select direction from study_directions where study_id = ? order by objective", study_id
    )
    study = _Study([_DIRECTIONS.get(direction, "minimize") for (direction,) in told])
    told = database.rows(
        "select value_json from study_system_attributes where study_id = ? and key = ?",
        study_id,
        _METRIC_NAMES,
    )
    with suppress(RecursionError, TypeError, ValueError):
        study.names = json.loads(told[0][0]) if told else None
    typed = ["value_type" in database.columns("trial_values")]
    typed.append("intermediate_value_type" in database.columns("trial_intermediate_values"))
    trials = database.rows(
        "select trial_id, number, state, datetime_start, datetime_complete from trials where study_id = ? "
        "order by number", study_id,
    )  # fmt: skip
    items = ((f"trial {row[1]}", row) for row in trials)
    runs = each(items, partial(_sqlite_trial, database, study.objectives, typed))
    return study.opened(closing(database, runs))


def _sqlite_trial(
    database: Database, names: list[str], typed: list[bool], row: tuple[Any, ...]
) -> ForeignRun:
    if not isinstance(row[1], int):
        raise WrongRunError(f"its number is {brief(row[1])}, not a number")
    trial = _Trial(row[1], row[2], begun=row[3], ended=row[4])
    kinds = ["value_type" if typed[0] else "null", "intermediate_value_type" if typed[1] else "null"]
    for at, value, kind in database.rows(
        f"select objective, value, {kinds[0]} from trial_values where trial_id = ?", row[0]
    ):
        trial.values[at] = _INFINITE.get(kind, value)
    for step, value, kind in database.rows(
        f"select step, intermediate_value, {kinds[1]} from trial_intermediate_values where trial_id = ? "
        "order by step", row[0],
    ):  # fmt: skip
        reported = _INFINITE[kind] if kind in _INFINITE else number(value)
        if reported is not None:
            trial.reports.add(step, reported)
    for name, value, distribution in database.rows(
        "select param_name, param_value, distribution_json from trial_params where trial_id = ?", row[0]
    ):
        trial.params[name] = _param(value, distribution)
    told = database.rows("select key, value_json from trial_user_attributes where trial_id = ?", row[0])
    trial.attributes = {name: json.loads(text) for name, text in told}
    return trial.run(names)


# The file of a JournalStorage: one JSON object a line, an operation each.


def _is_journal(path: Path) -> bool:
    with open_regular(path) as file:
        first = file.readline(100_000)
    try:
        told = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and {"op_code", "worker_id"} <= told.keys()


def _journal_studies(path: Path) -> tuple[dict[str, _Study], list[Problem]]:
    """Replays a journal.

    Returns:
        Its studies by name, and what could not be read.
    """
    replay, problems = _Replay(), list[Problem]()
    with open_regular(path) as file:
        for at, line in enumerate(file, start=1):
            try:
                replay.apply(json.loads(line))
            except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
                torn = not line.endswith(b"\n")
                why = (
                    "the last line is torn; what it said is missing" if torn else "it is not one of Optuna's"
                )
                problems.append(Problem(f"line {at} of {path.name}", why, left_out=False))
    return {name: study for name, study in replay.studies if name is not None}, problems


class _Replay:
    """The state of a journal's studies; operations on what has ended or is gone do nothing, as in Optuna."""

    def __init__(self) -> None:
        self.studies: list[tuple[str | None, _Study]] = []
        self._trials: list[_Trial] = []

    def apply(self, told: dict[str, Any]) -> None:
        code = told["op_code"]
        if code == 0 and told["study_name"] in dict(self.studies):
            return  # two processes created it, and the first one did
        if code == 0:
            study = _Study([_DIRECTIONS.get(one, "minimize") for one in told["directions"]])
            self.studies.append((told["study_name"], study))
        elif code == 1:
            self.studies[told["study_id"]] = (None, self.studies[told["study_id"]][1])
        elif code == 3 and _METRIC_NAMES in told["system_attr"]:
            self.studies[told["study_id"]][1].names = told["system_attr"][_METRIC_NAMES]
        elif code == 4:
            self._trials.append(self._created(self.studies[told["study_id"]][1], told))
        elif code in (5, 6, 7, 8) and (trial := self._trials[told["trial_id"]]).state not in _ENDED:
            self._changed(trial, code, told)

    def _created(self, study: _Study, told: dict[str, Any]) -> _Trial:
        trial = _Trial(len(study.trials), _STATES[told.get("state", 0)])
        study.trials.append(trial)
        trial.begun, trial.ended = told.get("datetime_start"), told.get("datetime_complete")
        values = told.get("values") or ([] if told.get("value") is None else [told["value"]])
        trial.values = dict(enumerate(map(float, values)))
        trial.attributes.update(told.get("user_attrs", {}))
        for step, value in told.get("intermediate_values", {}).items():
            trial.reports.add(int(step), float(value))
        for name, value in told.get("params", {}).items():
            trial.params[name] = _param(value, told["distributions"][name])
        return trial

    def _changed(self, trial: _Trial, code: int, told: dict[str, Any]) -> None:
        if code == 5:
            trial.params[told["param_name"]] = _param(told["param_value_internal"], told["distribution"])
        elif code == 6:
            trial.state = _STATES[told["state"]]
            trial.values = dict(enumerate(map(float, told.get("values") or ())))
            trial.begun = told.get("datetime_start", trial.begun)
            trial.ended = told.get("datetime_complete", trial.ended)
        elif code == 7:
            trial.reports.add(told["step"], float(told["intermediate_value"]))
        else:
            trial.attributes.update(told["user_attr"])


def _journal_experiments(path: Path) -> dict[str, int]:
    found = {name: len(study.trials) for name, study in _journal_studies(path)[0].items()}
    refuse_nameless(path, "a study", list(found))
    return found


def _journal_read(path: Path, experiment: str | None) -> Opened:
    studies, problems = _journal_studies(path)
    study = studies[experiment or ""]

    def runs() -> Iterator[ForeignRun | Problem]:
        yield from problems
        yield from each(
            ((f"trial {trial.number}", trial) for trial in study.trials),
            lambda one: one.run(study.objectives),
        )

    return study.opened(runs())


OPTUNA = Tracker(
    name="optuna",
    title="an Optuna database",
    recognizes=lambda path: path.is_file() and has_tables(path, "studies", "trials", "trial_params"),
    read=_sqlite_read,
    experiments=_sqlite_experiments,
)
OPTUNA_JOURNAL = Tracker(
    name="optuna-journal",
    title="a journal of Optuna",
    recognizes=lambda path: path.is_file() and _is_journal(path),
    read=_journal_read,
    experiments=_journal_experiments,
)
