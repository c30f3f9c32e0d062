"""From a file to a `Study`: read, decode, TOML, check; every way to fail ends in one line."""

from __future__ import annotations

import datetime
import json
import math
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from scalelab.errors import StudyError, brief
from scalelab.records import UNSPECIFIED
from scalelab.regular_files import open_regular
from scalelab.study.command import check_command
from scalelab.study.messages import describe, join_keys, one_line
from scalelab.study.model import SWEEP_WARMUP, Study
from scalelab.study.resolve import resolve

if TYPE_CHECKING:
    from scalelab.plugins import Catalog

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_DOTS = 100


def load_study(path: Study | str | Path, catalog: Catalog | None = None) -> Study:
    """Reads a study file.

    Args:
        path: The TOML file; a study is returned as it is.
        catalog: The plugins. With them, every component and option is checked too; without, that happens
            when the study is expanded.

    Raises:
        StudyError: The file cannot be read, or something in it is wrong.
        PluginError: A component is unknown, or its plugin is broken.
    """
    if isinstance(path, Study):
        return path
    path = Path(path)
    shown = one_line(str(path), 300)
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StudyError(f"{shown}: cannot be read: {reason}") from error
    if len(content) > MAX_BYTES:
        raise StudyError(f"{shown}: larger than {MAX_BYTES:,} bytes: not a study file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = content[error.start]
        raise StudyError(f"{shown}: line {line}: byte 0x{byte:02x} is not UTF-8; save it as UTF-8") from error
    return parse_study(text, path, catalog)


def parse_study(text: str, source: str | Path = "study", catalog: Catalog | None = None) -> Study:
    """Reads a study from TOML text.

    Args:
        text: The TOML text.
        source: Where it comes from. A `Path` becomes the study's path, and relative locations are taken from
            its folder; a text only names the source in messages.
        catalog: As in `load_study`.

    Raises:
        StudyError: Something in it is wrong.
        PluginError: A component is unknown, or its plugin is broken.
    """
    try:
        values = _toml(text)
        _require_plain(values)
        for key in ("architecture", "optimizer"):
            if isinstance(values.get(key), dict):  # [architecture] for the only one of [[architecture]]
                values[key] = [values[key]]
        _let_sweeps_warm_up(values)
        _let_commands_be(values)
        # strict: "64" is no number; from JSON: the mode in which strict tuples are made from lists
        study = Study.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        raise StudyError(one_line(f"{source}: {describe(error, Study)}")) from error
    except StudyError as error:
        raise StudyError(one_line(f"{source}: {error}")) from error.__cause__
    study = study.read_from(text, source)
    if study.command is not None:
        check_command(study)
    elif catalog is not None:
        resolve(study, catalog)
    return study


def embedded_study_path() -> Path:
    """Returns the quick-start study that comes with scalelab."""
    return Path(__file__).with_name("quickstart.toml")


def _toml(text: str) -> dict[str, Any]:
    # tomllib takes quadratic time for a key of many parts, and recursion for deep arrays
    if max(piece.count(".") for piece in re.split(r"[=,{}\[\]\n]", text)) > MAX_DOTS:
        raise StudyError(f"a key of more than {MAX_DOTS} parts: nothing in a study is nested that deeply")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise StudyError("nested too deeply for a study file") from error
    except ValueError as error:  # TOMLDecodeError is one; numbers of thousands of digits raise it as well
        message = str(error)
        if message.endswith("(at end of document)"):
            lines = text.split("\n")
            place = f"(at line {len(lines)}, column {len(lines[-1]) + 1}, the end)"
            message = message.replace("(at end of document)", place)
        raise StudyError(f"not TOML: {message}") from error


def _let_sweeps_warm_up(values: dict[str, Any]) -> None:
    """Gives a study that tunes, and does not say how long it warms up, the default of such studies."""
    optimizers, training = values.get("optimizer"), values.setdefault("training", {})
    if isinstance(optimizers, list) and isinstance(training, dict):
        tunes = any(isinstance(one, dict) and one.get("tune") for one in optimizers)
        if tunes:
            training.setdefault("warmup", SWEEP_WARMUP)


def _let_commands_be(values: dict[str, Any]) -> None:
    """Gives a study of a command the names of components that it has none of."""
    command = values.get("command")
    if isinstance(command, list):
        raise StudyError("command: must be one table, [command]")
    if not isinstance(command, dict):
        return
    for key in ("dataset", "data", "architecture", "optimizer", "training", "trainer", "refit"):
        if values.get(key):
            raise StudyError(f"{key}: goes not with [command], which knows its own; make it an option there")
    name = command.setdefault("name", values.get("name", ""))
    nameless = [{"name": UNSPECIFIED}]
    values |= {"dataset": {"name": name or UNSPECIFIED}, "architecture": nameless, "optimizer": nameless}


def _require_plain(value: Any, *path: str | int) -> None:
    """Refuses what TOML can say and a study cannot mean, before anything looks closer at it."""
    if len(path) > MAX_DEPTH:
        raise StudyError(f"{join_keys(*path[:3])}…: nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        for key, item in value.items():
            _require_plain(item, *path, key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _require_plain(item, *path, index)
    elif isinstance(value, float) and not math.isfinite(value):
        raise StudyError(f"{join_keys(*path)} = {value}: must be a finite number")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise StudyError(f"{join_keys(*path)} = {brief(value)}: must fit into 64 bits")
    elif isinstance(value, (datetime.date, datetime.time)):
        raise StudyError(f"{join_keys(*path)} = {value}: a study has no dates; write a string in quotes")
