"""Models, examples and checks that the tests of the backends share."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scalelab_plugins import convnext1d, regnet1d, resnet1d, ssm1d
from torch import nn

import scalelab

EXAMPLE = np.random.default_rng(0).standard_normal((3, 2, 96)).astype(np.float32)
CALIBRATION = np.random.default_rng(1).standard_normal((24, 2, 96)).astype(np.float32)
MODELS = ("convnext1d", "regnet1d", "resnet1d", "resnet1d-means", "ssm1d", "ssm1d-long", "encoder")
RESNETS = {"resnet1d": {}, "resnet1d-means": {"stem": "deep", "shortcut": "mean", "pooling": "mean-max"}}
PATCHES = {"ssm1d": 8, "ssm1d-long": 1}


class Encoder(nn.Module):
    """A transformer whose two layers begin with the same weights, which exporters store once."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv1d(2, 16, 8, stride=8)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.patches(x).transpose(1, 2)).mean(1))


class Bessel(nn.Module):
    """A model with an operator that no runtime but PyTorch has."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(96, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.special.bessel_j0(x)).mean(1)


class ComplexWeights(nn.Module):
    """A layer of complex weights, as state space models have them."""

    def __init__(self) -> None:
        super().__init__()
        weights = np.random.default_rng(2).standard_normal((2, 2, 8))
        self.weights = nn.Parameter(torch.complex(*map(torch.from_numpy, weights.astype(np.float32))))
        self.register_buffer("steps", torch.arange(8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = x.transpose(1, 2).to(self.weights.dtype) @ self.weights
        return self.head(mixed.abs().mean(1) * self.steps)


class LogScan(nn.Module):
    """A linear recurrence as a scan in logarithms (minGRU), at scales where exp overflows in f32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (100 * x).logcumsumexp(2).mean(2)


class Astray(nn.Module):
    """A model that one exporter captures and the other does not, or not rightly."""

    def __init__(self, astray: str) -> None:
        super().__init__()
        self.astray = astray
        self.head = nn.Linear(96, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing():
            if self.astray == "fails":
                raise RuntimeError("it cannot be traced")
            return self.head(x).mean(1) + 1
        return self.head(x).mean(1)


def network(name: str) -> nn.Module:
    """A small network of the name, in training mode as a study leaves it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name == "encoder":
            return Encoder().train()
        if name == "convnext1d":
            params = convnext1d.ConvNeXt1dParams(width=8, depths=(1, 1), layer_scale=1.0)
            return convnext1d.build(params, EXAMPLE.shape[1:], 5).train()
        if name in RESNETS:
            options = {"width": 8, "depths": (1, 1), "stem_stride": 9, "pool": False, "zero_init": False}
            residual = resnet1d.ResNet1dParams(**options, **RESNETS[name])
            return resnet1d.build(residual, EXAMPLE.shape[1:], 5).train()
        if name in PATCHES:
            space = ssm1d.Ssm1dParams(width=12, depth=2, state=8, patch=PATCHES[name])
            return ssm1d.build(space, EXAMPLE.shape[1:], 5).train()
        return regnet1d.build(
            regnet1d.RegNet1dParams(depth=3, w_0=8, w_init=8, w_a=8.0), EXAMPLE.shape[1:], 5
        ).train()


def relative_error(executable: scalelab.Executable, module: nn.Module) -> float:
    """Largest difference from eager f32 PyTorch, over the largest output."""
    was_training = module.training
    with torch.inference_mode():
        expected = module.eval()(torch.from_numpy(EXAMPLE)).numpy()
    module.train(was_training)
    outputs = executable.infer(EXAMPLE)
    assert outputs.dtype == np.float32
    assert outputs.shape == expected.shape
    return float(np.abs(outputs - expected).max() / np.abs(expected).max())


def refuses_absent_devices(backend: scalelab.Backend) -> None:
    """A device that is not there is an error that names those that are, or says why not."""
    usable = ", ".join(device.name for device in backend.devices() if device.available)
    absent = [(device.name, device.detail) for device in backend.devices() if not device.available]
    for name, why in (("XPU", "there is no such device"), *absent):
        message = f"{backend.name} cannot use '{name}': {why} (usable: {usable})"
        with pytest.raises(scalelab.InputError, match=re.escape(message)):
            backend.load(backend.params(), network("regnet1d"), EXAMPLE, name, None)


Load = Callable[..., scalelab.Executable]


def helps_where_the_first_fails(load: Load, params: scalelab.BackendParams) -> None:
    """The second exporter is tried, and named; asked for alone, the first one is an error."""
    module = Astray("fails")
    executable = load(params, module, EXAMPLE, "CPU", None)
    assert executable.facts["exporter"] == "dynamo"
    assert relative_error(executable, module) <= 1e-5
    only = params.model_copy(update={"exporter": "torchscript"})
    with pytest.raises(scalelab.BackendError, match="in f32: RuntimeError: it cannot be traced"):
        load(only, module, EXAMPLE, "CPU", None)


def helps_where_the_first_is_wrong(load: Load, params: scalelab.BackendParams) -> None:
    """Wrong outputs are as bad as none."""
    module = Astray("is wrong")
    executable = load(params, module, EXAMPLE, "CPU", CALIBRATION)
    assert executable.facts["exporter"] == "dynamo"
    assert relative_error(executable, module) <= 1e-5
    only = params.model_copy(update={"exporter": "torchscript"})
    with pytest.raises(scalelab.BackendError, match=r"in f32: outputs are off from PyTorch's by up to 1"):
        load(only, module, EXAMPLE, "CPU", None)


def names_the_operator(
    backend: scalelab.Backend, params: scalelab.BackendParams, capfd: pytest.CaptureFixture[str]
) -> None:
    """An operator that does not convert is named in one line; nothing is printed, or unheard afterwards."""
    level = logging.root.level
    message = r"cannot convert the model on CPU in f32: .*bessel_j0"
    with pytest.raises(scalelab.BackendError, match=message) as caught:
        backend.load(params, Bessel(), EXAMPLE, "CPU", None)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert logging.root.level == level
