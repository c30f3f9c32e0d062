"""What the training loop tells while it runs, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from scalelab.records import Calibration, CurvePoint, Direction, Measured
from scalelab.train.device import Precision


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: Optimizer steps taken.
        n_steps: Optimizer steps there will be.
        loss: Mean training loss since the last validation.
        objective: The best objective so far, `None` before the first validation.
        examples_per_second: Training examples per second since the last report, validation included.
    """

    step: int
    n_steps: int
    loss: float
    objective: float | None
    examples_per_second: float


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

    status: Literal["done", "diverged", "interrupted"]
    error: str | None = None
    curve: tuple[CurvePoint, ...]
    n_steps: int
    train_flops: float
    epochs: float
    n_windows: int | None = None
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
    precision: Precision
    device: str
    wall_seconds: float
    validation_seconds: float = 0.0
    peak_memory_bytes: int | None = None
    resumed_from: int = 0


def objective_at(point: CurvePoint, name: str) -> float | None:
    """Returns the objective of a curve's point: a metric by name, or `"loss"`."""
    return point.loss if name == "loss" else point.metrics.get(name)


def best_point(curve: Sequence[CurvePoint], name: str, direction: Direction) -> CurvePoint | None:
    """Returns the point with the best objective, the earliest of equals; `None` where none is defined."""
    sign = 1.0 if direction == "minimize" else -1.0
    best, best_value = None, float("inf")
    for point in curve:
        value = objective_at(point, name)
        if value is not None and sign * value < best_value:
            best, best_value = point, sign * value
    return best
