"""Networks as they are written elsewhere pass the contract: parametrized, with lambdas, and NumPy."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from scalelab.components import Architecture
from scalelab.measure.flops import complexity
from scalelab.measure.models import build_model, without_graphs
from scalelab.testing import ArchitectureContract, toys

NORMS = {
    "weight_norm": torch.nn.utils.weight_norm,
    "spectral_norm": torch.nn.utils.spectral_norm,
    "parametrizations.weight_norm": torch.nn.utils.parametrizations.weight_norm,
    "parametrizations.spectral_norm": torch.nn.utils.parametrizations.spectral_norm,
}


def normed(name: str) -> Architecture:
    def build(params: toys.ToyArchitectureParams, input_shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # torch would rather have the newer ones
                    self.conv = NORMS[name](nn.Conv1d(input_shape[0], params.width, 7, padding=3))
                self.act = lambda x: x.relu()
                self.pool = nn.AdaptiveAvgPool1d(4)
                self.head = nn.Linear(4 * params.width, n_outputs)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = self.pool(self.act(self.conv(x))).flatten(1)
                return self.head(x * np.random.uniform(0.9, 1.1) if self.training else x)  # noqa: NPY002

        return Net()

    return Architecture(name="normed", summary="Normed", build=build, params=toys.ToyArchitectureParams)


class TestNormed(ArchitectureContract):
    @pytest.fixture(params=sorted(NORMS))
    def architecture(self, request: pytest.FixtureRequest) -> Architecture:
        return normed(request.param)

    @pytest.fixture
    def larger(self) -> dict[str, int]:
        return {"width": 32}


def test_a_network_with_weight_norm_is_copied_and_counted() -> None:
    catalog = toys.toy_catalog(architecture=normed("weight_norm"))
    module = build_model("normed", {}, (2, 64), 3, catalog=catalog)
    assert complexity(module, (2, 64)).forward_flops == 2 * 64 * 7 * 2 * 8 + 2 * 32 * 3
    before = module(torch.ones(1, 2, 64)).detach()
    with torch.no_grad():
        module.conv.weight_g.mul_(2)
    assert not torch.equal(module.eval()(torch.ones(1, 2, 64)), before)  # made anew of its parameters
    copy.deepcopy(without_graphs(module))
