from __future__ import annotations

import csv
import functools
import itertools
import math
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scalelab_plugins import convnext1d, regnet1d_model
from scalelab_plugins.regnet1d import build, features, scalelab_architectures
from scalelab_plugins.regnet1d_model import Block, RegNet1d, SqueezeExcitation
from scalelab_plugins.regnet1d_stages import (
    RegNet1dParams,
    Stage,
    at_most,
    block_widths,
    compatible,
    stages,
)
from torch import nn

from scalelab import Architecture, InputError
from scalelab.measure.flops import complexity
from scalelab.testing import ArchitectureContract

POINTS = Path(__file__).parents[3] / "shared/reference/ecg-paper/regnet_points.csv"
SMALL = RegNet1dParams(depth=4, w_init=8, w_0=8, w_a=6, w_m=2.0, group_width=4, se_ratio=0.25)


def make(params: RegNet1dParams, shape: tuple[int, int] = (3, 96), n_outputs: int = 5) -> RegNet1d:
    torch.manual_seed(0)
    network = build(params, shape, n_outputs)
    assert isinstance(network, RegNet1d)
    return network


def reference_points() -> list[dict[str, str]]:
    if not POINTS.exists():
        return []
    with POINTS.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(not POINTS.exists(), reason="the reference table ../shared/reference is not there")
@pytest.mark.parametrize("row", reference_points(), ids=lambda row: row["stage_widths"])
def test_networks_of_the_study_are_exact(row: dict[str, str]) -> None:
    options: dict[str, Any] = {name: row[name] for name in RegNet1dParams.model_fields if name in row}
    options["se_ratio"] = row["se_ratio"] or None
    params = RegNet1dParams(**options)
    counted = complexity(make(params, (12, 1024), 26), (12, 1024))
    assert counted.n_params == int(row["n_params"])
    assert counted.forward_flops == int(row["forward_flops"])
    derived = features(params, (12, 1024), 26)
    for name in ("stage_depths", "stage_widths", "stage_group_widths"):
        assert derived[name] == row[name]


# --- the construction -------------------------------------------------------------------------------------


def test_widths_of_blocks_by_hand() -> None:
    params = RegNet1dParams(depth=6, w_0=40, w_a=29, w_m=1.8)
    # 40, 69, 98, 127, 156, 185 are 40·1.8^0, ^0.93, ^1.52, ^1.97, ^2.32, ^2.61: capacities 0, 1, 2, 2, 2, 3
    assert block_widths(params, 1024) == [40, 72, 128, 128, 128, 232]
    assert [s.depth for s in stages(params, (12, 1024))] == [1, 1, 3, 1]


def test_half_a_quantum_is_rounded_to_even() -> None:
    # 40·1.3 = 52 = 6.5·8 and 40·1.5 = 60 = 7.5·8
    assert block_widths(RegNet1dParams(depth=2, w_0=40, w_a=12, w_m=1.3), 1024) == [40, 48]
    assert block_widths(RegNet1dParams(depth=2, w_0=40, w_a=20, w_m=1.5), 1024) == [40, 64]


@pytest.mark.parametrize(
    ("samples", "most"), [(1024, 7.0), (512, 6.0), (16, 1.0), (8, 0.0), (102, 3.6724253)]
)
def test_the_inputs_length_caps_the_capacity(samples: int, most: float) -> None:
    wide = RegNet1dParams(depth=20, w_0=32, w_a=1000, w_m=1.5)
    assert max(block_widths(wide, samples)) == 8 * round(32 * 1.5**most / 8)
    narrow = RegNet1dParams(depth=20, w_0=32, w_a=2, w_m=1.9)
    assert max(block_widths(narrow, samples)) <= 8 * round(32 * 1.9**most / 8)


def test_eight_widths_become_seven_stages() -> None:
    params = RegNet1dParams(depth=20, w_0=56, w_a=26, w_m=1.4, group_width=1)
    widths = block_widths(params, 1024)
    assert sorted(set(widths)) == [56, 80, 112, 152, 216, 304, 424, 592]
    # the closest two, 56 and 80, share the center 68
    assert [s.width for s in stages(params, (12, 1024))] == [68, 112, 152, 216, 304, 424, 592]
    assert sum(s.depth for s in stages(params, (12, 1024))) == 20


def test_merging_does_not_depend_on_what_was_drawn_before() -> None:
    widths = [32, 40, 56, 72, 88, 120, 152, 200]  # four pairs are as close as each other but the first
    first = at_most(7, widths)
    np.random.seed(1)  # noqa: NPY002
    state = pickle.dumps(np.random.get_state())  # noqa: NPY002
    assert all(at_most(7, widths) == first for _ in range(5))
    assert pickle.dumps(np.random.get_state()) == state  # noqa: NPY002
    assert first == [36, 36, 56, 72, 88, 120, 152, 200]


def test_few_widths_are_left_alone_and_merged_ones_stay_in_order() -> None:
    assert at_most(7, [8, 8, 16]) == [8, 8, 16]
    for n in range(1, 6):
        widths = at_most(n, [8, 16, 16, 24, 40, 64, 104, 168])
        assert len(set(widths)) == n
        assert widths == sorted(widths)


@pytest.mark.parametrize(
    ("width", "group_width", "multiplier", "expected"),
    [
        (72, 4, 2.0, Stage(1, 72, 144, 4)),
        (56, 1, 0.5, Stage(1, 56, 28, 1)),
        (40, 32, 1.0, Stage(1, 64, 64, 32)),  # rounded up to a group more
        (40, 16, 0.5, Stage(1, 64, 32, 16)),  # a bottleneck of 20
        (8, 32, 0.5, Stage(1, 8, 4, 4)),  # a group is no wider than the bottleneck
        (68, 8, 4.0, Stage(1, 68, 272, 8)),
        (24, 5, 4.0, Stage(1, 25, 100, 5)),  # a multiple of lcm(5, 4) = 20
        (16, 4, 1.5, Stage(1, 16, 24, 4)),  # 1.5 = 3/2: a multiple of lcm(4, 3) = 12
        (40, 8, 1.5, Stage(1, 48, 72, 8)),
        (40, 1, 0.3, Stage(1, 40, 12, 1)),
    ],
)
def test_widths_and_groups_are_made_compatible(
    width: int, group_width: int, multiplier: float, expected: Stage
) -> None:
    params = RegNet1dParams(group_width=group_width, bottleneck_multiplier=multiplier)
    assert compatible(1, width, params) == expected


def test_a_stage_is_whole_wherever_the_options_lie() -> None:
    rng = random.Random(0)
    for _ in range(2000):
        params = RegNet1dParams(
            depth=rng.randint(1, 30),
            w_0=8 * rng.randint(1, 20),
            w_a=rng.uniform(0, 80),
            w_m=rng.uniform(1.01, 4),
            group_width=rng.randint(1, 64),
            bottleneck_multiplier=rng.choice([0.125, 0.3, 0.5, 0.75, 1, 1.5, 2, 2.6, 4]),
        )
        samples = rng.randint(8, 5000)
        found = stages(params, (1, samples))
        assert sum(s.depth for s in found) == params.depth
        assert len(found) <= min(7, math.ceil(math.log2(samples) - 3) + 1)
        for s in found:
            assert s.bottleneck % s.group_width == 0
            assert s.bottleneck == round(s.width * params.bottleneck_multiplier)
            assert s.group_width <= params.group_width


def test_derived_features() -> None:
    params = RegNet1dParams(
        depth=6, w_0=40, w_a=29, w_m=1.8, bottleneck_multiplier=4, group_width=1, init_kernel_size=15
    )
    assert features(params, (12, 1024), 26) == {
        "n_stages": 4,
        "last_width": 232,
        "last_conv_channels": 928,
        "stage_depths": "1-1-3-1",
        "stage_widths": "40-72-128-232",
        "stage_group_widths": "1-1-1-1",
    }


# --- the network ------------------------------------------------------------------------------------------


def textbook(network: RegNet1d, x: torch.Tensor) -> torch.Tensor:
    """The same network as the paper draws it: (batch, channels, time) and `conv1d` throughout."""

    def convolve(layers: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
        conv, norm = layers
        x = nn.functional.conv1d(
            x, conv.weight.squeeze(2), stride=conv.stride[1], padding=conv.padding[1], groups=conv.groups
        )
        return nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    x = convolve(network.stem, x).relu()
    for block in network.blocks:
        branch = convolve(block.grouped, convolve(block.reduce, x).relu()).relu()
        if block.se is not None:
            gate = block.se.excite(block.se.squeeze(branch.mean(2)).relu()).sigmoid()
            branch = branch * gate[:, :, None]
        shortcut = x if block.project is None else convolve(block.project, x)
        x = (shortcut + convolve(block.expand, branch)).relu()
    return network.head(x.mean(2))


@pytest.mark.parametrize("shape", [(3, 96), (2, 102), (1, 61)])
@pytest.mark.parametrize("change", [{}, {"se_ratio": 0.0}, {"group_width": 1, "bottleneck_multiplier": 2.0}])
def test_it_is_the_textbook_network(shape: tuple[int, int], change: dict[str, Any]) -> None:
    network = make(SMALL.model_copy(update=change), shape)
    with torch.no_grad():
        for _ in range(3):
            network.train()(torch.randn(8, *shape))  # so that running statistics are not 0 and 1
    x = torch.randn(4, *shape)
    assert torch.allclose(network.eval()(x), textbook(network, x), atol=1e-5)


def test_each_stage_halves_time() -> None:
    network = make(SMALL, (2, 102))
    lengths = [102]
    for layer in (network.stem, *network.blocks):
        layer.register_forward_hook(lambda _m, _i, out: lengths.append(out.shape[-1]))
    network(torch.randn(2, 2, 102))
    halved = [(after, -(-before // 2)) for before, after in itertools.pairwise(lengths) if after != before]
    assert len(halved) == 1 + len(stages(SMALL, (2, 102)))
    assert all(after == half for after, half in halved)


def test_initial_weights() -> None:
    network = make(RegNet1dParams(w_0=128, w_a=0, depth=2), (12, 128), 26)
    block = network.blocks[1]
    assert isinstance(block, Block)
    assert block.reduce[0].weight.std().item() == pytest.approx(math.sqrt(2 / 128), rel=0.03)
    assert block.grouped[0].weight.std().item() == pytest.approx(math.sqrt(2 / 384), rel=0.03)
    assert network.head.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert all((b == 0).all() for name, b in network.named_parameters() if name.endswith("bias"))


# --- the design spaces ------------------------------------------------------------------------------------

ARCHITECTURES = [scalelab_architectures()[0], convnext1d.scalelab_architectures()[0]]


def draw(architecture: Architecture, rng: random.Random) -> dict[str, Any]:
    while True:
        point = {name: dimension.from_unit(rng.random()) for name, dimension in architecture.space.items()}
        if "w_0" not in point or point["w_0"] >= point["w_init"]:
            return point


@pytest.fixture
def quick_building(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves weights as memory has them and builds blocks of one shape once, which is what takes time."""
    for layer in (nn.Conv2d, nn.BatchNorm2d, nn.Linear):
        monkeypatch.setattr(layer, "reset_parameters", lambda _self: None)
    for name in ("normal_", "trunc_normal_", "zeros_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, **_: tensor)
    monkeypatch.setattr(regnet1d_model, "Block", functools.lru_cache(256)(Block))


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
@pytest.mark.usefixtures("quick_building")
def test_a_thousand_draws_of_the_default_space_build_and_run(architecture: Architecture) -> None:
    rng = random.Random(0)
    networks = set()
    for index in range(1000):
        params = architecture.params.model_validate(draw(architecture, rng))
        shape = (12, 1024) if index % 10 == 0 else (2, 102)
        if (params, shape) in networks:
            continue  # a small space gives a point many times
        with torch.inference_mode():
            outputs = architecture.build(params, shape, 26).eval()(torch.zeros(1, *shape))
        assert outputs.shape == (1, 26)
        networks.add((params, shape))
    assert len({params for params, _ in networks}) == (1000 if architecture.name == "regnet1d" else 4 * 4 * 3)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
def test_draws_give_finite_outputs(architecture: Architecture) -> None:
    rng = random.Random(1)
    for _ in range(6):
        params = architecture.params.model_validate(draw(architecture, rng))
        torch.manual_seed(0)
        network = architecture.build(params, (2, 102), 5)
        for outputs in (network(torch.randn(4, 2, 102)), network.eval()(torch.randn(1, 2, 102))):
            assert outputs.shape[1] == 5
            assert outputs.isfinite().all()


def test_the_default_space_is_the_studys() -> None:
    architecture = scalelab_architectures()[0]
    grids = {name: dimension.grid() for name, dimension in architecture.space.items()}
    assert grids == {
        "depth": list(range(4, 21)),
        "w_init": [32, 40, 48, 56, 64],
        "w_0": list(range(32, 129, 8)),
        "w_a": list(range(10, 51)),
        "w_m": [k / 10 for k in range(11, 31)],
        "group_width": [1, 2, 4, 8, 16, 32],
        "bottleneck_multiplier": [0.5, 1.0, 2.0, 4.0],
        "se_ratio": [0.25, 0.0],
        "init_kernel_size": [3, 9, 15],
    }
    assert architecture.constraints == ("w_0 >= w_init",)


@pytest.mark.parametrize("none", [None, 0, 0.0])
def test_no_squeeze_is_written_as_zero_or_none(none: float | None) -> None:
    params = RegNet1dParams(se_ratio=none)  # type: ignore[arg-type]
    assert params == RegNet1dParams(se_ratio=0.0)
    assert not any(isinstance(module, SqueezeExcitation) for module in make(params).modules())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"w_0": 36}, "multiple of 8"),
        ({"w_m": 1.0}, "greater than 1"),
        ({"init_kernel_size": 4}, "must be odd"),
        ({"se_ratio": float("nan")}, "finite"),
        ({"se_ratio": 1.5}, "less than or equal to 1"),
        ({"group_width": 0}, "greater than or equal to 1"),
        ({"bottleneck_multiplier": 0.1}, "greater than or equal to 0.125"),
        ({"w_a": -1}, "greater than or equal to 0"),
        ({"widht": 8}, "Extra inputs"),
    ],
)
def test_options_are_validated(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RegNet1dParams(**options)


@pytest.mark.parametrize(("shape", "message"), [((1, 7), "needs 8 or more"), ((8,), "channels, samples")])
def test_inputs_that_cannot_fit_are_refused(shape: tuple[int, ...], message: str) -> None:
    for call in (build, features):
        with pytest.raises(InputError, match=message):
            call(RegNet1dParams(), shape, 2)


class TestRegNet1d(ArchitectureContract):
    draws = 2

    @pytest.fixture
    def architecture(self) -> Architecture:
        return scalelab_architectures()[0]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"depth": 4}

    @pytest.fixture
    def larger(self) -> dict[str, Any]:
        return {"depth": 5}
