"""All trackers there are, in the order in which a source is asked whether it is one of theirs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from scalelab.errors import InputError, suggest
from scalelab.store.trackers.folders import natural
from scalelab.store.trackers.found import Tracker
from scalelab.store.trackers.hydra import HYDRA
from scalelab.store.trackers.keras import KERAS
from scalelab.store.trackers.lightning import LIGHTNING
from scalelab.store.trackers.mlflow import MLFLOW, MLFLOW_SQLITE
from scalelab.store.trackers.optuna import OPTUNA, OPTUNA_JOURNAL
from scalelab.store.trackers.ray_tune import RAY_TUNE
from scalelab.store.trackers.tensorboard import TENSORBOARD
from scalelab.store.trackers.trackio import TRACKIO
from scalelab.store.trackers.transformers import TRANSFORMERS
from scalelab.store.trackers.wandb import WANDB
from scalelab.store.trackers.wandb_chart import WANDB_CHART

TRACKERS: tuple[Tracker, ...] = (
    OPTUNA, OPTUNA_JOURNAL, MLFLOW, MLFLOW_SQLITE, WANDB, WANDB_CHART, TRACKIO,
    RAY_TUNE, HYDRA, TRANSFORMERS, LIGHTNING, TENSORBOARD, KERAS,
)  # fmt: skip


_FILES = (OPTUNA, OPTUNA_JOURNAL, MLFLOW_SQLITE)
"""Trackers whose file may lie beside the folders of others."""


def tracker_of(path: Path, kind: str | None) -> Tracker | None:
    """Returns the tracker that wrote a source; `None` where it is a table.

    Raises:
        InputError: No tracker has the name that was given, the source is another one's, or it is a folder
            of none of them, or of several.
    """
    names = [tracker.name for tracker in TRACKERS]
    if kind == "table":
        return None
    if kind is not None and kind not in names:
        hint = suggest(kind, names) or ";"
        raise InputError(f"kind {kind!r}{hint} there are table, {', '.join(names)}")
    asked = None if kind is None else TRACKERS[names.index(kind)]
    if not (path.is_file() or path.is_dir()) or (asked is not None and _wrote(asked, path)):  # a pipe, say
        return asked
    found = next((tracker for tracker in TRACKERS if _wrote(tracker, path)), None)
    if asked is not None and found is not None and not (path.is_dir() and asked in _FILES):
        raise InputError(f"{path} is not {asked.title}, but {found.title}: --kind {found.name}, or none")
    return asked or (_of_folder(path, found) if path.is_dir() else found)


def _wrote(tracker: Tracker, path: Path) -> bool:
    try:
        return tracker.recognizes(path)
    except OSError:
        return False


def _of_folder(path: Path, found: Tracker | None) -> Tracker:
    """Returns the tracker of a folder, which is that of itself, or the only one of what is directly in it."""
    seen: dict[str, tuple[Tracker, Path]] = {}
    for below in sorted(path.iterdir(), key=lambda below: natural(below.name)):
        if not below.name.startswith("."):
            with suppress(InputError):  # what cannot be read is no reason to refuse what can
                known = TRACKERS if below.is_dir() else _FILES
                own = next((tracker for tracker in known if _wrote(tracker, below)), None)
                if own is not None:
                    seen.setdefault(own.name, (own, below))
    if found is TRANSFORMERS:
        seen.pop(TENSORBOARD.name, None)  # the Trainer's own, beside its checkpoints
    if found is not None and (found.name not in seen or len(seen) == 1):
        return found
    if seen:
        shown = ", ".join(f"{below.name} ({tracker.title})" for tracker, below in seen.values())
        _, below = next(iter(seen.values()))
        kind = f", or say which with --kind {found.name}" if found is not None else ""
        raise InputError(f"{path} is a folder with {shown}; import one of these, such as {below}{kind}")
    titles = ", ".join(tracker.title for tracker in TRACKERS)
    raise InputError(
        f"{path} is a folder in which no tracker's runs were recognized (known: {titles}); name the file "
        "of a table, or say what it is with --kind"
    )
