"""Studies of a command: what is checked of the table `[command]`, and its trials.

A trial is named by the words of the command, its parameters, the seed, and either a `version` or the content
of the files that it names. Its folder, environment and limits are not in it: they say where, not what.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scalelab.cache import file_digest
from scalelab.components import Architecture
from scalelab.constraints import is_number
from scalelab.errors import InputError, StudyError, brief, suggest
from scalelab.records import UNSPECIFIED, ComponentRef, Script, Trial
from scalelab.regular_files import expanded
from scalelab.script_reports import AXES, COUNTS
from scalelab.study.expansion import Expansion, Place, meant
from scalelab.study.messages import join_keys, one_line
from scalelab.study.model import MAX_TRIALS, CommandEntry, Study
from scalelab.study.resolved import Resolved
from scalelab.study.sampling import Points, drawn_points, grid_points
from scalelab.study.validate import ends_of

GIVEN = ("seed", "checkpoint", "record", "python")
"""What a word of a command may name beside its parameters: what each trial has, and scalelab's own Python."""
_NAMES = ("dataset", "architecture", "optimizer")


def check_command(study: Study) -> None:
    """Makes sure that a study's command names what there is.

    Raises:
        StudyError: It does not.
    """
    command = _of(study)
    where = f"{study.source}: command"
    if command.space == "default":
        raise StudyError(
            f"{where}.space = 'default': a command has none; give a dimension for each parameter"
        )
    space, options = command.space, command.options
    for name in (*options, *space):
        if not name.isidentifier() or name in GIVEN:
            why = "each trial has it already; see seeds" if name in GIVEN else "must be a name such as width"
            raise StudyError(one_line(f"{where}: the parameter {brief(name)}: {why}"))
    for name in options.keys() & space.keys():
        raise StudyError(f"{where}.space.{name}: is in options too; a parameter is a constant or varies")
    for name, value in options.items():
        if any(isinstance(one, dict) for one in (value if isinstance(value, list) else [value])):
            raise StudyError(f"{where}.options.{name} = {brief(value)}: must be a number, a text or a list")
    known = {*options, *space}
    for index, word in enumerate(command.run):
        for name in _named(word, f"{where}.run[{index}] = {brief(word)}"):
            if name not in known and name not in GIVEN:
                there = ", ".join(sorted(known)) or "none"
                hint = suggest(name, {*known, *GIVEN})
                raise StudyError(
                    one_line(
                        f"{where}.run[{index}] = {brief(word)}: no parameter {name!r}{hint} (there: {there})"
                    )
                )
    for constraint in command.constraints:
        for name in sorted(constraint.names - known):
            raise StudyError(
                one_line(f"{where}.constraints: {constraint.text!r} names {name!r}, which is no parameter")
            )
    for column, name in command.axes.items():
        if column not in AXES:
            raise StudyError(
                one_line(
                    f"{where}.axes.{column}: no axis{suggest(column, AXES)}; there are {', '.join(AXES)}"
                )
            )
        if name not in known:
            raise StudyError(
                one_line(f"{where}.axes.{column} = {brief(name)}: no parameter{suggest(name, known)}")
            )
    first = {name: dimension.from_unit(0.0) for name, dimension in space.items()}
    for name, dimension in space.items():
        for value in ends_of(dimension).values():
            axes_at(axes_of(command), {**options, **first, name: value}, where)
    axes_at(axes_of(command), {**options, **first}, where)


def _named(word: str, where: str) -> Iterator[str]:
    """Yields the parameters that a word names."""
    try:
        pieces = list(string.Formatter().parse(word))
    except ValueError as error:
        raise StudyError(
            one_line(f"{where}: {error}; write {{{{ for a brace that is none of a name")
        ) from error
    for _, name, form, conversion in pieces:
        if name is not None:
            if form or conversion or not name.isidentifier():
                raise StudyError(one_line(f"{where}: a brace holds the name of a parameter and nothing else"))
            yield name


def axes_of(command: CommandEntry) -> dict[str, str]:
    """Returns by column of `runs` the parameter that gives it: that of its name, unless another is said."""
    space = command.space if isinstance(command.space, dict) else {}
    own = {name: name for name in (*command.options, *space) if name in AXES}
    return own | command.axes


def axes_at(axes: Mapping[str, str], params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Returns the values of axes at a point by column, after making sure that they can be that.

    Raises:
        StudyError: One cannot; the message begins with `where`.
    """
    found = {}
    for column, name in axes.items():
        value = found[column] = params[name]
        if column in _NAMES:
            if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
                raise StudyError(
                    f"{where}: {column} is {name}, which is {brief(value)}; must be a text of one line"
                )
        elif not (is_number(value) and 0 < value < 2**63):
            raise StudyError(
                f"{where}: {column} is {name}, which is {brief(value)}; must be a number above 0"
            )
        elif column in (*COUNTS, "batch_size") and not float(value).is_integer():
            raise StudyError(f"{where}: {column} is {name}, which is {value:g}; must be a whole number")
    return found


def expand_command(study: Study) -> Expansion:
    """Returns the trials of a study of a command, and where they run.

    Raises:
        StudyError: A file is missing, or the study has too many trials or none.
    """
    check_command(study)
    command = _of(study)
    folder = _folder(study, command)
    files = _digests(study, command, folder)
    points = _points(study, command)
    if len(points.points) * len(study.seeds) > MAX_TRIALS:
        raise StudyError(f"{study.source}: more than {MAX_TRIALS:,} trials; take fewer points or seeds")
    script = Script(
        name=command.name,
        command=(Path(command.run[0]).name, *command.run[1:]),
        version=command.version,
        files=files,
        axes=axes_of(command),
    )
    trials: dict[str, Trial] = {}
    for point in points.points:
        params = {**command.options, **point.architecture}
        axes = axes_at(script.axes, params, f"{study.source}: command")
        for seed in study.seeds:
            trial = script_trial(script, params, axes, seed)
            trials.setdefault(trial.id, trial)
    place = Place(
        folder=str(folder),
        program=command.run[0],
        **{name: getattr(command, name) for name in Place.model_fields.keys() - {"folder", "program"}},
    )
    merged = len(points.points) * len(study.seeds) - len(trials)
    return meant(study, Expansion(tuple(trials.values()), {}, points.remarks, merged, place=place))


def _of(study: Study) -> CommandEntry:
    assert study.command is not None, "a study of components is expanded by another"
    return study.command


def _folder(study: Study, command: CommandEntry) -> Path:
    beside = study.path.parent if study.path else Path()
    try:
        folder = (beside / expanded(command.folder)).absolute()
        folder.stat()
    except FileNotFoundError:
        pass
    except (OSError, InputError, ValueError) as error:  # "~someone" where there is no such user
        raise StudyError(one_line(f"{study.source}: command.folder = {command.folder!r}: {error}")) from error
    if not folder.is_dir():
        what = f"command.folder = {brief(command.folder)}"
        raise StudyError(one_line(f"{study.source}: {what}: there is no folder {folder}"))
    return folder


def _digests(study: Study, command: CommandEntry, folder: Path) -> dict[str, str]:
    """Returns digests of the files whose content is part of each trial, by name."""
    names = command.files
    if names is None and command.version is None:
        names = tuple(word for word in command.run if "{" not in word and (folder / word).is_file())
        if not names:
            raise StudyError(
                f"{study.source}: command: nothing says when a changed script makes other trials: name its "
                "files (files = ['train.py']), or give a version and raise it with each change"
            )
    digests = {}
    for index, name in enumerate(names or ()):
        try:
            digests[name] = file_digest(folder / name)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            where = f"{study.source}: {join_keys('command', 'files', index)} = {brief(name)}"
            raise StudyError(one_line(f"{where}: {folder / name} cannot be read: {reason}")) from error
    return digests


def _points(study: Study, command: CommandEntry) -> Points:
    asked = study.sampling
    space = command.space if isinstance(command.space, dict) else {}
    part = Architecture(name=command.name, summary="what a command is given", build=_builds_nothing)
    own = Resolved(part, ("command",), command.options, {}, space, command.constraints, {}, study)
    nothing: Any = Resolved(part, ("command",), {}, {}, {}, (), {}, study)
    if asked.method in ("random", "sobol"):
        assert asked.n is not None, "the model of [sampling] sees to it"
        return drawn_points(nothing, own, (), asked.method, asked.n, asked.seed)
    return grid_points(nothing, own, (), asked.n)


def _builds_nothing(*_: object) -> Any:
    raise AssertionError("a command trains by itself")


def script_trial(script: Script, params: dict[str, Any], axes: Mapping[str, Any], seed: int) -> Trial:
    """Returns a trial of a script.

    Args:
        script: The script.
        params: All of its parameters, by name.
        axes: Values of those that are columns, by column.
        seed: Its seed.
    """
    return Trial(
        dataset=ComponentRef(name=axes.get("dataset", script.name)),
        fingerprint="",
        architecture=ComponentRef(name=axes.get("architecture", UNSPECIFIED), params=params),
        optimizer=ComponentRef(name=axes.get("optimizer", UNSPECIFIED)),
        n_examples=int(axes.get("n_examples", 0)),
        seed=seed,
        script=script,
    )
