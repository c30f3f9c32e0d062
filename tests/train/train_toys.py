"""A tiny problem that trains in milliseconds, and a model with every source of randomness in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from scalelab.components import OpenDataset, Split, Task
from scalelab.records import TrainingOptions, Trial
from scalelab.train.device import seed_everything
from scalelab.train.groups import parameter_groups
from scalelab.train.loop import train_model
from scalelab.trainers import TrainResult

N_CLASSES = 3
SHAPE = (2, 16)


class TinyNet(nn.Module):
    """A convolution, dropout, stochastic depth and a linear head."""

    def __init__(self, n_outputs: int = N_CLASSES) -> None:
        super().__init__()
        self.stem = nn.Conv1d(2, 8, 4, stride=4)
        self.norm = nn.BatchNorm1d(8)
        self.branch = nn.Linear(8, 8)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(8, n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(x)).relu().mean(-1)
        branch = self.branch(x)
        if self.training:
            branch = branch * torch.empty(len(x), 1).bernoulli_(0.8) / 0.8
        return self.head(self.dropout(x + branch))


def noisy(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return batch + 0.1 * torch.randn(batch.shape, generator=generator)


def make_data(n: int = 200, seed: int = 0, **changes: Any) -> OpenDataset:
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, N_CLASSES, n)
    waves = np.sin(np.arange(16) * (1 + targets[:, None]) / 3)
    inputs = (waves[:, None] + 0.5 * generator.standard_normal((n, *SHAPE))).astype(np.float16)
    task = Task(input_shape=SHAPE, n_outputs=N_CLASSES, metrics=("accuracy",), objective="accuracy")
    half = n // 2
    data = OpenDataset(
        task=task,
        train=Split(inputs[:half], targets[:half]),
        validation=Split(inputs[half:], targets[half:]),
        fingerprint="tiny",
        augment=noisy,
    )
    return replace(data, **changes)


@dataclass(frozen=True)
class Problem:
    """Data, a trial, and how to train it."""

    data: OpenDataset
    trial: Trial
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]

    def with_training(self, **changes: Any) -> Problem:
        training = TrainingOptions(**{**self.trial.training.model_dump(), **changes})
        return replace(self, trial=self.trial.model_copy(update={"training": training}))

    def with_trial(self, **changes: Any) -> Problem:
        return replace(self, trial=Trial(**{**self.trial.model_dump(), **changes}))

    def with_data(self, **changes: Any) -> Problem:
        return replace(self, data=replace(self.data, **changes))

    def train(self, module: nn.Module | None = None, **options: Any) -> TrainResult:
        if module is None:
            seed_everything(self.trial.seed)
            module = TinyNet(self.data.task.n_outputs)
        return train_model(
            self.trial,
            self.data,
            module,
            self.optimizer(module),
            train_flops_per_example=1000.0,
            **{"device": "cpu", **options},
        )


def adamw(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameter_groups(module, 0.05), lr=0.02, fused=True)


class Spoiled(torch.optim.AdamW):
    """Learns until step 24, and unlearns from then on."""

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        super().step()
        self.taken = getattr(self, "taken", 0) + 1
        if next(iter(self.state.values()))["step"] > 24:
            with torch.no_grad():
                for group in self.param_groups:
                    for parameter in group["params"]:
                        parameter.mul_(-0.5)
