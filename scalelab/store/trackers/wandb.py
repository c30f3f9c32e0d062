"""Weights & Biases on this machine: the folder `wandb/` with a folder for each start of a run.

All is in a run's log, curves too. Where a folder lacks it, `config.yaml` and `wandb-summary.json` are read. A
run that was resumed has several folders and one id: it is one run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path

from scalelab.regular_files import open_regular, read_regular
from scalelab.store.trackers.documents import read_json, read_yaml
from scalelab.store.trackers.folders import key_of
from scalelab.store.trackers.found import Cell, ForeignRun, Opened, Tracker, WrongRunError, each, flat, number
from scalelab.store.trackers.wandb_log import Log, later, read_log

WHAT = "a folder of Weights & Biases with config.yaml"
_FOLDER = re.compile(r"(?:offline-)?run-(\d{8}_\d{6})-(.+)", re.DOTALL)
_HEAD = 2**16
_NO_PROJECT = "uncategorized"


def _starts(path: Path) -> dict[str, list[Path]]:
    """Returns the folders of each run by its id, those of one run by the time of its start.

    A source may be one of these folders, too, or a log alone.
    """
    if path.is_file():
        return {path.stem.removeprefix("run-"): [path]} if path.suffix == ".wandb" else {}
    own = _FOLDER.fullmatch(path.resolve().name)
    if own:
        return {own[2]: [path]}
    inside = path / "wandb" if (path / "wandb").is_dir() else path
    found: dict[str, list[tuple[str, Path]]] = {}
    for folder in inside.iterdir():
        match = _FOLDER.fullmatch(folder.name)
        if match and folder.is_dir():
            found.setdefault(match[2], []).append((match[1], folder))
    order = sorted(found, key=lambda key: (min(found[key])[0], key))
    return {key: [folder for _, folder in sorted(found[key])] for key in order}


def _log_of(folder: Path) -> Path | None:
    if folder.is_file():
        return folder
    return next((path for path in sorted(folder.glob("*.wandb")) if not path.is_dir()), None)


def _project(folder: Path) -> str | None:
    path = _log_of(folder)
    try:
        if path is None:
            return None
        with open_regular(path) as file:
            return read_log(file.read(_HEAD), until_run=True).told.get("project")
    except (OSError, WrongRunError):
        return None


def _experiments(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for folders in _starts(path).values():
        project = _project(folders[-1])
        if project is not None:
            found[project] = found.get(project, 0) + 1
    return found or {_NO_PROJECT: len(_starts(path))}


def _read(path: Path, experiment: str | None) -> Opened:
    items: Iterator[tuple[str, tuple[str, list[Path]]]] = (
        (key_of(folders[-1], path), (key, folders))
        for key, folders in _starts(path).items()
        if _project(folders[-1]) in (experiment, None)
    )
    return Opened(each(items, lambda item: _run(*item)))


def _run(key: str, folders: list[Path]) -> ForeignRun:
    log = reduce(later, map(_start, folders))
    values: dict[str, Cell] = {
        name: value for name, value in flat(log.summary).items() if not name.startswith("_")
    }
    values |= {name: log.told.get(name) for name in ("group", "job_type")}
    # The summary has whole seconds, and at times of the start alone.
    told = [number(log.summary.get("_runtime")), *(max(c.seconds, default=None) for c in log.curves.values())]
    values["wall_seconds"] = max((seconds for seconds in told if seconds is not None), default=None)
    if not (log.told or log.config or log.summary):
        raise WrongRunError("its log says nothing; the run was cut off as it began")
    state = "running" if log.exit_code is None else "finished" if log.exit_code == 0 else "failed"
    config = {name: value for name, value in log.config.items() if not name.startswith("_")}
    error = "its log ends in the middle of a record" if log.damaged else None
    return ForeignRun(key, log.told.get("name"), state, flat(config), values, log.curves, error)


def _start(folder: Path) -> Log:
    """Returns what one start of a run left."""
    path = _log_of(folder)
    if path is not None and path.stat().st_size:
        return read_log(read_regular(path))
    summary = folder / "files" / "wandb-summary.json"
    config = folder / "files" / "config.yaml"
    log = Log()
    if config.exists():
        log.config = {
            name: told["value"]
            for name, told in read_yaml(config, WHAT).items()
            if isinstance(told, Mapping) and "value" in told
        }
    if summary.exists():
        log.summary, log.exit_code = read_json(summary), 0
    elif not log.config:
        raise WrongRunError("it has neither a log nor a config.yaml; it was not written to its end")
    return log


WANDB = Tracker(
    name="wandb",
    title="a folder of Weights & Biases",
    recognizes=lambda path: bool(_starts(path)),
    read=_read,
    experiments=_experiments,
)
