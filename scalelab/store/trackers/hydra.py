"""Folders of Hydra: each job's `.hydra/config.yaml`, and what the job left beside it.

Hydra keeps no results, so those are the job's own: reports that the reader of another tool finds in its
folder, or a file of `_REPORTS`; and a file of final values, of `_RESULTS`. Where other jobs of the source
left final values, a job without them did not come to its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scalelab.store.trackers import keras, lightning, transformers
from scalelab.store.trackers.documents import read_json, read_yaml
from scalelab.store.trackers.folders import (
    Note,
    curves_of,
    folders,
    key_of,
    lines_of,
    noted,
    rows_of,
    text_of,
)  # fmt: skip
from scalelab.store.trackers.found import Cell, Curve, ForeignRun, Opened, Problem, Tracker, flat

_CONFIG, _OVERRIDES = ".hydra/config.yaml", ".hydra/overrides.yaml"
_REPORTS = ("metrics.csv", "metrics.jsonl")
_RESULTS = ("results.json", "result.json", "metrics.json", "summary.json")
_STEPS = ("step", "global_step", "iteration", "epoch")
_OTHERS = (transformers.TRANSFORMERS, lightning.LIGHTNING, keras.KERAS)


def jobs(path: Path) -> list[Path]:
    """Returns the folders of jobs in and below a folder."""
    return [folder for folder, _ in folders(path) if (folder / _CONFIG).is_file()]


def read(key: str, note: Note, job: tuple[Path, bool]) -> ForeignRun:
    """Reads a job, given whether it should have left final values."""
    folder, ends = job
    overrides = folder / _OVERRIDES
    chosen = text_of(overrides).splitlines() if overrides.is_file() else []
    final = _first(folder, _RESULTS)
    curves, values, state = _reported(folder, note)
    if final is not None:
        values |= flat(read_json(final))
    return ForeignRun(
        key,
        name=", ".join(line.removeprefix("- ") for line in chosen) or None,
        state="stopped" if final is None and (ends or not curves) else state,
        params=flat(read_yaml(folder / _CONFIG, "a job of Hydra")),
        values=values,
        curves=curves,
    )


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _reported(folder: Path, note: Note) -> tuple[Mapping[str, Curve], dict[str, Cell], str | None]:
    for tracker in _OTHERS:
        if tracker.recognizes(folder):
            for run in tracker.read(folder, None).runs:
                if isinstance(run, Problem):
                    note(str(run))
                else:
                    return run.curves, dict(run.values), run.state
    path = _first(folder, _REPORTS)
    if path is None:
        return {}, {}, None
    return curves_of((rows_of if path.suffix == ".csv" else lines_of)(path, note), _STEPS), {}, None


def _opened(path: Path) -> Opened:
    found = jobs(path)
    ends = any(_first(folder, _RESULTS) for folder in found)
    return Opened(noted(((key_of(folder, path), (folder, ends)) for folder in found), read))


HYDRA = Tracker(
    name="hydra",
    title="jobs of Hydra",
    recognizes=lambda path: path.is_dir() and bool(jobs(path)),
    read=lambda path, _: _opened(path),
)
