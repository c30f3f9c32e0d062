"""What is kept of a run while it trains: its curve, the best weights, and what they reach."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch  # noqa: TID253 - only what trains imports this module
from torch import nn  # noqa: TID253

from scalelab.components import OpenDataset
from scalelab.reached import best_point, objective_at
from scalelab.records import CurvePoint, Trial
from scalelab.schedules import Validations, tested_examples
from scalelab.subsets import windows_of_subset, windows_per_example
from scalelab.train.checkpoint import Position
from scalelab.train.device import PeakMemory, Precision
from scalelab.train.losses import constant_loss
from scalelab.train.metrics import objective_of
from scalelab.train.validation import Contenders, Validator, measured, on_splits
from scalelab.trainers import Ended, Score, TrainResult


class Keeper:
    """Keeps the curve of a run and the weights that may be its best, and measures what they reach.

    Args:
        trial: What is trained.
        data: The dataset.
        device: Where the module is.
        precision: What it computes in.
        n_steps: Optimizer steps of the run.
    """

    def __init__(
        self, trial: Trial, data: OpenDataset, device: torch.device, precision: Precision, n_steps: int
    ) -> None:
        self._trial, self._data, self._device, self._precision = trial, data, device, precision
        self._n_steps = n_steps
        self._memory = PeakMemory(device)
        self.objective, self.direction = objective_of(data.task, trial.training.objective)
        passes = windows_per_example(data.validation)
        self.validations = Validations.of(trial.training, n_steps, len(data.validation), passes)
        batch = trial.training.batch_size
        part = self.validations.examples
        self._validator = Validator(data, data.validation, part, batch, device, precision)
        self.take_up(Position())

    def take_up(self, position: Position) -> None:
        """Begins where a checkpoint was taken."""
        self._resumed_from = position.step
        self.curve = list(position.curve)
        self.contenders = Contenders(self.objective, self.direction, position.kept, position.calibrations)
        self.validation_seconds = position.validation_seconds
        self._began = time.perf_counter() - position.wall_seconds

    def position(self, step: int, **rest: Any) -> Position:
        """Returns where the run stands; `rest` are the fields that are a trainer's own."""
        return Position(
            step=step,
            curve=tuple(self.curve),
            wall_seconds=self.seconds(),
            validation_seconds=self.validation_seconds,
            kept=self.contenders.kept,
            calibrations=self.contenders.calibrations,
            **rest,
        )

    def add(
        self, module: nn.Module, step: int, train_loss: float | None, *, n_seen: int, flops: float, lr: float
    ) -> Score:
        """Measures a module and adds a point to the curve, unless its loss is not finite.

        Args:
            module: What is scored.
            step: Steps taken.
            train_loss: Mean training loss since the last point, where it is known.
            n_seen: Training examples seen, repeats counted.
            flops: FLOPs of the training so far.
            lr: The learning rate.

        Raises:
            DataError: The loss is not finite because the data are not.
        """
        began = time.perf_counter()
        if step == self._n_steps:
            score, compared = self._validator.whole(module)
        else:
            score = compared = self._validator.part(module)
        self.validation_seconds += time.perf_counter() - began
        if not math.isfinite(score.loss):
            self._validator.refuse_data()
            return score
        point = CurvePoint(
            step=step,
            n_seen=n_seen,
            train_flops=flops,
            wall_seconds=self.seconds(),
            lr=lr,
            train_loss=train_loss,
            loss=score.loss,
            metrics=score.metrics,
            n_validated=score.n_examples,
        )
        self.curve.append(point)
        self.contenders.calibrations[step] = score.calibration
        if step == self._n_steps:
            self._settle([*self.curve[:-1], measured(point, compared)], module)
        else:
            self.contenders.keep(self.curve, module)
        return score

    def result(
        self, status: Ended, module: nn.Module, step: int, error: str | None, *, flops: float, epochs: float
    ) -> TrainResult:
        """Returns the outcome of the run after `step` steps; the arguments are as in `add`."""
        if status == "diverged":
            self._settle(self.curve, module)
        whole = [point for point in self.curve if point.n_validated == len(self._data.validation)]
        losses = [point.loss for point in whole if point.loss is not None]
        best = best_point(whole, self.objective, self.direction)
        last = self.curve[-1] if self.curve else None
        trial, data = self._trial, self._data
        calibration = self.contenders.calibrations.get(best.step) if best else None
        tested = None
        if status == "done" and best:
            with self.contenders.weights_of(best.step, module):
                tested = score_test(self._trial, data, module, self._n_steps, self._device, self._precision)
        return TrainResult(
            status=status,
            error=error,
            curve=tuple(self.curve),
            n_steps=step,
            train_flops=flops,
            epochs=epochs,
            n_windows=windows_of_subset(data, trial.n_examples, trial.data_seed),
            n_available=len(data.train),
            loss=min(losses, default=None),
            loss_last=last.loss if last else None,
            objective=objective_at(best, self.objective) if best else None,
            objective_last=objective_at(last, self.objective) if last else None,
            best_step=best.step if best else None,
            metrics=dict(best.metrics) if best else {},
            n_validated=best.n_validated if best else None,
            constant_loss=constant_loss(data.validation.targets, data.task),
            **on_splits(self.objective, calibration, tested),
            best_weights=self.contenders.kept.get(best.step) if best else None,
            precision=self._precision,
            device=str(self._device),
            wall_seconds=self.seconds(),
            validation_seconds=self.validation_seconds,
            peak_memory_bytes=self._memory.bytes(),
            resumed_from=self._resumed_from,
        )

    def seconds(self) -> float:
        """Returns the time in the run so far, that before a resume included."""
        return time.perf_counter() - self._began

    def end_at(self, step: int) -> None:
        """Makes a step the last one, which is measured on the whole split."""
        self._n_steps = step
        if self.curve and self.curve[-1].step == step:
            self.curve.pop()

    def _settle(self, compared: Sequence[CurvePoint], module: nn.Module) -> None:
        """Measures the best points on the whole split, chosen among those that are compared."""
        began = time.perf_counter()
        self.curve = self.contenders.settle(self.curve, compared, self._validator, module)
        self.validation_seconds += time.perf_counter() - began


def score_test(
    trial: Trial,
    data: OpenDataset,
    module: nn.Module,
    n_steps: int,
    device: torch.device,
    precision: Precision,
) -> Score | None:
    """Returns the score of a module on the test split; `None` where there is none."""
    if data.test is None or not len(data.test):
        return None
    training = trial.training
    n = tested_examples(training, n_steps, len(data.test), windows_per_example(data.test))
    return Validator(data, data.test, n, training.batch_size, device, precision).part(module)
