"""Toy components: real enough to train, small enough that a run takes a fraction of a second.

The dataset's two classes differ in where a Gaussian blob stands in a noisy signal of two channels. With the
toy architecture and optimizer the loss falls from ln 2 within a few dozen steps.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from scalelab.components import (
    Architecture,
    Backend,
    BackendParams,
    Dataset,
    Device,
    Executable,
    OpenDataset,
    Optimizer,
    Shape,
    Split,
    Task,
)
from scalelab.errors import InputError
from scalelab.hookspecs import hookimpl
from scalelab.params import Params
from scalelab.plugins import Catalog
from scalelab.space import Doubling, Float
from scalelab.trainers import Trainer, TrainerRun, TrainResult

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

CHANNELS, SAMPLES = 2, 64


class ToyDatasetParams(Params):
    """Options of the toy dataset."""

    n_train: int = Field(256, ge=2, le=100_000, description="training examples")
    n_validation: int = Field(
        64, ge=2, le=100_000, description="validation examples, and as many for the test"
    )
    noise: float = Field(0.5, ge=0, le=10, description="standard deviation of the noise; a blob is 1 high")
    seed: int = Field(0, ge=0, description="seed of the generator")


def _blobs(n: int, params: ToyDatasetParams, part: int) -> Split:
    """Makes one split: inputs (n, 2, 64) float32, targets (n,) int64."""
    import numpy as np

    rng = np.random.default_rng([params.seed, part])
    targets = rng.integers(0, 2, n)
    center = np.where(targets == 0, 20.0, 44.0) + rng.normal(0, 3, n)
    blob = np.exp(-0.5 * ((np.arange(SAMPLES) - center[:, None]) / 4.0) ** 2)
    polarity = np.array([1.0, -0.5])
    inputs = blob[:, None, :] * polarity[:, None] + params.noise * rng.normal(size=(n, CHANNELS, SAMPLES))
    return Split(inputs.astype(np.float32), targets.astype(np.int64))


def shift(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shifts a whole batch in time by up to two samples."""
    import torch

    by = int(torch.randint(-2, 3, (), generator=generator, device=batch.device))
    return torch.roll(batch, by, dims=-1)


def open_blobs(params: ToyDatasetParams) -> OpenDataset:
    """Generates the splits."""
    splits = [
        _blobs(n, params, part)
        for part, n in enumerate((params.n_train, params.n_validation, params.n_validation))
    ]
    digest = hashlib.sha256()
    for split in splits:
        digest.update(split.inputs.tobytes())
        digest.update(split.targets.tobytes())
    task = Task(
        input_shape=(CHANNELS, SAMPLES),
        n_outputs=2,
        metrics=("accuracy",),
        objective="accuracy",
        classes=("early", "late"),
    )
    return OpenDataset(
        task=task,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        fingerprint=digest.hexdigest()[:16],
        augment=shift,
    )


class ToyArchitectureParams(Params):
    """Options of the toy architecture."""

    width: int = Field(8, ge=1, le=512, description="channels of the convolution")


def build_conv(params: ToyArchitectureParams, input_shape: Shape, n_outputs: int) -> nn.Module:
    """Builds convolution, ReLU, pooling to eight samples, and a linear head."""
    from collections import OrderedDict

    from torch import nn

    if len(input_shape) != 2 or input_shape[1] < 8:
        raise InputError(f"toy-conv needs (channels, samples) with 8 samples or more, got {input_shape}")
    body = nn.Sequential(
        nn.Conv1d(input_shape[0], params.width, 7, padding=3),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(8),
        nn.Flatten(),
    )
    head = nn.Linear(8 * params.width, n_outputs)
    return nn.Sequential(OrderedDict(body=body, head=head))


def conv_features(
    params: ToyArchitectureParams,
    input_shape: Shape,  # noqa: ARG001 - the signature of every architecture's features
    n_outputs: int,  # noqa: ARG001
) -> Mapping[str, int | float | str]:
    """Returns the width of the last layer's input."""
    return {"last_width": 8 * params.width}


class ToyOptimizerParams(Params):
    """Options of the toy optimizer."""

    lr: float = Field(0.1, gt=0, le=10, description="peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of the gradient")


def build_sgd(params: ToyOptimizerParams, module: nn.Module) -> torch.optim.Optimizer:
    """Builds SGD with momentum over all parameters."""
    import torch

    return torch.optim.SGD(module.parameters(), lr=params.lr, momentum=params.momentum)


class ToyTrainerParams(Params):
    """Options of the toy trainer."""

    smoothing: float = Field(0.0, ge=0, lt=1, description="label smoothing of the training loss")


def train_smoothed(params: ToyTrainerParams, run: TrainerRun) -> TrainResult:
    """Trains on cross-entropy with smoothed labels, step by step."""
    from torch.nn.functional import cross_entropy

    step, _ = run.resume()
    while step < run.n_steps:
        stop = run.should_stop()
        run.save(step)
        if stop:
            return run.result("interrupted", step)
        step += 1
        run.begin(step)
        inputs, targets = run.batch(step)
        run.optimizer.zero_grad()
        loss = cross_entropy(run.module(inputs), targets, label_smoothing=params.smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        run.optimizer.step()
        run.progress(step, loss.item())
        if step in run.validations and not math.isfinite(run.report(step, loss.item()).loss):
            return run.result("diverged", step)
    return run.result("done", step)


class ToyBackendParams(BackendParams):
    """Options of the toy backend."""

    precision: Literal["f32"] = Field("f32", description="type of weights and activations")


def cpu_only() -> Sequence[Device]:
    """Returns the one device of the toy backend."""
    return (Device(name="cpu", detail="eager PyTorch"),)


def load_eager(
    params: ToyBackendParams,  # noqa: ARG001 - the signature of every backend's load
    module: nn.Module,
    example: np.ndarray,  # noqa: ARG001
    device: str,
    calibration: np.ndarray | None,  # noqa: ARG001
) -> Executable:
    """Runs a copy of the module as it is."""
    import copy

    import torch

    if device != "cpu":
        raise InputError(f"toy-eager has the device 'cpu', not {device!r}")
    start = time.perf_counter()
    model = copy.deepcopy(module).eval()
    seconds = {"load": time.perf_counter() - start}

    def infer(inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            outputs: np.ndarray = model(torch.from_numpy(inputs)).numpy()
        return outputs

    return Executable(
        infer=infer,
        seconds=seconds,
        model_bytes=sum(value.nbytes for value in model.state_dict().values()),
        threads=torch.get_num_threads(),
        facts={"torch": torch.__version__},
    )


toy_dataset = Dataset(
    name="toy-blobs",
    summary="Two classes of a blob in noise; synthetic, for tests",
    open=open_blobs,
    params=ToyDatasetParams,
)
toy_architecture = Architecture(
    name="toy-conv",
    summary="One convolution and a linear head; for tests",
    build=build_conv,
    params=ToyArchitectureParams,
    space={"width": Doubling(2, 32)},
    features=conv_features,
)
toy_optimizer = Optimizer(
    name="toy-sgd",
    summary="SGD with momentum; for tests",
    build=build_sgd,
    params=ToyOptimizerParams,
    space={"lr": Float(0.01, 0.3, log=True)},
)
toy_trainer = Trainer(
    name="toy-loop",
    summary="A loop with smoothed labels; for tests",
    train=train_smoothed,
    params=ToyTrainerParams,
    ignores=("ema", "class_weights", "clip_norm", "precision"),
)
toy_backend = Backend(
    name="toy-eager",
    summary="Eager PyTorch on the CPU; for tests",
    devices=cpu_only,
    load=load_eager,
    params=ToyBackendParams,
    packages=("torch",),
)


@hookimpl
def scalelab_datasets() -> list[Dataset]:
    """Returns the toy dataset."""
    return [toy_dataset]


@hookimpl
def scalelab_architectures() -> list[Architecture]:
    """Returns the toy architecture."""
    return [toy_architecture]


@hookimpl
def scalelab_optimizers() -> list[Optimizer]:
    """Returns the toy optimizer."""
    return [toy_optimizer]


@hookimpl
def scalelab_backends() -> list[Backend]:
    """Returns the toy backend."""
    return [toy_backend]


@hookimpl
def scalelab_trainers() -> list[Trainer]:
    """Returns the toy trainer."""
    return [toy_trainer]


def toy_catalog(
    *,
    dataset: Dataset = toy_dataset,
    architecture: Architecture = toy_architecture,
    optimizer: Optimizer = toy_optimizer,
    backend: Backend = toy_backend,
    trainer: Trainer = toy_trainer,
) -> Catalog:
    """Returns a catalog of the five toys, or of what is put in their place, and of nothing installed."""
    return Catalog().with_components(dataset, architecture, optimizer, backend, trainer, plugin="toys")


def write_toy_plugin(folder: Path) -> Path:
    """Writes the toys as a single-file plugin, for `--plugins-dir`, and returns the folder."""
    kinds = ["architectures", "backends", "datasets", "optimizers", "trainers"]
    names = ", ".join(f"scalelab_{kind}" for kind in kinds)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toys.py").write_text(f"from scalelab.testing.toys import {names}  # noqa: F401\n")
    return folder
