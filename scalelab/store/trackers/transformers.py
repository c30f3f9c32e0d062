"""Output folders of the Trainer of transformers: `trainer_state.json`, there or in the newest checkpoint.

A run is done that has reached `max_steps`, or that its early stopping ended. `training_args.bin` and the
like, which are pickled, are not opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scalelab.store.trackers.documents import read_json
from scalelab.store.trackers.folders import (
    Note,
    curves_of,
    folders,
    key_of,
    n_params_of,
    natural,
    noted,
    settings,
)  # fmt: skip
from scalelab.store.trackers.found import (
    Cell,
    Column,
    ForeignRun,
    Opened,
    Tracker,
    WrongRunError,
    flat,
    picked,
)

STATE = "trainer_state.json"
_COLUMNS = (
    Column("n_steps", "global_step", int, required=True),
    Column("epochs", "epoch", float),
    Column("max_steps", "max_steps", int, required=True),
    Column("batch_size", "train_batch_size", int),
    Column("train_flops", "total_flos", float),
    Column("n_tokens", "num_input_tokens_seen", int),
    Column("trial_name", "trial_name"),
)
_STOPPING = "stateful_callbacks.EarlyStoppingCallback"
_EARLY = (
    Column("patience", f"{_STOPPING}.args.early_stopping_patience", int),
    Column("waited", f"{_STOPPING}.attributes.early_stopping_patience_counter", int),
)
_COUNTS = ("n_steps", "batch_size", "train_flops", "n_tokens")


def states(folder: Path) -> list[Path]:
    """Returns the files of the state of a run in a folder, the newest first."""
    there = sorted(folder.glob(f"checkpoint-*/{STATE}"), key=lambda path: natural(path.parent.name))
    own = folder / STATE
    return [*([own] if own.is_file() else []), *reversed(there)]


def runs(path: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yields the runs in and below a folder with the files of their states."""
    if path.is_file():
        yield path.stem, [path]
        return
    for folder, _ in folders(path):
        if not (folder.name.startswith("checkpoint-") and folder != path) and (found := states(folder)):
            yield key_of(folder, path), found


def read(key: str, note: Note, found: list[Path]) -> ForeignRun:
    """Reads a run from the newest of its states that is whole."""
    for place, path in enumerate(found):
        try:
            return _read(key, path, found, note)
        except WrongRunError as error:
            if place == len(found) - 1:
                raise
            note(f"{error}; an earlier checkpoint was taken")
    raise WrongRunError(f"it has no {STATE}")


def _read(key: str, path: Path, found: list[Path], note: Note) -> ForeignRun:
    state = read_json(path)
    values: dict[str, Any] = picked(state, _COLUMNS)
    early = picked(state, _EARLY)
    history = state.get("log_history")
    if not isinstance(history, list):
        raise WrongRunError(f"{path.name} has no log_history")
    reports = [row for row in history if isinstance(row, Mapping)]
    last = next((row for row in reversed(reports) if "train_runtime" in row), {})
    curves = {
        name: curve
        for name, curve in curves_of((row for row in reports if row is not last), ("step",)).items()
        if not name.endswith(("_runtime", "_per_second")) and name != "epoch"
    }
    stopped_early = early["patience"] is not None and (early["waited"] or 0) >= early["patience"]
    whole = values["n_steps"] >= values["max_steps"] or stopped_early
    trial = state.get("trial_params")
    folder = path.parent
    params: dict[str, Cell] = settings(folder, key) or settings(found[-1].parent, key)
    values |= {name: None for name in _COUNTS if not values[name]}
    n_params = next(filter(None, (n_params_of(state.parent, note) for state in found)), None)
    return ForeignRun(
        key,
        name=values.pop("trial_name"),
        state="finished" if whole else "stopped",
        params=params | (flat(trial) if isinstance(trial, Mapping) else {}),
        values=values | {"wall_seconds": last.get("train_runtime"), "n_params": n_params},
        curves=curves,
    )


TRANSFORMERS = Tracker(
    name="transformers",
    title="output folders of the Trainer of transformers",
    recognizes=lambda path: path.name == STATE if path.is_file() else any(runs(path)),
    read=lambda path, _: Opened(noted(runs(path), read)),
)
