"""What a script reported, read: lines of JSON become a curve, metrics, features and the facts of a record.

Nothing that a script says is believed before it is looked at: whatever is not a number where one must be, is
said twice or contradicts the study ends in one line of complaint, by which the attempt has failed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scalelab.errors import brief
from scalelab.jsonable import is_sayable
from scalelab.reached import best_point, objective_at
from scalelab.records import CurvePoint, Direction, Status, Trial
from scalelab.script_log import TIME

COUNTS = ("n_params", "n_params_body", "n_examples", "n_steps", "peak_memory_bytes")
AMOUNTS = ("forward_flops", "train_flops", "epochs", "wall_seconds")
AXES = (*COUNTS[:4], *AMOUNTS[:3], "batch_size", "dataset", "architecture", "optimizer")
"""Columns of `runs` that a parameter of a script may be."""
ATTEMPT = "scalelab_attempt"
"""The key of the line that an attempt begins with."""
_FACTS = (*COUNTS, *AMOUNTS)
_OF_POINTS = ("loss", "train_loss", "lr", "n_seen", "train_flops", "wall_seconds")
_KNOWN = {*COUNTS, *AMOUNTS, *_OF_POINTS, "step", "epoch", "test_loss", "metrics", "features", "curve"}
_TABLES = ("metrics", "features", "curve")
NO_RESULT = dict.fromkeys(("loss", "loss_last", "objective", "objective_last"))
"""What a record has of a run that failed, whatever it reported: its curve stays."""
LENGTH, POINTS, NAMES = 1_000_000, 1_000_000, 2_000
"""Characters of a line, points of a curve, and names of metrics and features, at most."""


class _WrongError(ValueError):
    """A report that cannot be taken; the message says why."""


@dataclass
class Reports:
    """The reports of a trial so far, those of earlier attempts that a later one went on from among them.

    Attributes:
        metric: Name of the objective.
        direction: Which way it is better.
        spent: Seconds of the attempts before the last.
        complaint: What is wrong with them, in one line; empty while nothing is.
        last: The step of the last point, and the loss that it told.
    """

    metric: str = "loss"
    direction: Direction = "minimize"
    spent: float = 0.0
    complaint: str = ""
    last: tuple[int, float | None] = (0, None)
    _points: dict[int, dict[str, float]] = field(default_factory=dict)
    _metrics: dict[int | None, dict[str, float]] = field(default_factory=dict)
    _final: dict[str, float] = field(default_factory=dict)
    _features: dict[str, int | float | str] = field(default_factory=dict)
    _lowest: float = math.inf
    _began: float = 0.0
    _heard: float = 0.0

    def read(self, line: bytes) -> None:
        """Takes a line of the file that a script reports in."""
        try:
            self._take(_object(line))
        except _WrongError as error:
            self.complaint = self.complaint or f"it reported {error}"

    def overheard(self, line: bytes) -> dict[str, Any] | None:
        """Returns the report that a script printed in a line; `None` where it is none."""
        try:
            report = _object(line)
        except _WrongError:
            return None
        # A script may print other JSON, such as its settings: {"loss": "mse", "layers": [1, 2]}.
        plain = {
            name: one
            for name, one in report.items()
            if name in _TABLES or not isinstance(one, (list, dict, str) if name in _KNOWN else (list, dict))
        }
        known = {"loss", "step", "n_params", "n_examples", "curve", self.metric}
        return plain if plain.keys() & known else None

    @property
    def n_steps(self) -> int:
        """Steps that there will be, as far as they were told; 0 where they were not."""
        return int(self._final.get("n_steps", 0))

    def _take(self, report: dict[str, Any]) -> None:
        if ATTEMPT in report:
            self.spent += max(0.0, self._heard - self._began)
            self._began = self._heard = _time(report)
            self.metric = str(report.get("metric", self.metric))
            self.direction = "maximize" if report.get("direction") == "maximize" else "minimize"
            self._begin(goes_on=report.get("goes_on") is True)
            return
        self._heard = max(self._heard, _time(report))
        at = report.pop(TIME, None)
        for point in _listed(report.pop("curve", [])):
            self._take(dict(point))
        step = report.pop("step") if "step" in report else report.pop("epoch", None)
        for name, value in _mapping(report.pop("features", {}), "features").items():
            self._feature(name, value)
        report |= _mapping(report.pop("metrics", {}), "metrics")
        if step is not None:
            step = _count("step", step)
            self._go_on(step)
            if at is not None:
                own = self.spent + max(0.0, self._heard - self._began)
                self._points[step].setdefault("wall_seconds", own)
        for name, value in report.items():
            if value is not None:
                self._value(step, name, value)
        if step is not None:
            self.last = (step, self._points[step].get("loss"))

    def _begin(self, *, goes_on: bool) -> None:
        """Begins an attempt, from what the one before has told where it goes on from a checkpoint."""
        self.complaint, self._lowest = "", math.inf
        self._metrics.pop(None, None)
        self._final = {name: self._final[name] for name in _FACTS if name in self._final and goes_on}
        if not goes_on:
            self._points.clear()
            self._metrics.clear()
            self._features.clear()

    def _go_on(self, step: int) -> None:
        """Begins a point; what an earlier attempt told from there on is what it went on from no more."""
        if step < self._lowest:
            for later in [one for one in self._points if step <= one < self._lowest]:
                del self._points[later]
                self._metrics.pop(later, None)
            self._lowest = step
        self._points.setdefault(step, {})
        if len(self._points) > POINTS:
            raise _WrongError(f"more than {POINTS:,} points; report fewer")

    def _value(self, step: int | None, name: str, value: object) -> None:
        if isinstance(value, str) and name not in _KNOWN and not name.startswith("test_"):
            self._feature(name, value)
            return
        number = _number(name, value)
        if name in _KNOWN and (isinstance(value, bool) or (name in AMOUNTS and number < 0)):
            raise _WrongError(f"{name} = {brief(value)}: must be a number, zero or more")
        if name in COUNTS:
            _tell(self._final, name, float(_count(name, value)), again=True)
        elif step is not None and name in _OF_POINTS:
            _tell(self._points[step], name, number, again=name == "wall_seconds")
        elif name in AMOUNTS:
            _tell(self._final, name, number, again=True)
        elif name == "loss" or name.startswith("test_"):
            _tell(self._final, name, number, again=step is not None)
        else:
            own = self._metrics.setdefault(step, {})
            if len(own) >= NAMES:
                raise _WrongError(f"more than {NAMES:,} metrics; report fewer")
            _tell(own, _name(name), number)

    def _feature(self, name: str, value: object) -> None:
        if isinstance(value, str):
            if len(value) > 1000 or not is_sayable(value):
                raise _WrongError(f"{brief(name)} = {brief(value)}: must be at most 1,000 characters of text")
        elif not math.isfinite(_number(name, value)):
            raise _WrongError(f"the feature {brief(name)} = {value}: must be finite")
        if len(self._features) >= NAMES:
            raise _WrongError(f"more than {NAMES:,} features; report fewer")
        self._features[_name(name)] = value if isinstance(value, str) else _whole(_number(name, value))

    def curve(self) -> tuple[CurvePoint, ...]:
        """Returns the points in order."""
        made = []
        for step, own in sorted(self._points.items()):
            seen = own.get("n_seen")
            rest = {name: _finite(value) for name, value in own.items() if name != "n_seen"}
            metrics = self._metrics.get(step, {})
            made.append(
                CurvePoint(step=step, n_seen=None if seen is None else int(seen), metrics=metrics, **rest)
            )
        return tuple(made)

    def facts(self, trial: Trial) -> dict[str, Any]:
        """Returns the fields of a record that they fill; `complaint` says what they contradict."""
        curve = self.curve()
        best = best_point(curve, self.metric, self.direction)
        final = self._metrics.get(None, {})
        losses = [point.loss for point in curve if point.loss is not None]
        told = {name: value for name, value in self._final.items() if name.startswith("test_")}
        facts: dict[str, Any] = {
            "curve": curve,
            "metric": self.metric,
            "direction": self.direction,
            "loss": self._final.get("loss", min(losses, default=None)),
            "loss_last": self._final.get("loss", losses[-1] if losses else None),
            "best_step": best.step if best else None,
            "metrics": {**(best.metrics if best else {}), **final},
            "test_loss": told.pop("test_loss", None),
            "test_metrics": {name.removeprefix("test_"): value for name, value in told.items()},
            "features": dict(self._features),
            **self._counts(trial, curve),
        }
        last = [one for point in curve if (one := objective_at(point, self.metric)) is not None]
        given = facts["loss"] if self.metric == "loss" else final.get(self.metric)
        facts["objective"] = given if given is not None else best and objective_at(best, self.metric)
        facts["objective_last"] = given if given is not None else last[-1] if last else None
        if self.metric == "loss":
            facts["objective_last"] = facts["loss_last"]
        facts["test_objective"] = {"loss": facts["test_loss"], **facts["test_metrics"]}.get(self.metric)
        return facts

    def _counts(self, trial: Trial, curve: tuple[CurvePoint, ...]) -> dict[str, int | float | None]:
        """Returns what is told of the size of a run: by the script, else by the study's axes."""
        axes = script_axes(trial)
        found: dict[str, int | float | None] = {}
        for name in (*COUNTS, *AMOUNTS[:3]):
            value = self._final.get(name)
            asked = axes.get(name)
            if asked is not None and value is not None and not math.isclose(value, asked, rel_tol=1e-9):
                self.complaint = self.complaint or (
                    f"it reported {name} = {value:.15g}, but a parameter of the study says that it is "
                    f"{asked:.15g}; drop one of the two"
                )
            value = asked if value is None else value
            found[name] = value if value is None or name in AMOUNTS else int(value)
        if found["n_steps"] is None and curve:
            found["n_steps"] = curve[-1].step
        if found["train_flops"] is None:
            found["train_flops"] = max(
                (p.train_flops for p in curve if p.train_flops is not None), default=None
            )
        return found

    def outcome(self) -> tuple[Status, str | None]:
        """Returns how a run ended that ended well by itself: its status, and one line of reason."""
        if self.complaint:
            return "failed", self.complaint
        told = [own["loss"] for _, own in sorted(self._points.items()) if "loss" in own]
        last = self._final.get("loss", told[-1] if told else None)
        if last is not None and not math.isfinite(last):
            where = "" if "loss" in self._final else f" at step {max(self._points)}"
            return "diverged", f"the loss is not finite{where}"
        if self.metric == "loss":
            if last is None:
                return "failed", "it ended well, but " + NO_LOSS
            return "done", None
        scored = any(self.metric in own and math.isfinite(own[self.metric]) for own in self._metrics.values())
        if not scored:
            return (
                "failed",
                f"it ended well, but reported no finite {self.metric}, the study's metric",
            )
        return "done", None


NO_LOSS = (
    "reported no loss: call scalelab.log(loss=...), print a line of JSON such as "
    '{"loss": 0.5}, or write one to the file that SCALELAB_RECORD names'
)


def check_metric(name: object) -> str:
    """Returns the name of what counts, after making sure that a script can report it as that.

    Raises:
        ValueError: It cannot.
    """
    if not isinstance(name, str) or not 0 < len(name) <= 200 or not is_sayable(name):
        raise ValueError("must be a name of 1 to 200 characters")
    if name != "loss" and (name in _KNOWN or name in (TIME, ATTEMPT) or name.startswith("test_")):
        raise ValueError("has a meaning of its own; give the name of another number that is reported")
    return name


def script_axes(trial: Trial) -> dict[str, Any]:
    """Returns the values of a trial's parameters that are columns of `runs`, by column."""
    axes = {} if trial.script is None else trial.script.axes
    return {column: trial.architecture.params[name] for column, name in axes.items()}


def _object(line: bytes) -> dict[str, Any]:
    """Returns the JSON object in a line."""
    if len(line) > LENGTH:
        raise _WrongError(f"a line of {len(line):,} characters; {LENGTH:,} at most")
    try:
        report = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _WrongError(f"{brief(line.decode(errors='replace'))}, which is no JSON") from error
    if not isinstance(report, dict):
        raise _WrongError(f'{brief(report)}; a report is a JSON object such as {{"loss": 0.5}}')
    return report


def _time(report: Mapping[str, Any]) -> float:
    """Returns when something was reported; 0.0 where it does not say so."""
    at = report.get(TIME)
    return float(at) if isinstance(at, (int, float)) and 0 <= at < 1e11 else 0.0


def _listed(points: object) -> list[Mapping[str, Any]]:
    if not isinstance(points, list) or not all(isinstance(one, dict) and "step" in one for one in points):
        raise _WrongError(f"curve = {brief(points)}: must be a list of objects with a step each")
    return points


def _mapping(values: object, what: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise _WrongError(f"{what} = {brief(values)}: must be an object of names and values")
    return values


def _name(name: str) -> str:
    if not 0 < len(name) <= 200 or not is_sayable(name):
        raise _WrongError(f"the name {brief(name)}: must be 1 to 200 characters of text")
    return name


def _number(name: str, value: object) -> float:
    if isinstance(value, (bool, int, float)):
        try:
            return float(value)
        except OverflowError:
            pass
    raise _WrongError(f"{brief(name)} = {brief(value)}: must be a number")


def _count(name: str, value: object) -> int:
    number = _number(name, value)
    if not (number.is_integer() and 0 <= number < 2**63):
        raise _WrongError(f"{name} = {brief(value)}: must be a whole number, zero or more")
    return int(number)


def _whole(value: float) -> int | float:
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _tell(told: dict[str, float], name: str, value: float, *, again: bool = False) -> None:
    """Notes a value, which may be told twice where it is the same, or where the last one counts."""
    before = told.get(name, value)
    if not again and before != value and not (math.isnan(before) and math.isnan(value)):
        raise _WrongError(f"{name} twice: {before:g} and {value:g}; give the points of a curve a step each")
    told[name] = value
