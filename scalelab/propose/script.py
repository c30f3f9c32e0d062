"""A study of one run of a command that was never made: a known run's parameters, another size, more data.

What a command makes of its parameters is known from its runs alone: a size that it reports is followed along
the one parameter that changes it, as a power between two runs and beyond the last.
"""

from __future__ import annotations

import itertools
import math
import statistics
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from scalelab.constraints import is_number
from scalelab.errors import InputError, StudyError
from scalelab.records import Trial
from scalelab.script_reports import AMOUNTS, script_axes
from scalelab.study import Study, parse_study
from scalelab.study.command import expand_command
from scalelab.study.write import advised_head, place_from, study_text, without_heading

if TYPE_CHECKING:
    import pandas as pd


_SAYS = ("epochs", "n_examples", "n_steps", "batch_size")


@dataclass(frozen=True)
class ScriptProposal:
    """A study file for one run of a command.

    Attributes:
        text: The file.
        path: Where it is to stand; its folder is taken from there.
        trial: The one trial of the study.
        n_params: Parameters that it is to have.
        n_seen: Examples that it is to see, repeats counted.
        train_flops: FLOPs that it is to take, by the budget.
        chosen: The parameters that were changed, with their values.
        passes: Passes over its examples, where no parameter decides them: those of all runs.
    """

    text: str
    path: Path
    trial: Trial
    n_params: float
    n_seen: float
    train_flops: float
    chosen: dict[str, Any]
    passes: float | None
    json_fields: ClassVar = (
        "path", "text", "n_params", "n_examples=trial.n_examples", "examples_seen=n_seen", "train_flops",
        "chosen", "passes",
    )  # fmt: skip


def propose_script(
    start: Trial,
    study: Study,
    runs: pd.DataFrame,
    path: Path,
    *,
    n_params: float,
    n_examples: float,
    n_seen: float,
    budget: float,
) -> ScriptProposal:
    """Returns a study file that runs a command at about a size, with a number of examples.

    Args:
        start: The run to take all other parameters from.
        study: Its study.
        runs: The finished runs, which say what parameters make of sizes.
        path: Where the file will stand.
        n_params: The size to come near.
        n_examples: Different examples.
        n_seen: Examples seen, repeats counted.
        budget: Training FLOPs.

    Raises:
        StudyError: No parameter decides the size, the number of examples, or how long it trains.
    """
    assert start.script is not None, "the run was made by a command"
    axes, params = start.script.axes, dict(start.architecture.params)
    length = _Length.of(start, runs)
    wanted = {"n_params": n_params, "n_examples": n_examples, "train_flops": budget}
    wanted |= {"epochs": n_seen / n_examples, "forward_flops": budget / n_seen / 3}
    if "n_steps" in axes:
        wanted["n_steps"] = n_seen / length.per_step(study)
    chosen: dict[str, Any] = {}
    for column in ("n_params", "n_examples"):
        if column not in axes:
            chosen |= _told_by(column, wanted[column], study, start, runs)
    for column, name in axes.items():
        if column in wanted:
            chosen[name] = _like(params[name], wanted[column], whole=column not in AMOUNTS)
    text = script_text(study, start, {**params, **chosen}, advised_head(study.name, budget), path)
    (trial,) = expand_command(parse_study(text, path)).trials
    own = {"n_params": n_params, "n_examples": n_examples, **script_axes(trial)}
    decided = [name for name in ("n_steps", "epochs", "train_flops") if name in axes]
    if decided == ["train_flops"]:
        seen = n_seen
    elif "n_steps" in decided:
        seen = own["n_steps"] * length.per_step(study)
    elif decided:
        seen = own["epochs"] * own["n_examples"]
    elif length.passes is not None:
        seen = length.passes * own["n_examples"]
    else:
        raise StudyError(
            f"{study.source}: the runs of its command differ in their passes over the examples, and no "
            "parameter is known to decide them: say in [command.axes] which is epochs, n_steps or train_flops"
        )
    passes = None if decided else length.passes
    return ScriptProposal(text, path, trial, own["n_params"], seen, budget, chosen, passes)


def script_text(
    study: Study, start: Trial, options: Mapping[str, Any], head: Mapping[str, str], path: Path
) -> str:
    """Returns the study file of a command's one run with these parameters, with this name and description."""
    assert start.script is not None, "the run was made by a command"
    values = tomllib.loads(study.text) | dict(head) | {"seeds": [start.seed]}
    for key in ("sampling", "trials"):
        values.pop(key, None)
    command = values["command"]
    command |= {"name": start.script.name, "options": options, "folder": command_folder(study, path)}
    for key in ("space", "constraints"):
        command.pop(key, None)
    return study_text(values, without_heading(study.text))


class _Length(NamedTuple):
    """How long a run trained, as far as it says so.

    Attributes:
        passes: Over its examples, where all runs make as many; one where none says how many.
        step: Examples of a step; `None` where it does not say.
    """

    passes: float | None
    step: float | None

    @classmethod
    def of(cls, start: Trial, runs: pd.DataFrame) -> _Length:
        """Returns that of the run of a trial."""
        own = runs[runs["trial_id"] == start.id].iloc[0].to_dict()
        known = {name: float(own[name]) for name in _SAYS if is_number(own.get(name)) and own[name] > 0}
        step = known.get("batch_size")
        if step is None and {"epochs", "n_examples", "n_steps"} <= known.keys():
            step = known["epochs"] * known["n_examples"] / known["n_steps"]
        told = runs["epochs"].dropna().tolist() if "epochs" in runs else []
        alike = not told or max(told) <= min(told) * (1 + 1e-9)
        return cls((told or [1.0])[0] if alike else None, step)

    def per_step(self, study: Study) -> float:
        """Returns the examples of a step.

        Raises:
            StudyError: The run does not say them.
        """
        if self.step is None:
            raise StudyError(
                f"{study.source}: its n_steps are a parameter, but its runs do not say how many examples a "
                "step has: report epochs, or say in [command.axes] which parameter is batch_size"
            )
        return self.step


def of_script(start: Trial, study: Study) -> Study:
    """Returns a study after making sure that it is of the command that made a run.

    Raises:
        StudyError: It is not: the run was logged by a loop, or the study is another one.
    """
    assert start.script is not None, "the run was made by a script"
    if not start.script.command:
        raise StudyError(
            f"the runs of {start.script.name} were logged by their own loop, so no study says how to make "
            "another one; --write has nothing to start from"
        )
    if study.command is None or study.command.name != start.script.name:
        raise StudyError(
            f"{study.source}: it has no command of the name {start.script.name!r}; give the study of these "
            "runs with --from"
        )
    return study


def _told_by(
    column: str, wanted: float, study: Study, start: Trial, runs: pd.DataFrame
) -> dict[str, int | float]:
    """Returns the value of the one parameter that brings what a command reports near to a number.

    Raises:
        StudyError: None does.
    """
    assert start.script is not None, "the run was made by a command"
    names = [name for name in start.architecture.params if name not in start.script.axes.values()]
    found: dict[str, dict[float, float]] = {}
    for name in names:
        points = _along(name, names, column, start, runs)
        rises = [one for _, one in sorted(points.items())]
        if len(points) > 1 and all(one < other for one, other in itertools.pairwise(rises)):
            found[name] = points
    if not found:
        raise StudyError(
            f"{study.source}: no parameter of the command is known to decide {column}: among the runs that "
            f"agree with the best one in all others, none raises it; say in [command.axes] which parameter "
            f"is {column}, or run more values of one"
        )
    name = max(found, key=lambda one: max(found[one].values()) / min(found[one].values()))
    return {name: _like(start.architecture.params[name], _solve(found[name], wanted), whole=False)}


def _along(name: str, names: list[str], column: str, start: Trial, runs: pd.DataFrame) -> dict[float, float]:
    """Returns by value of a parameter what runs report that have the best run's other parameters."""
    if f"architecture_{name}" not in runs or column not in runs:
        return {}
    alike = runs
    for other in names:
        if other != name and f"architecture_{other}" in runs:
            alike = alike[alike[f"architecture_{other}"] == start.architecture.params[other]]
    points = alike[[f"architecture_{name}", column]].dropna()
    values, told = points[f"architecture_{name}"].tolist(), points[column].tolist()
    if not all(is_number(value) and value > 0 for value in (*values, *told)):
        return {}
    found: dict[float, list[float]] = {}
    for value, one in zip(values, told, strict=True):
        found.setdefault(float(value), []).append(float(one))
    return {value: statistics.median(own) for value, own in found.items()}


def _solve(points: Mapping[float, float], wanted: float) -> float:
    """Returns where a rising function reaches a value: a power between two points, and beyond the ends."""
    known = sorted(points.items())
    at = next((i for i, (_, told) in enumerate(known) if told >= wanted), len(known) - 1)
    (x0, y0), (x1, y1) = known[max(at, 1) - 1], known[max(at, 1)]
    power = math.log(x1 / x0) / math.log(y1 / y0)
    return x0 * math.exp(power * math.log(wanted / y0))


def _like(value: Any, wanted: float, *, whole: bool) -> int | float:
    """Returns a number of the kind that a parameter has."""
    if whole or isinstance(value, int):
        return max(1, round(wanted))
    return float(f"{wanted:.6g}")


def command_folder(study: Study, path: Path) -> str:
    """Returns the command's folder as a new file has to name it.

    Raises:
        InputError: There is no such folder.
    """
    assert study.command is not None, "the study has one"
    asked = Path(study.command.folder)
    if asked.is_absolute() or study.command.folder.startswith("~"):
        return study.command.folder
    there = (study.path.parent if study.path else Path()).absolute() / asked
    if not there.is_dir():
        raise InputError(
            f"{study.source}: command.folder = {study.command.folder!r} is not in {there.parent}; give the "
            "study file itself with --from"
        )
    return place_from(path, there)
