"""A tiny study on toy components, trained by real workers in real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

PLUGIN = """
import os
import signal
import time

import numpy as np
import scalelab


class BlobParams(scalelab.Params):
    n: int = 64
    folder: str = ""


def open_blobs(params):
    rng = np.random.default_rng(0)
    targets = np.arange(params.n) % 2
    inputs = rng.normal(size=(params.n, 1, 16)).astype("float32") + targets[:, None, None]
    split = scalelab.Split(inputs, targets)
    task = scalelab.Task(input_shape=(1, 16), n_outputs=2, metrics=("accuracy",))
    test = scalelab.Split(inputs[: params.n // 2], targets[: params.n // 2])
    return scalelab.OpenDataset(
        task=task, train=split, validation=split, test=test, fingerprint=f"blobs-{params.n}"
    )


class NetParams(scalelab.Params):
    width: int = 4
    ms_per_step: float = 0.0
    trouble: str = ""


def build_net(params, input_shape, n_outputs):
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, params.width), nn.ReLU(), nn.Dropout(0.1))
            self.head = nn.Linear(params.width, n_outputs)
            self.calls = 0

        def forward(self, x):
            if x.device.type != "meta":
                time.sleep(params.ms_per_step / 1000)
                if self.training and len(x) > 2:
                    self.calls += 1
                    self.trouble()
            return self.head(self.body(x))

        def trouble(self):
            if params.trouble == "raise":
                raise ValueError("the net\\nis in trouble")
            if params.trouble == "nan" and self.calls > 2:
                with __import__("torch").no_grad():
                    self.head.weight.fill_(float("nan"))
            if params.trouble == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if params.trouble == "hang":
                time.sleep(3600)
            if params.trouble.startswith("kill-once:"):
                mark = params.trouble.split(":", 1)[1]
                if not os.path.exists(mark):
                    open(mark, "w").close()
                    os.kill(os.getpid(), signal.SIGKILL)

    return Net()


class SgdParams(scalelab.Params):
    lr: float = 0.1


def build_sgd(params, module):
    import torch

    return torch.optim.SGD(module.parameters(), lr=params.lr)


@scalelab.hookimpl
def scalelab_datasets():
    return [scalelab.Dataset(name="blobs", summary="Blobs", open=open_blobs, params=BlobParams)]


@scalelab.hookimpl
def scalelab_architectures():
    return [scalelab.Architecture(name="net", summary="Net", build=build_net, params=NetParams)]


@scalelab.hookimpl
def scalelab_optimizers():
    return [scalelab.Optimizer(name="plain-sgd", summary="SGD", build=build_sgd, params=SgdParams)]
"""

STUDY = """
name = "tiny"
seeds = [{seeds}]

[dataset]
name = "blobs"

[data]
sizes = [{sizes}]

[[architecture]]
name = "net"
options = {{ {options} }}
space = {{ width = {{ type = "doubling", low = 2, high = 4 }} }}

[[optimizer]]
name = "plain-sgd"

[training]
length = {{ steps = {steps} }}
batch_size = 8
validations = 2
"""


class Lab:
    """A folder with a plugin, studies and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugins = folder / "plugins"
        self.plugins.mkdir()
        (self.plugins / "toys.py").write_text(PLUGIN)
        self.store = folder / "store.duckdb"

    def study(
        self,
        *,
        seeds: int = 1,
        sizes: str = '16, "all"',
        steps: int = 4,
        options: str = "",
        name: str = "tiny",
    ) -> Path:
        """Writes a study of 2 trials a seed and size of the data."""
        path = self.folder / f"{name}.toml"
        numbers = ", ".join(map(str, range(seeds)))
        text = STUDY.format(seeds=numbers, sizes=sizes, steps=steps, options=options)
        path.write_text(text.replace('name = "tiny"', f'name = "{name}"', 1))
        return path

    def catalog(self):
        """Loads the toy components and nothing else."""
        from scalelab.plugins import load_plugins

        return load_plugins(plugins_dirs=(self.plugins,))


@pytest.fixture(autouse=True)
def without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a study is trained in does not depend on the machine that tests it."""
    monkeypatch.setattr("scalelab.train.device.cpu_has_bf16", lambda: False)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)
