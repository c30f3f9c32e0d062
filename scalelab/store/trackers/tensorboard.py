"""Event files of TensorBoard, read with the package `tensorboard`: a folder of them is a run.

Several files of a folder are one run, resumed; what a resume starts anew at a step is replaced. Folders
`train` and `validation`, as Keras writes them, are of the run above them. Event files say nothing of how a
run ended, but for a failure that the plugin of hyperparameters notes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalelab.regular_files import open_regular
from scalelab.store.trackers.folders import Note, folders, key_of, noted, settings
from scalelab.store.trackers.found import Cell, Curve, ForeignRun, Opened, Tracker, WrongRunError, needs

_EVENTS = ".tfevents."
_PARTS = ("train", "validation", "val", "valid", "eval", "test")
_TIME = re.compile(r"[0-9]{9,}\.[0-9]+")
_FAILED = 2
_START = 1
_FRAME = 16
"""Bytes around a record: its length, and two checksums."""


@dataclass
class Told:
    """What event files tell of a run: reports by tag and step, with times; hyperparameters; a failure."""

    reports: dict[str, dict[int, tuple[float, float]]] = field(default_factory=dict)
    params: dict[str, Cell] = field(default_factory=dict)
    began: float = float("inf")
    failed: bool = False

    def restart(self, step: int) -> None:
        """Forgets what was reported at a step and later, for it is done again."""
        for tag, points in self.reports.items():
            self.reports[tag] = {at: told for at, told in points.items() if at < step}


def runs(path: Path) -> Iterator[tuple[str, list[tuple[str, Path]]]]:
    """Yields the runs of a source: their event files, each with what goes before the names of its metrics."""
    if path.is_file():
        yield path.resolve().parent.name, [("", path)]
        return
    found: dict[Path, list[tuple[str, Path]]] = {}
    for folder, files in folders(path):
        events = [folder / name for name in files if _EVENTS in name]
        if not events:
            continue
        run, before = folder, ""
        if folder != path and folder.name in _PARTS:
            run, before = folder.parent, f"{folder.name}/"
        elif folder.parent in found and _TIME.fullmatch(folder.name):  # made by add_hparams of PyTorch
            run = folder.parent
        found.setdefault(run, []).extend((before, file) for file in sorted(events, key=_began))
    yield from ((key_of(run, path), files) for run, files in found.items())


def _began(file: Path) -> tuple[str, str]:
    # The seconds since the epoch follow, and have ten digits until the year 2286.
    return file.name.partition(_EVENTS)[2], file.name


def read(key: str, note: Note, files: list[tuple[str, Path]]) -> ForeignRun:
    """Reads a run."""
    told = Told()
    for before, file in files:
        n_whole, whole = _records(file)
        n_read = _take(told, before, file)
        if n_read < n_whole or not whole:
            note(f"{file.name} is torn or damaged after {n_read} events; what goes before was read")
    if not any(told.reports.values()):
        raise WrongRunError("its event files hold no scalars")
    folder = files[0][1].parent
    last = max(step for points in told.reports.values() for step in points)
    curves = {tag: _curve(points, told.began) for tag, points in told.reports.items() if points}
    end = max(time for points in told.reports.values() for _, time in points.values())
    return ForeignRun(
        key,
        state="failed" if told.failed else None,
        params=told.params or settings(folder, key),
        values={"last_step": last, "wall_seconds": max(end - told.began, 0.0)},
        curves=curves,
    )


def _curve(points: dict[int, tuple[float, float]], began: float) -> Curve:
    curve = Curve()
    for step, (value, time) in sorted(points.items()):
        curve.add(step, value, max(time - began, 0.0))
    return curve


def _records(file: Path) -> tuple[int, bool]:
    """Returns how many records a file has, by their lengths, and whether it ends with one."""
    n_records, at = 0, 0
    with open_regular(file) as events:
        size = events.seek(0, 2)
        while at + _FRAME <= size:
            events.seek(at)
            at += struct.unpack("<Q", events.read(8))[0] + _FRAME
            n_records += at <= size
    return n_records, at == size


def _take(told: Told, before: str, file: Path) -> int:
    """Reads the events of a file, to the first one that is torn; returns how many."""
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
        from tensorboard.util.tensor_util import make_ndarray
    except ImportError as error:
        raise needs("tensorboard", "reading event files", "tensorboard") from error
    n_events = 0
    try:
        for event in EventFileLoader(str(file)).Load():
            n_events += 1
            if event.HasField("session_log") and event.session_log.status == _START and event.step > 0:
                told.restart(event.step)
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "hparams":
                    _choices(told, HParamsPluginData.FromString(value.metadata.plugin_data.content))
                elif value.HasField("tensor") and value.tensor.dtype in (1, 2):  # floats, of 32 or 64 bits
                    numbers = make_ndarray(value.tensor)
                    if numbers.size == 1:
                        told.began = min(told.began, event.wall_time)
                        points = told.reports.setdefault(before + value.tag, {})
                        points[event.step] = float(numbers.reshape(())), event.wall_time
    except Exception:  # of protobuf: the checksum is right, and the content is no event
        n_events -= 1
    return n_events


def _choices(told: Told, noted: Any) -> None:
    for name, value in noted.session_start_info.hparams.items():
        kind = value.WhichOneof("kind")
        found = None if kind in (None, "null_value") else getattr(value, kind)
        told.params[name] = found if isinstance(found, (str, bool, int, float)) else None
    told.failed = told.failed or noted.session_end_info.status == _FAILED


TENSORBOARD = Tracker(
    name="tensorboard",
    title="event files of TensorBoard",
    recognizes=lambda path: _EVENTS in path.name if path.is_file() else any(runs(path)),
    read=lambda path, _: Opened(noted(runs(path), read)),
)
