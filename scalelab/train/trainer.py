"""A trainer at work: what it is given, and what it gives back looked at before it counts.

A trainer of a plugin sees no test split. The frame measures the test for all of them, so that it is measured
once, by the weights of the best step, and in one way.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch  # noqa: TID253 - only what trains imports this module
from torch import nn  # noqa: TID253

from scalelab.components import OpenDataset
from scalelab.errors import PluginError, brief, plain_line
from scalelab.params import NoParams, Params
from scalelab.records import Trial
from scalelab.schedules import Validations, lr_factor, resolve_steps
from scalelab.subsets import subset_indices, windows_per_example
from scalelab.train.batches import Examples, Material
from scalelab.train.checkpoint import Checkpoint
from scalelab.train.classes import check_classes, weighted, weights_of
from scalelab.train.device import (
    Precision,
    clear_memory_errors,
    deterministic_kernels,
    resolve_device,
    resolve_precision,
    seed_everything,
)
from scalelab.train.keeper import Keeper, score_test
from scalelab.train.loop import PROGRESS_SECONDS
from scalelab.train.losses import resolve_loss
from scalelab.train.optimizers import Modes
from scalelab.train.results import Progress
from scalelab.train.returned import amount, refuse_unsound, whole_number
from scalelab.train.soundness import check_data, refuse_broken
from scalelab.train.validation import on_splits, weights_in
from scalelab.trainers import Ended, Score, Trainer, TrainerRun, TrainResult

CHECKPOINT_SECONDS = 60.0


def train_with(
    trainer: Trainer,
    params: Params | None,
    trial: Trial,
    data: OpenDataset,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    closure: Literal["whole", "after"] | None = None,
    evaluations: int = 1,
    device: str = "auto",
    precision: Precision | None = None,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    train_flops_per_example: float,
) -> TrainResult:
    """Trains `module` as `trial` says, by a trainer; the other arguments are those of `train_model`.

    Raises:
        PluginError: What the trainer reports or returns cannot be.
        InputError: As `train_model`.
        DataError: The data do not fit the task, or are why a loss is not finite.
    """
    where = resolve_device(device)
    exact = resolve_precision(trial.training.precision, where, precision)
    check_data(data)
    check_classes(trial.training, data.task)
    module.to(where).train()
    frame = _Frame(
        trainer, trial, data, module, optimizer, evaluations, where, exact, checkpoint,
        train_flops_per_example, on_progress, should_stop or (lambda: False),
    )  # fmt: skip
    with clear_memory_errors(where, trial.training.batch_size), deterministic_kernels():
        seed_everything(trial.seed)
        returned: Any = trainer.train(params or NoParams(), frame.run(closure))
        result = refuse_unsound(trainer.name, returned, trial, data, module, frame.n_steps)
        if result.status == "interrupted" and not frame.stopped:
            raise PluginError(f"trainer {trainer.name!r} ended as interrupted, and nobody asked it to")
        return frame.tested(result)


@dataclass
class _Frame:
    """What stands behind the functions that a trainer is given."""

    trainer: Trainer
    trial: Trial
    data: OpenDataset
    module: nn.Module
    optimizer: torch.optim.Optimizer
    evaluations: int
    device: torch.device
    precision: Precision
    checkpoint_file: Path | None
    flops: float
    on_progress: Callable[[Progress], None] | None
    asked_to_stop: Callable[[], bool]
    stopped: bool = False

    def __post_init__(self) -> None:
        self.seen = dataclasses.replace(self.data, test=None)
        self.material = Material.of(self.trial, self.data)
        self.n_steps = resolve_steps(
            self.trial.training, self.material.an_epoch, self.evaluations * self.flops
        )
        self.modes = Modes(self.optimizer)
        self.modes.train()
        self.peaks = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.looked = False
        self.saved = self.told = time.perf_counter()
        self.told_step = 0

    def run(self, closure: Literal["whole", "after"] | None) -> TrainerRun:
        """Returns what the trainer is given."""
        trial, data = self.trial, self.data
        passes = windows_per_example(data.validation)
        when = Validations.of(trial.training, self.n_steps, len(data.validation), passes)
        weights = weights_of(trial.training, data.task, self.material.targets)
        return TrainerRun(
            trial=trial,
            data=self.seen,
            examples=subset_indices(len(data.train), trial.n_examples, trial.data_seed),
            module=self.module,
            optimizer=self.optimizer,
            closure=closure,
            evaluations=self.evaluations,
            n_steps=self.n_steps,
            validations=when.steps,
            device=str(self.device),
            precision=self.precision,
            flops=self.flops,
            checkpoint=self.checkpoint_file,
            batch=self.batch,
            begin=self.begin,
            loss=weighted(resolve_loss(data.task.loss), data.task, weights, self.device),
            resume=self.resume,
            save=self.save,
            report=self.report,
            progress=self.progress,
            should_stop=self.should_stop,
            result=self.result,
        )

    @cached_property
    def keeper(self) -> Keeper:
        """Keeps the curve, once there is one: the bundled loop has its own."""
        return Keeper(self.trial, self.seen, self.device, self.precision, self.n_steps)

    @cached_property
    def examples(self) -> Examples:
        """The training examples, on the device where they are few."""
        return Examples(self.data.train, self.material.rows, self.device)

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint, where one is kept."""
        if self.checkpoint_file is None:
            return None
        kept = (self.trial.id, self.module, self.optimizer, torch.Generator(self.device))
        return Checkpoint(self.checkpoint_file, *kept)

    def number(self, step: int, part: int = 0) -> int:
        """Returns a seed for a step."""
        sequence = np.random.SeedSequence(self.trial.seed, spawn_key=(step, part))
        return int(sequence.generate_state(1, np.uint32)[0])

    def begin(self, step: int) -> None:
        """Gives a step its learning rates and its random numbers."""
        factor = lr_factor(step, self.n_steps, self.trial.training)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.progress(step - 1, None)  # a sign of life
        seed_everything(self.number(step))

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the examples of a step, and refuses those of the first one that are not finite."""
        positions = self.material.order.positions(step)
        inputs, targets = self.examples.batch(positions)
        if self.trial.training.augment and self.data.augment is not None:
            generator = torch.Generator(self.device).manual_seed(self.number(step, 1))
            inputs = self.data.augment(inputs, generator)
        elif self.data.prepare is not None:
            inputs = self.data.prepare(inputs)
        if not self.looked:
            self.looked = True
            rows = self.material.rows[positions]
            refuse_broken(inputs.float().cpu().numpy(), rows, "training inputs of the first batch")
        return inputs, targets

    def resume(self) -> tuple[int, Mapping[str, Any]]:
        """Takes up where the checkpoint left off."""
        if self.checkpoint is None:
            return 0, {}
        position = self.checkpoint.load()
        self.keeper.take_up(position)
        self.told_step = position.step
        self.module.train()
        return position.step, position.own

    def save(self, step: int, state: Mapping[str, Any] | None = None) -> None:
        """Writes a checkpoint once a minute, and where the trial is asked to stop."""
        now = time.perf_counter()
        if self.checkpoint is None or not (self.stopped or now - self.saved >= CHECKPOINT_SECONDS):
            return
        self.modes.train()
        self.saved = now
        self.checkpoint.save(self.keeper.position(self.step_of(step), own=state or {}))

    def step_of(self, step: Any) -> int:
        """Returns a step that a trainer names."""
        return whole_number(self.trainer.name, "step", step, self.n_steps)

    def report(
        self, step: int, train_loss: float, *, n_seen: int | None = None, train_flops: float | None = None
    ) -> Score:
        """Adds a point to the curve, unless a loss is not finite."""
        step = self.step_of(step)
        name, last = self.trainer.name, self.keeper.curve[-1].step if self.keeper.curve else 0
        if step <= last:
            raise PluginError(f"trainer {name!r} reports step {step} after step {last}; report each once")
        try:
            train_loss = float(train_loss)
        except (TypeError, ValueError) as error:
            what = f"trainer {name!r} reports {brief(train_loss)} as the training loss of step {step}"
            raise PluginError(f"{what}; give a number") from error
        if not math.isfinite(train_loss):
            return Score(train_loss, {}, 0)
        seen, flops = self.spent(step, n_seen, train_flops)
        lr = float(self.optimizer.param_groups[0]["lr"])
        self.modes.eval()
        score = self.keeper.add(self.module, step, train_loss, n_seen=seen, flops=flops, lr=lr)
        self.modes.train()
        self.progress(step, train_loss, always=True)
        return score

    def seen_after(self, step: int) -> int:
        """Returns the examples of the batches of so many steps."""
        return step * self.trial.training.batch_size

    def spent(self, step: int, n_seen: int | None, train_flops: float | None) -> tuple[int, float]:
        """Returns examples seen and FLOPs after so many steps, by default those of the trial's batches."""
        name = self.trainer.name
        seen = int(amount(name, "n_seen", n_seen, self.seen_after(step)))
        return seen, amount(name, "train_flops", train_flops, seen * self.flops)

    def progress(self, step: int, train_loss: float | None, *, always: bool = False) -> None:
        """Tells how far the run is, at most four times a second."""
        now = time.perf_counter()
        if self.on_progress is None or not (always or now - self.told >= PROGRESS_SECONDS):
            return
        rate = self.seen_after(step - self.told_step) / max(now - self.told, 1e-9)
        self.told, self.told_step = now, step
        loss = None if train_loss is None or not math.isfinite(train_loss) else float(train_loss)
        self.on_progress(Progress(step, self.n_steps, loss, rate))

    def should_stop(self) -> bool:
        """Whether the run is to end now; once true, it stays so."""
        self.stopped = self.stopped or self.asked_to_stop()
        return self.stopped

    def result(
        self,
        status: Ended,
        n_steps: int,
        *,
        error: str | None = None,
        n_seen: int | None = None,
        train_flops: float | None = None,
    ) -> TrainResult:
        """Measures what a trainer is to return."""
        name, step = self.trainer.name, self.step_of(n_steps)
        if status not in get_args(Ended):
            raise PluginError(
                f"trainer {name!r}: status {brief(status)} is none of {', '.join(get_args(Ended))}"
            )
        seen, flops = self.spent(step, n_seen, train_flops)
        self.module.to(self.device)  # wherever a library left it
        last = self.keeper.curve[-1].step if self.keeper.curve else 0
        if status == "done" and step == 0:
            raise PluginError(f"trainer {name!r} is done after no step; train, or end as 'diverged'")
        if status == "done" and (last < step or step < self.n_steps):
            status, error = self.end_at(step, seen, flops)
        if status == "diverged":
            error = plain_line(str(error or f"training diverged by step {step}"))
            everything = np.arange(len(self.examples))
            self.examples.refuse_prepared(everything, self.data.prepare, "training")
        if status != "interrupted":
            self.modes.eval()
        epochs = seen / self.material.an_epoch
        return self.keeper.result(status, self.module, step, error, flops=flops, epochs=epochs)

    def end_at(self, step: int, n_seen: int, flops: float) -> tuple[Ended, str | None]:
        """Measures the last step, which was not reported, or not as the last one."""
        last = self.keeper.curve[-1] if self.keeper.curve else None
        self.keeper.end_at(step)
        train_loss = last.train_loss if last is not None and last.step == step else None
        lr = float(self.optimizer.param_groups[0]["lr"])
        self.modes.eval()
        score = self.keeper.add(self.module, step, train_loss, n_seen=n_seen, flops=flops, lr=lr)
        if math.isfinite(score.loss):
            return "done", None
        return "diverged", f"the validation loss is not finite at step {step}"

    def tested(self, result: TrainResult) -> TrainResult:
        """Returns a result with the test of its best step's weights, which no trainer makes."""
        if result.status != "done" or result.best_step is None:
            return result
        began = time.perf_counter()
        with weights_in(self.module, result.best_weights):
            tested = score_test(self.trial, self.data, self.module, self.n_steps, self.device, self.precision)
        objective = self.trial.training.objective or self.data.task.objective
        validated = (result.calibration or {}).get("validation")
        return dataclasses.replace(
            result,
            wall_seconds=result.wall_seconds + time.perf_counter() - began,
            **on_splits(objective, validated, tested),
        )
