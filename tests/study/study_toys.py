"""Tiny components and a catalog of them; nothing here needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from scalelab.components import Architecture, Dataset, OpenDataset, Optimizer, Split, Task
from scalelab.errors import PluginError, suggest
from scalelab.measurements import Complexity
from scalelab.params import Location, NoParams, Params
from scalelab.records import ComponentRef
from scalelab.space import Choice, Doubling, Float, Int

TASK = Task(input_shape=(1, 8), n_outputs=2)


class BlipsParams(Params):
    path: Location | None = Field(None, description="a folder")
    n: int = Field(1000, ge=0, description="training examples")
    split: Literal["random", "inter-patient"] = "random"


class MlpParams(Params):
    width: int = Field(8, ge=1, le=4096, description="units of a layer")
    depth: int = Field(2, ge=1, le=64)
    depths: tuple[int, ...] = (2, 2)
    dropout: float = Field(0.0, ge=0, lt=1)
    norm: Literal["layer", "batch", "none"] = "layer"
    groups: int = Field(1, ge=1)
    bias: bool = True
    ratio: float | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _trusting(cls, values: Any) -> Any:
        if values.get("depths"):
            len(values["depths"])
        return values

    @model_validator(mode="after")
    def _divides(self) -> MlpParams:
        if self.width % self.groups:
            raise ValueError("groups must divide width")
        return self


class AdamParams(Params):
    lr: float = Field(1e-3, gt=0, le=1, description="peak learning rate")
    beta: float = Field(0.9, ge=0, lt=1)


class NeedyParams(Params):
    size: int = Field(ge=1)


def open_blips(params: BlipsParams) -> OpenDataset:
    def split(n: int) -> Split:
        return Split(np.zeros((n, 1, 8), np.float32), np.zeros(n, np.int64))

    return OpenDataset(
        task=TASK, train=split(params.n), validation=split(10), fingerprint=f"blips-{params.n}"
    )


def _unused(*args: Any) -> Any:
    raise AssertionError("expanding a study builds nothing")


DATASETS = {
    "blips": Dataset(name="blips", summary="zeros", open=open_blips, params=BlipsParams),
    "broken": Dataset(name="broken", summary="raises", open=lambda params: 1 / 0),
    "missing": Dataset(name="missing", summary="raises", open=lambda params: Path("/no/such").stat()),
    "wrong": Dataset(name="wrong", summary="returns a list", open=lambda params: []),
}
ARCHITECTURES = {
    "mlp": Architecture(
        name="mlp",
        summary="layers",
        build=_unused,
        params=MlpParams,
        space={"width": Doubling(8, 64), "depth": Int(1, 4), "norm": Choice(("layer", "batch"))},
        constraints=("width >= 2 * depth",),
        version=3,
    ),
    "wrong": Architecture(name="wrong", summary="", build=_unused, params=MlpParams, constraints=("width",)),
    "linear": Architecture(name="linear", summary="one layer", build=_unused, params=NoParams),
    "needy": Architecture(name="needy", summary="needs a size", build=_unused, params=NeedyParams),
}
OPTIMIZERS = {
    "adam": Optimizer(
        name="adam",
        summary="Adam",
        build=_unused,
        params=AdamParams,
        space={"lr": Float(1e-4, 1e-2, log=True)},
    ),
    "sgd": Optimizer(name="sgd", summary="SGD", build=_unused, params=AdamParams),
}


class ToyCatalog:
    def _get(self, kind: str, table: dict[str, Any], name: str) -> Any:
        if name not in table:
            raise PluginError(f"no {kind} is named {name!r}{suggest(name, table)}")
        return table[name]

    def dataset(self, name: str) -> Dataset:
        return self._get("dataset", DATASETS, name)

    def architecture(self, name: str) -> Architecture:
        return self._get("architecture", ARCHITECTURES, name)

    def optimizer(self, name: str) -> Optimizer:
        return self._get("optimizer", OPTIMIZERS, name)


CATALOG = ToyCatalog()


def toy_cost(architecture: ComponentRef, input_shape: tuple[int, ...], n_outputs: int) -> Complexity:
    """n_params = depth · width²; a FLOP count in proportion."""
    params = architecture.params
    n = params["depth"] * params["width"] ** 2
    return Complexity(n_params=n, forward_flops=2.0 * n, train_flops_per_example=6.0 * n)


def toml(body: str = "", *, head: str = 'name = "toy"', architecture: str | None = None) -> str:
    """A small valid study; `body` comes last, `head` first."""
    architecture = architecture or '[[architecture]]\nname = "mlp"\n'
    return f"""{head}
[dataset]
name = "blips"
{architecture}
[[optimizer]]
name = "adam"
[[optimizer]]
name = "sgd"
{body}
"""
