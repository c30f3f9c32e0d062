"""Checkpoints: everything that a run needs to go on as if it had never stopped; and weights to keep.

Trade-off: one file, replaced by a rename, so that there is a whole checkpoint or none at any moment; the
cost is that both the old and the new one are on disk for a while. A file that cannot be used is set aside,
never deleted, and training starts over: a lost checkpoint costs time, a wrong one would cost the result.
"""

from __future__ import annotations

import os
import random
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 - only the training loop imports this module
from torch import nn  # noqa: TID253

from scalelab.errors import ScalelabWarning, TrainingError, is_disk_full
from scalelab.permissions import make_folder, share
from scalelab.records import Calibration, CurvePoint

FORMAT, WEIGHTS_FORMAT = 5, 2
_PLACE = (
    "step",
    "evaluations",
    "loss_sum",
    "loss_count",
    "wall_seconds",
    "validation_seconds",
    "kept",
    "averaged",
)
"""The fields of a position that a checkpoint has as they are."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where in its run a checkpoint was taken.

    Attributes:
        step: Optimizer steps taken.
        curve: The curve so far; the best step follows from it.
        evaluations: Gradients evaluated, one a step without a closure.
        loss_sum: Sum of the training losses since the curve's last point.
        loss_count: Number of losses in that sum.
        wall_seconds: Time in the loop so far.
        validation_seconds: The part of it that validation took.
        kept: Weights of the steps that may be the best, by step.
        averaged: The state of the average of the weights, empty without one.
        own: What a trainer of a plugin keeps.
        calibrations: Calibrations of the steps that may be the best, by step.
    """

    step: int = 0
    curve: tuple[CurvePoint, ...] = ()
    evaluations: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    wall_seconds: float = 0.0
    validation_seconds: float = 0.0
    kept: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    averaged: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)
    calibrations: Mapping[int, Calibration | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The checkpoint of one run, and all that it keeps.

    Attributes:
        path: The file.
        trial_id: What is trained; a file of another trial is not used.
        module: Saved, and restored in place, as the optimizer and the generators are.
        optimizer: Over the module's parameters.
        augment_generator: What augmentations draw from; torch's, NumPy's and Python's own generators are kept
            beside it.
    """

    path: Path
    trial_id: str
    module: nn.Module
    optimizer: torch.optim.Optimizer
    augment_generator: torch.Generator

    def save(self, position: Position) -> None:
        """Writes a checkpoint whole or not at all: a temporary file, fsync, rename.

        A disk that is full (or any other refusal of the system) is a warning: training can go on without.
        """
        state = {
            "format": FORMAT,
            "trial_id": self.trial_id,
            **{name: getattr(position, name) for name in _PLACE},
            **({"own": dict(position.own)} if position.own else {}),
            "curve": [point.model_dump() for point in position.curve],
            "calibrations": {step: one and one.model_dump() for step, one in position.calibrations.items()},
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": _random_state(self.augment_generator),
        }
        try:
            _write_whole(self.path, state)
        except (OSError, RuntimeError) as error:  # torch reports a failed write as a RuntimeError
            said = f"checkpoint {self.path} could not be written ({_why(error)}); training goes on"
            warnings.warn(said, ScalelabWarning, stacklevel=2)

    def load(self) -> Position:
        """Restores module, optimizer and random generators, and returns where the checkpoint was taken.

        Where there is none, nothing changes and the position is that of a fresh start. Where the file is
        damaged, of another trial or of another format, it is renamed to end in `.set-aside`, with a warning,
        and the position is that of a fresh start too; module and optimizer are as they were, random
        generators perhaps not.
        """
        path = self.path
        if not path.exists():
            return Position()
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            _check(state, FORMAT, self.trial_id, self.module)
            curve = tuple(CurvePoint(**point) for point in state["curve"])
            calibrations = {step: one and Calibration(**one) for step, one in state["calibrations"].items()}
            place = {name: state[name] for name in _PLACE}
            position = Position(curve=curve, calibrations=calibrations, own=state.get("own", {}), **place)
            _restore_random_state(state["random"], self.augment_generator)
            self.optimizer.load_state_dict(state["optimizer"])  # checks its groups before it changes anything
            self.module.load_state_dict(state["module"])
        except Exception as error:  # a damaged pickle can raise anything
            aside = path.with_name(path.name + ".set-aside")
            os.replace(path, aside)
            said = f"checkpoint {path} cannot be used ({_reason(error)}); kept as {aside.name}"
            warnings.warn(f"{said}, training starts over", ScalelabWarning, stacklevel=2)
            return Position()
        return position


def _why(error: Exception) -> str:
    """Returns why a file could not be written; torch reports a full disk as a wrong position."""
    return "disk full" if is_disk_full(error) else str(error)


def _write_whole(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a file whole or not at all."""
    make_folder(path.parent)
    descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        share(Path(part))
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def save_weights(path: Path, trial_id: str, module: nn.Module, best: Mapping[str, Any] | None = None) -> None:
    """Keeps weights and buffers of the best step and of the last, on the CPU, whole or not at all.

    Args:
        path: The file.
        trial_id: What was trained.
        module: With the weights of the last step.
        best: The weights of the best step; by default those of the last.

    Raises:
        TrainingError: The file cannot be written.
    """
    last = _on_cpu(module.state_dict())
    state = {"module": last if best is None else _on_cpu(best), "last": last}
    try:
        _write_whole(path, {"format": WEIGHTS_FORMAT, "trial_id": trial_id, **state})
    except (OSError, RuntimeError) as error:
        message = f"weights cannot be kept in {path}: {_why(error)}; free some space and run again"
        raise TrainingError(message) from error


def load_weights(path: Path, trial_id: str, module: nn.Module) -> None:
    """Gives a module the weights of the best step that `save_weights` kept.

    Raises:
        TrainingError: The file cannot be read, or its weights are another trial's or another network's.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        _check(state, WEIGHTS_FORMAT, trial_id, module)
        module.load_state_dict(state["module"])
    except Exception as error:  # a damaged pickle can raise anything
        message = f"weights {path} cannot be used: {_reason(error)}; remove the file to continue without it"
        raise TrainingError(message) from error


def _on_cpu(weights: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.detach().cpu() for name, value in weights.items()}


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check(state: Any, expected: int, trial_id: str, module: nn.Module) -> None:
    """Refuses a state before anything is restored from it, since a half-restored module would be worse."""
    if not isinstance(state, dict) or state.get("format") != expected:
        raise ValueError("its format is not that of this version of scalelab")
    if state["trial_id"] != trial_id:
        raise ValueError(f"it belongs to trial {state['trial_id']}, not {trial_id}")
    here = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    there = {name: tuple(value.shape) for name, value in state["module"].items()}
    if here != there:
        raise ValueError("its parameters are not those of this model")


def _random_state(augment_generator: torch.Generator) -> dict[str, Any]:
    kind, keys, *place = np.random.get_state(legacy=True)  # noqa: NPY002 - for models that use it
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *place),
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
        "augment": augment_generator.get_state(),
    }


def _restore_random_state(state: Mapping[str, Any], augment_generator: torch.Generator) -> None:
    augment_generator.set_state(state["augment"])
    random.setstate(state["python"])
    kind, keys, *place = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *place))  # noqa: NPY002
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    if state["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])
