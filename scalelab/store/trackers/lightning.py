"""Folders of Lightning's CSVLogger: `lightning_logs/version_*/` with `metrics.csv` and `hparams.yaml`.

They say nothing of how a run ended. A run that is resumed goes on in a version of its own, with the same
hyperparameters and with epochs that do not begin at the first one; both are one run here.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from scalelab.store.trackers.folders import (
    Note,
    curves_of,
    folders,
    key_of,
    noted,
    rows_of,
    settings,
    start_of,
)
from scalelab.store.trackers.found import ForeignRun, Opened, Tracker, WrongRunError, number

_METRICS, _HPARAMS = "metrics.csv", "hparams.yaml"


def is_version(folder: Path, files: Iterable[str]) -> bool:
    """Returns whether a folder of these files is one of a CSVLogger, or its reports alone."""
    there = set(files)
    return _METRICS in there and (_HPARAMS in there or {"epoch", "step"} <= set(_names(folder / _METRICS)[0]))


def _names(metrics: Path) -> tuple[list[str], list[str]]:
    """Returns the columns of a file of reports, and the first one."""
    names, values = [*start_of(metrics).decode("utf-8", "replace").splitlines(), "", ""][:2]
    return names.split(","), values.split(",")


def runs(path: Path) -> list[tuple[str, list[Path]]]:
    """Returns the versions in and below a folder; those that are one run together."""
    found: list[list[Path]] = []
    last: dict[tuple[Path, bytes], list[Path]] = {}
    if path.is_file():
        return [(path.resolve().parent.name, [path.parent])]
    for folder, files in folders(path):
        if not is_version(folder, files):
            continue
        alike = folder.parent, start_of(folder / _HPARAMS, 2**20)
        if alike in last and _goes_on(folder):
            last[alike].append(folder)
        else:
            last[alike] = [folder]
            found.append(last[alike])
    return [(key_of(parts[0], path), parts) for parts in found]


def _goes_on(folder: Path) -> bool:
    """Returns whether a version's first report is of another epoch than the first."""
    row = dict(zip(*_names(folder / _METRICS), strict=False))
    return (number(row.get("epoch")) or 0) > 0


def read(key: str, note: Note, parts: list[Path]) -> ForeignRun:
    """Reads a run of one or more versions."""
    rows = list(chain.from_iterable(rows_of(part / _METRICS, note) for part in parts))
    curves = curves_of(rows, ("step",))
    if not curves:
        raise WrongRunError("metrics.csv has no reports")
    epochs = curves.pop("epoch", None)
    values = {
        "epochs": None if epochs is None else epochs.values[-1] + 1,
        "n_steps": 1 + max(curve.steps[-1] for curve in curves.values()) if curves else None,
    }
    return ForeignRun(key, curves=curves, params=settings(parts[0], key), values=values)


def _recognizes(path: Path) -> bool:
    if path.is_file():
        beside = [name for name in (_METRICS, _HPARAMS) if (path.parent / name).is_file()]
        return path.name == _METRICS and is_version(path.parent, beside)
    return any(is_version(folder, files) for folder, files in folders(path))


LIGHTNING = Tracker(
    name="lightning",
    title="folders of Lightning's CSVLogger",
    recognizes=_recognizes,
    read=lambda path, _: Opened(noted(runs(path), read)),
)
