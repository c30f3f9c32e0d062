"""Validation: the curve on a fixed part of the split, what is reported on the whole of it; and the test.

A point of the curve shows how training goes, and which step may be the best; a part of the split, the same
for all points and all trials of a study, says that at a fraction of the cost. The last point and the best
ones are measured on the whole split, for which weights that may be the best are kept until the end. Those of
the best step, by the objective, are then evaluated on the test split, which nothing is chosen by.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch  # noqa: TID253 - only the training loop imports this module
from torch import nn  # noqa: TID253

from scalelab.components import OpenDataset, Split
from scalelab.reached import best_point
from scalelab.records import Calibration, CurvePoint, Direction, Measured
from scalelab.subsets import averaged, rows_of_examples, subset_indices
from scalelab.train.batches import Examples, target_tensor
from scalelab.train.calibration import calibration
from scalelab.train.device import Precision, autocast
from scalelab.train.losses import resolve_loss
from scalelab.train.metrics import resolve_metrics
from scalelab.trainers import Score

BATCH_SIZE = 128
"""Validation uses batches of this size, or of the training batch size where that is larger."""

Weights = Mapping[str, Any]
"""A module's state, on whatever device it was."""


@contextmanager
def weights_in(module: nn.Module, weights: Weights | None) -> Iterator[None]:
    """Gives a module other weights, where there are any, and its own again at the end."""
    if weights is None:
        yield
        return
    last = copy.deepcopy(module.state_dict())
    module.load_state_dict(dict(weights))
    try:
        yield
    finally:
        module.load_state_dict(last)


class Validator:
    """Scores a module on the validation or the test split, without gradients and without augmentation.

    Where an example has several windows, its output is the mean of the module's outputs for all of them.

    Args:
        data: The dataset.
        split: The split.
        n_part: Examples of the part of it that is measured on, drawn once for all.
        batch_size: Of the training.
        device: Where the module is.
        precision: Of the forward pass.
    """

    def __init__(
        self,
        data: OpenDataset,
        split: Split,
        n_part: int,
        batch_size: int,
        device: torch.device,
        precision: Precision,
    ) -> None:
        n = len(split)
        self.n_part = min(n_part, n)
        drawn = subset_indices(n, n, 0)
        # Sorted, so that a memory map is read from its beginning to its end.
        order = np.concatenate([np.sort(drawn[: self.n_part]), np.sort(drawn[self.n_part :])])
        rows, self._windows = rows_of_examples(split, order)
        self._examples = Examples(split, rows, device)
        self._targets = np.asarray(split.targets)[order]
        several = self._windows is not None
        self._wanted = target_tensor(self._targets, device) if several else self._examples.targets
        self._size = max(BATCH_SIZE, batch_size)
        self._prepare, self._device, self._precision = data.prepare, device, precision
        self._task = data.task
        self._loss, self._metrics = resolve_loss(data.task.loss), resolve_metrics(data.task)

    def part(self, module: nn.Module) -> Score:
        """Returns the score on the part of the split."""
        return self._score(*self._outputs(module, self.n_part))

    def whole(self, module: nn.Module) -> tuple[Score, Score]:
        """Returns the score on the whole split, and from the same outputs that on the curve's part of it."""
        outputs, answers = self._outputs(module, len(self._targets))
        whole = self._score(outputs, answers)
        if not self.partial:
            return whole, whole
        return whole, self._score(outputs[: self.n_part], answers[: self.n_part])

    def refuse_data(self) -> None:
        """Raises where the data are why a loss is not finite."""
        self._examples.refuse_prepared(np.arange(len(self._examples)), self._prepare, "validation")

    @property
    def partial(self) -> bool:
        """Whether the part is less than the whole."""
        return self.n_part < len(self._targets)

    @torch.no_grad()
    def _outputs(self, module: nn.Module, n: int) -> tuple[torch.Tensor, np.ndarray]:
        """Returns the module's outputs for the first n examples, (n, n_outputs) of float32.

        Once on the device, for the loss, and once as an array, for metrics: the only copy off a GPU.
        """
        windows = None if self._windows is None else self._windows[:n]
        n_rows = n if windows is None else int(windows.sum())
        positions = np.arange(n_rows)
        batches = []
        module.eval()
        for first in range(0, n_rows, self._size):
            inputs, _ = self._examples.batch(positions[first : first + self._size])
            if self._prepare is not None:
                inputs = self._prepare(inputs)
            with autocast(self._device, self._precision):
                batches.append(module(inputs).float())
        module.train()
        outputs = torch.cat(batches)
        answers = outputs.cpu().numpy()
        if windows is None:
            return outputs, answers
        answers = averaged(answers, windows)
        return torch.from_numpy(answers).to(self._device), answers

    def _score(self, outputs: torch.Tensor, answers: np.ndarray) -> Score:
        n = len(outputs)
        loss = float(self._loss(outputs, self._wanted[:n]))
        if not np.isfinite(loss):
            return Score(loss, {}, n)
        targets = self._targets[:n]
        metrics: dict[str, Measured] = {
            metric.name: metric.compute(answers, targets) for metric in self._metrics
        }
        return Score(loss, metrics, n, calibration(answers, targets, self._task))


class Contenders:
    """The steps whose loss or objective may be the best of a run, with their weights and calibration.

    Args:
        objective: Name of the objective.
        direction: Its direction.
        kept: Weights by step, as a checkpoint had them.
        calibrations: Of the last point and of those steps, likewise.
    """

    def __init__(
        self,
        objective: str,
        direction: Direction,
        kept: Mapping[int, Weights],
        calibrations: Mapping[int, Calibration | None],
    ) -> None:
        self._ways: tuple[tuple[str, Direction], ...] = (("loss", "minimize"), (objective, direction))
        self.kept, self.calibrations = dict(kept), dict(calibrations)

    def keep(self, curve: Sequence[CurvePoint], module: nn.Module) -> None:
        """Keeps the weights of the curve's last point, if it is the best so far, and drops those it beat."""
        best = self._best(curve)
        self.kept = {step: weights for step, weights in self.kept.items() if step in best}
        self.calibrations = {step: own for step, own in self.calibrations.items() if step in best}
        if curve[-1].step in best:
            self.kept[curve[-1].step] = copy.deepcopy(module.state_dict())

    def settle(
        self,
        curve: Sequence[CurvePoint],
        compared: Sequence[CurvePoint],
        validator: Validator,
        module: nn.Module,
    ) -> list[CurvePoint]:
        """Measures the best points on the whole split; the module ends with the weights that it had.

        Args:
            curve: The curve.
            compared: The same with every point measured on the curve's part of the split, by which the best
                are chosen.
            validator: Measures.
            module: What was trained.

        Returns:
            The curve with those points as measured now.
        """
        best = self._best(compared)
        self.kept = {step: weights for step, weights in self.kept.items() if step in best}
        if not validator.partial:
            return list(curve)
        found: dict[int, Score] = {}
        for step in self.kept:
            with self.weights_of(step, module):
                found[step], _ = validator.whole(module)
        self.calibrations |= {step: score.calibration for step, score in found.items()}
        return [measured(point, found[point.step]) if point.step in found else point for point in curve]

    def weights_of(self, step: int, module: nn.Module) -> AbstractContextManager[None]:
        """Gives the module the weights of a step that are kept, and its own again at the end."""
        return weights_in(module, self.kept.get(step))

    def _best(self, curve: Sequence[CurvePoint]) -> set[int]:
        found = (best_point(curve, *way) for way in self._ways)
        return {point.step for point in found if point is not None}


def measured(point: CurvePoint, score: Score) -> CurvePoint:
    """Returns a point of the curve with another score."""
    changes = {"loss": score.loss, "metrics": score.metrics, "n_validated": score.n_examples}
    return CurvePoint.model_validate({**dict(point), **changes})


def on_splits(objective: str, validated: Calibration | None, tested: Score | None) -> dict[str, Any]:
    """Returns the fields of a result on the best step's test and calibration.

    Args:
        objective: Name of the objective.
        validated: Their calibration on the validation split.
        tested: Their score on the test split.
    """
    splits = {"validation": validated, "test": tested.calibration if tested else None}
    calibration = {"calibration": {name: one for name, one in splits.items() if one is not None} or None}
    if tested is None:
        return calibration
    return {
        **calibration,
        "test_loss": tested.loss,
        "test_objective": {"loss": tested.loss, **tested.metrics}.get(objective),
        "test_metrics": tested.metrics,
        "n_tested": tested.n_examples,
    }
