"""How a module is trained: what a trainer of a plugin is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scalelab.components import OpenDataset
from scalelab.params import NoParams, Params
from scalelab.records import DEFAULT_TRAINER, Calibration, ComponentRef, CurvePoint, Measured, Trial

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

Ended = Literal["done", "diverged", "interrupted"]
ComponentKind = Literal["dataset", "architecture", "optimizer", "trainer"]


def components_of(trial: Trial) -> dict[ComponentKind, ComponentRef]:
    """Returns what plugins provide of a trial, by kind: of a script nothing, and not scalelab's own loop."""
    if trial.script is not None:
        return {}
    found: dict[ComponentKind, ComponentRef] = {
        "dataset": trial.dataset,
        "architecture": trial.architecture,
        "optimizer": trial.optimizer,
    }
    return found if trial.trainer == DEFAULT_TRAINER else {**found, "trainer": trial.trainer}


@dataclass(frozen=True, slots=True)
class Score:
    """Loss and metrics of a module.

    Attributes:
        loss: Mean over the examples.
        metrics: By name; empty where the loss is not finite.
        n_examples: Examples that they were measured on.
        calibration: Of a classifier on these.
    """

    loss: float
    metrics: dict[str, Measured]
    n_examples: int
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """How a run ended; the fields of a `scalelab.Record` of the same names.

    Attributes:
        status: `"done"`, `"diverged"` (a loss was not finite) or `"interrupted"` (asked to stop).
        error: One line on a divergence.
        curve: One point a validation.
        n_steps: Optimizer steps taken, those before a resume included.
        train_flops: Forward and backward FLOPs of all gradients evaluated, one a step without a closure.
        epochs: Passes over the trial's examples, all of their windows where an epoch draws them all.
        n_windows: Windows of the trial's examples; `None` where every example is one row of the inputs.
        n_available: Training examples that the dataset has, of which the trial's are a subset.
        loss: The lowest validation loss of the points that have the whole split; those are the last of a run
            that is done, and what was best on the curve's part of the split.
        loss_last: The validation loss of the last point.
        objective: The best objective of those points.
        objective_last: The objective of the last point.
        best_step: The step of the best objective, the earliest of equals.
        metrics: Validation metrics at that step.
        n_validated: Validation examples that they were measured on: the whole split.
        constant_loss: Loss of the best constant answer to it, see `scalelab.constant_loss`.
        test_loss: Loss on the test split of the weights of `best_step`; `None` where the dataset has no such
            split, and for a run that is not done.
        test_objective: Their objective there.
        test_metrics: Their metrics there.
        n_tested: Test examples that these were measured on.
        calibration: Of their probabilities, by split (`"validation"`, `"test"`); `None` where the model is no
            classifier.
        best_weights: The weights of `best_step`; `None` where that is the last step, whose the module has.
        precision: `"fp32"` or `"bf16"`, as used.
        device: Such as `"cpu"` or `"cuda:0"`, as used.
        wall_seconds: Time in the loop, validation and time before a resume included.
        validation_seconds: The part of it that validation took.
        peak_memory_bytes: Highest memory in use: of the device on CUDA, else resident memory of the process.
        resumed_from: The step of the checkpoint this began from, 0 for a fresh start.
    """

    status: Ended
    error: str | None = None
    curve: tuple[CurvePoint, ...]
    n_steps: int
    train_flops: float
    epochs: float
    n_windows: int | None = None
    n_available: int | None = None
    loss: float | None = None
    loss_last: float | None = None
    objective: float | None = None
    objective_last: float | None = None
    best_step: int | None = None
    metrics: dict[str, Measured] = field(default_factory=dict)
    n_validated: int | None = None
    constant_loss: float | None = None
    test_loss: float | None = None
    test_objective: float | None = None
    test_metrics: dict[str, Measured] = field(default_factory=dict)
    n_tested: int | None = None
    calibration: Mapping[Literal["validation", "test"], Calibration] | None = None
    best_weights: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    precision: Literal["fp32", "bf16"]
    device: str
    wall_seconds: float
    validation_seconds: float = 0.0
    peak_memory_bytes: int | None = None
    resumed_from: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerRun:
    """One run that a trainer is to make.

    A trainer trains `module` in place, calls `report` at the steps of `validations`, and returns what
    `result` makes of that: the curve, the best weights, validation and the test are kept and measured by
    scalelab, so that the numbers of different trainers compare. Steps count from 1.

    Attributes:
        trial: What is trained: its seed, and `training` with all its options.
        data: The dataset, without its test split, which nothing may be chosen by.
        examples: Which examples of `data.train` the trial trains on, in the order of their permutation.
        module: The model, freshly initialized, on the device.
        optimizer: Over its parameters; the learning rates of its groups are the peak rates.
        closure: Whether its `step` takes a closure, see `scalelab.Optimizer`.
        evaluations: Gradients that a step of it evaluates at most.
        n_steps: Optimizer steps that the trial asks for.
        validations: The steps after which to report, the last at the end.
        device: Such as `"cpu"` or `"cuda:0"`.
        precision: What to compute in: `"fp32"`, or `"bf16"` for autocast.
        flops: Forward and backward FLOPs of one training example.
        checkpoint: The file that `save` writes, which goes with the trial from machine to machine and is
            removed when it is done; `None` where nothing is kept.
        batch: `batch(step) -> (inputs, targets)`: the examples of a step as the bundled loop draws them,
            prepared or augmented, on the device. A function of seed and step, whatever was asked before.
        begin: `begin(step)`: to be called before each step: gives the optimizer the learning rates of the
            schedule, and seeds torch's, NumPy's and Python's generators, so that a resumed run draws as one
            in one go.
        loss: `loss(outputs, targets)`: the training loss, with the weights of classes that are asked for.
        resume: `resume() -> (step, state)`: gives module and optimizer what `save` kept, and returns after
            how many steps that was, with the trainer's own state; `(0, {})` for a fresh start.
        save: `save(step, state)`: keeps module, optimizer, the curve and `state`, a mapping of tensors,
            numbers, texts and lists. May be called after every step: it writes once a minute, and always
            once `should_stop` said so.
        report: `report(step, train_loss) -> Score`: validates the module as it is and adds a point to the
            curve. A loss of the score that is not finite says that the run diverged. `n_seen=` and
            `train_flops=` are by default those of the trial's batches.
        progress: `progress(step, train_loss)`: shows how far it is, as often as one likes. A worker that
            neither does so nor begins a step for 15 minutes counts as hung.
        should_stop: Asked before every step; true asks to `save` and to end as `"interrupted"`.
        result: `result(status, n_steps) -> TrainResult`: what is to be returned. `error=` is a line on a
            divergence; `n_seen=` and `train_flops=` are as in `report`.
    """

    trial: Trial
    data: OpenDataset
    examples: np.ndarray
    module: nn.Module
    optimizer: torch.optim.Optimizer
    closure: Literal["whole", "after"] | None
    evaluations: int
    n_steps: int
    validations: tuple[int, ...]
    device: str
    precision: Literal["fp32", "bf16"]
    flops: float
    checkpoint: Path | None
    batch: Callable[[int], tuple[torch.Tensor, torch.Tensor]]
    begin: Callable[[int], None]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    resume: Callable[[], tuple[int, Mapping[str, Any]]]
    save: Callable[..., None]
    report: Callable[..., Score]
    progress: Callable[[int, float | None], None]
    should_stop: Callable[[], bool]
    result: Callable[..., TrainResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """A way to train a module on a dataset.

    Attributes:
        name: What a study file calls it.
        summary: One line for listings.
        train: `train(params, run) -> TrainResult`: makes a run; see `TrainerRun`.
        params: The model of its options.
        ignores: Options of `[training]` that it does not heed: a study that sets one is refused.
        exact: Whether a run that was stopped and resumed ends as one in one go, bit for bit.
        version: Raised when the same options train otherwise; part of a trial's identity.
    """

    name: str
    summary: str
    train: Callable[[Any, TrainerRun], TrainResult]
    params: type[Params] = NoParams
    ignores: tuple[str, ...] = ("ema",)
    exact: bool = True
    version: int = 1
