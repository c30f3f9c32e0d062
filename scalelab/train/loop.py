"""The training loop, from top to bottom.

Everything about a run is a function of its trial, its data and its machine: the batch of a step comes from
(seed, step), the learning rate from the step, and all other randomness from torch's generators, which are
seeded here and kept in checkpoints. A run that is stopped and resumed therefore gives the same curve, bit
for bit, as one that is not, on one machine with one number of threads.

Trade-off: the loop never waits for the device at each step. Losses are summed on the device and looked at
every `CHECK_STEPS` steps and at validations, so a divergence is noticed up to that many steps late.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
import torch  # noqa: TID253 - scalelab.train imports this module when training starts
from torch import nn  # noqa: TID253

from scalelab.components import OpenDataset
from scalelab.errors import InputError, TrainingError
from scalelab.heap import kept_memory
from scalelab.records import Trial
from scalelab.schedules import lr_factor, resolve_steps
from scalelab.train.averaging import Averaged
from scalelab.train.batches import Examples, Material
from scalelab.train.checkpoint import Checkpoint, Position
from scalelab.train.classes import check_classes, weighted, weights_of
from scalelab.train.device import (
    Precision,
    autocast,
    clear_memory_errors,
    deterministic_kernels,
    resolve_device,
    resolve_precision,
    seed_everything,
)
from scalelab.train.keeper import Keeper
from scalelab.train.losses import resolve_loss
from scalelab.train.optimizers import Modes, clip_gradients
from scalelab.train.results import Progress
from scalelab.train.soundness import check_data, refuse_broken
from scalelab.trainers import Ended, TrainResult

CHECK_STEPS = 50
"""How often, in steps, the sum of losses is checked to be finite."""

PROGRESS_SECONDS = 0.25
"""How long at least between two calls of `on_progress`."""


def train_model(
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
    checkpoint_seconds: float = 60.0,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    train_flops_per_example: float,
) -> TrainResult:
    """Trains `module` as `trial` says.

    Seeds torch's, NumPy's and Python's global generators with the trial's seed, and keeps all of them in
    checkpoints. A module's randomness should come from torch, an augmentation's from the generator it is
    given; generators of a plugin's own are not kept.

    Args:
        trial: What to do: subset, seed and training options.
        data: The dataset; all of it, the subset is taken here.
        module: The model, freshly initialized; moved to the device and changed in place.
        optimizer: Over the module's parameters; the learning rates of its groups are the peak rates.
        closure: Whether its `step` takes a closure, see `scalelab.Optimizer`.
        evaluations: Gradients that a step evaluates at most; a length in FLOPs counts them.
        device: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:N"` or `"mps"`.
        precision: What a trial of precision `"auto"` is trained in; by default what suits the device.
        checkpoint: Where to keep a checkpoint, and to resume from if it is there; `None` for none.
        checkpoint_seconds: How long at least between two checkpoints.
        on_progress: Called now and then, and at every validation.
        should_stop: Asked before every step; true ends the run as interrupted, with a checkpoint.
        train_flops_per_example: Forward and backward FLOPs of one example in a batch of the trial's size
            (`train_flops_at` of what `scalelab.complexity` returns).

    Raises:
        InputError: The device does not exist or cannot compute in the precision, the subset is larger than
            the data, or the task names an unknown loss, metric or objective or lacks the classes asked for.
        DataError: The data do not fit the task.
        TrainingError: The model's output has the wrong shape, or memory ran out.
    """
    where = resolve_device(device)
    exact = resolve_precision(trial.training.precision, where, precision)
    run = _Run(
        trial, data, module, optimizer, closure, evaluations, where, exact, train_flops_per_example,
        checkpoint, checkpoint_seconds,
    )  # fmt: skip
    memory = clear_memory_errors(where, trial.training.batch_size)
    with memory, kept_memory() if where.type == "cpu" else nullcontext(), deterministic_kernels():
        run.start()
        return run.loop(on_progress, should_stop)


class _Run:
    """One run; a class only so that the loop's parts can share what they work on."""

    def __init__(
        self,
        trial: Trial,
        data: OpenDataset,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        closure: Literal["whole", "after"] | None,
        evaluations: int,
        device: torch.device,
        precision: Precision,
        train_flops_per_example: float,
        checkpoint: Path | None,
        checkpoint_seconds: float,
    ) -> None:
        check_data(data)
        check_classes(trial.training, data.task)
        self.trial, self.data, self.options = trial, data, trial.training
        self.module, self.optimizer, self.closure = module, optimizer, closure
        self.modes = Modes(optimizer)
        if self.modes.two and self.options.ema is not None:
            raise InputError(
                f"training.ema = {self.options.ema:g}: {type(optimizer).__name__} averages the weights "
                "itself; leave ema out"
            )
        self.device, self.precision = device, precision
        self.flops = train_flops_per_example
        self.generator = torch.Generator(self.device)
        kept = (trial.id, module, optimizer, self.generator)
        self.checkpoint = None if checkpoint is None else Checkpoint(checkpoint, *kept)
        self.checkpoint_seconds = checkpoint_seconds
        material = Material.of(trial, data)
        self.rows, self.order, self.an_epoch = material.rows, material.order, material.an_epoch
        self.n_steps = resolve_steps(self.options, self.an_epoch, evaluations * train_flops_per_example)
        weights = weights_of(self.options, data.task, material.targets)
        self.loss_function = weighted(resolve_loss(data.task.loss), data.task, weights, device)
        self.peak_rates = [float(group["lr"]) for group in optimizer.param_groups]
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def start(self) -> None:
        """Moves everything to the device and takes up where a checkpoint left off, if there is one."""
        self.module.to(self.device).train()
        self.averaged = Averaged(self.module, self.options.ema)
        self.examples = Examples(self.data.train, self.rows, self.device)
        self.keeper = Keeper(self.trial, self.data, self.device, self.precision, self.n_steps)
        position = Position() if self.checkpoint is None else self.checkpoint.load()
        if position.step == 0:
            seed_everything(self.trial.seed)
            self.generator.manual_seed(self.trial.seed)
        self.averaged.load(position.averaged)
        self.evaluations = position.evaluations
        self.first_step = position.step + 1
        self.keeper.take_up(position)
        accumulator = torch.float32 if self.device.type == "mps" else torch.float64
        self.loss_sum = torch.tensor(position.loss_sum, device=self.device, dtype=accumulator)
        self.loss_count = position.loss_count

    def loop(
        self, on_progress: Callable[[Progress], None] | None, should_stop: Callable[[], bool] | None
    ) -> TrainResult:
        """Takes every step that is left."""
        validate_at = frozenset(self.keeper.validations.steps)
        reported = saved = time.perf_counter()
        reported_step = self.first_step - 1
        for step in range(self.first_step, self.n_steps + 1):
            if should_stop is not None and should_stop():
                self.save(step - 1)
                return self.result("interrupted", step - 1)

            self.update(step)

            validating = step in validate_at
            if (validating or step % CHECK_STEPS == 0) and not math.isfinite(self.train_loss()):
                self.refuse_data_since(step)
                return self.result("diverged", step, f"the training loss is not finite at step {step}")
            now = time.perf_counter()
            reporting = validating or (on_progress is not None and now - reported >= PROGRESS_SECONDS)
            train_loss = self.train_loss() if reporting else math.nan
            if validating:
                if not self.validate(step, train_loss):
                    return self.result("diverged", step, f"the validation loss is not finite at step {step}")
                now = time.perf_counter()
            if on_progress is not None and math.isfinite(train_loss):
                rate = (step - reported_step) * self.options.batch_size / (now - reported)
                on_progress(Progress(step, self.n_steps, train_loss, rate))
                reported, reported_step = now, step
            if now - saved >= self.checkpoint_seconds and step < self.n_steps:
                self.save(step)
                saved = time.perf_counter()
        return self.result("done", self.n_steps)

    def update(self, step: int) -> None:
        """Takes one optimizer step."""
        self.modes.train()
        inputs, targets = self.examples.batch(self.order.positions(step))
        if self.options.augment and self.data.augment is not None:
            inputs = self.data.augment(inputs, self.generator)
        elif self.data.prepare is not None:
            inputs = self.data.prepare(inputs)
        if step == self.first_step:
            rows = self.rows[self.order.positions(step)]
            refuse_broken(inputs.float().cpu().numpy(), rows, "training inputs of the first batch")
        factor = lr_factor(step, self.n_steps, self.options)
        for group, peak in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            group["lr"] = peak * factor
        losses: list[torch.Tensor] = []

        def gradient() -> torch.Tensor:
            loss = self.gradient(inputs, targets, first=step == self.first_step and not losses)
            losses.append(loss.detach())
            return loss

        if self.closure != "whole":
            gradient()
        self.optimizer.step(*(() if self.closure is None else (gradient,)))
        if not losses:
            raise TrainingError(f"step() of {type(self.optimizer).__name__} did not call its closure")
        self.averaged.update()
        self.evaluations += len(losses)
        self.loss_sum += losses[0]
        self.loss_count += 1

    def gradient(self, inputs: torch.Tensor, targets: torch.Tensor, *, first: bool) -> torch.Tensor:
        """Evaluates the gradient on a batch and returns the loss."""
        with torch.enable_grad():
            with autocast(self.device, self.precision):
                outputs = self.module(inputs)
            if first:
                self.check_outputs(outputs, len(inputs))
            loss = self.loss_function(outputs.float(), targets)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        if self.options.clip_norm is not None:
            clip_gradients(self.parameters, self.options.clip_norm)
        return loss

    def refuse_data_since(self, step: int) -> None:
        """Raises where the data of the steps since the last look are why the loss is not finite."""
        first = max(self.first_step, (step - 1) // CHECK_STEPS * CHECK_STEPS + 1)
        positions = np.concatenate([self.order.positions(one) for one in range(first, step + 1)])
        self.examples.refuse_prepared(np.unique(positions), self.data.prepare, "training")

    def train_loss(self) -> float:
        """Returns the mean training loss since the curve's last point; waits for the device."""
        return self.loss_sum.item() / self.loss_count

    def validate(self, step: int, train_loss: float) -> bool:
        """Adds a point to the curve and starts the next mean of training losses; false where it diverged."""
        self.modes.eval()
        score = self.keeper.add(
            self.averaged.module,
            step,
            train_loss,
            n_seen=step * self.options.batch_size,
            flops=self.spent(),
            lr=self.optimizer.param_groups[0]["lr"],
        )
        if not math.isfinite(score.loss):
            return False
        self.loss_sum.zero_()
        self.loss_count = 0
        return True

    def spent(self) -> float:
        """Returns the FLOPs of all gradients that were evaluated."""
        return self.evaluations * self.options.batch_size * self.flops

    def save(self, step: int) -> None:
        """Writes a checkpoint, where the run keeps one."""
        if self.checkpoint is not None:
            self.modes.train()  # what a resumed run begins with
            self.checkpoint.save(
                self.keeper.position(
                    step,
                    evaluations=self.evaluations,
                    loss_sum=self.loss_sum.item(),
                    loss_count=self.loss_count,
                    averaged=self.averaged.state(),
                )
            )

    def result(self, status: Ended, step: int, error: str | None = None) -> TrainResult:
        """Returns the outcome of the run after `step` steps."""
        epochs = step * self.options.batch_size / self.an_epoch
        module = self.averaged.module
        result = self.keeper.result(status, module, step, error, flops=self.spent(), epochs=epochs)
        if status != "interrupted":
            self.averaged.settle()
            self.modes.eval()
        return result

    def check_outputs(self, outputs: object, batch: int) -> None:
        """Refuses a model whose output a loss would broadcast in silence."""
        expected = (batch, self.data.task.n_outputs)
        if not isinstance(outputs, torch.Tensor) or tuple(outputs.shape) != expected:
            got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
            raise TrainingError(f"the model's output is {got}; the task needs a tensor of shape {expected}")
