from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scalelab_plugins.resnet1d import build, features, scalelab_architectures
from scalelab_plugins.resnet1d_model import Basic, ResNet1d
from scalelab_plugins.resnet1d_stages import ResNet1dParams, stages
from torch import nn

from scalelab import Architecture, InputError
from scalelab.measure.flops import complexity
from scalelab.testing import ArchitectureContract

SMALL = ResNet1dParams(width=6, growth=1.5, depths=(1, 2, 1), kernel_size=3, stem_kernel=7, zero_init=False)
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"block": "bottleneck"},
    {"stem": "deep", "stem_stride": 1, "pool": False},
    {"shortcut": "mean", "pooling": "mean-max"},
)


def make(params: ResNet1dParams, shape: tuple[int, int] = (3, 96), n_outputs: int = 5) -> ResNet1d:
    torch.manual_seed(0)
    network = build(params, shape, n_outputs)
    assert isinstance(network, ResNet1d)
    return network


def small(**options: Any) -> ResNet1dParams:
    return ResNet1dParams(**SMALL.model_dump(exclude=options.keys()), **options)


def textbook(network: ResNet1d, x: torch.Tensor) -> torch.Tensor:
    """The same network as the papers draw it: (batch, channels, time) and `conv1d` throughout."""

    def convolve(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
        weight = conv.weight.squeeze(2)
        x = nn.functional.conv1d(x, weight, stride=conv.stride[1], padding=weight.shape[2] // 2)
        return nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    def shortcut(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if isinstance(module, nn.Identity):
            return x
        *mean, conv, norm = module
        if mean and x.shape[2] % 2:
            x = torch.cat([x, x[:, :, -1:]], 2)
        if mean:
            x = x.unflatten(2, (-1, 2)).mean(3)
        return convolve(conv, norm, x)

    layers = list(network.stem)
    for index in range(0, len(layers) // 3 * 3, 3):
        x = convolve(layers[index], layers[index + 1], x).relu()
    if isinstance(layers[-1], nn.MaxPool2d):
        x = nn.functional.max_pool1d(x, 3, stride=2, padding=1)
    for block in network.blocks:
        if isinstance(block, Basic):
            branch = convolve(*block.second, convolve(*block.first, x).relu())
        else:
            branch = convolve(
                *block.expand, convolve(*block.middle, convolve(*block.reduce, x).relu()).relu()
            )
        x = (shortcut(block.project, x) + branch).relu()
    pooled = torch.cat([x.mean(2), x.amax(2)], 1) if network.with_max else x.mean(2)
    return network.head(pooled)


@pytest.mark.parametrize("shape", [(3, 96), (2, 102), (1, 61)])
@pytest.mark.parametrize("change", VARIANTS)
def test_it_is_the_textbook_network(shape: tuple[int, int], change: dict[str, Any]) -> None:
    network = make(small(**change), shape)
    with torch.no_grad():
        for _ in range(3):
            network.train()(torch.randn(8, *shape))  # so that running statistics are not 0 and 1
    x = torch.randn(4, *shape)
    assert torch.allclose(network.eval()(x), textbook(network, x), atol=1e-5)


def cost_by_hand(params: ResNet1dParams, shape: tuple[int, int], n_outputs: int) -> tuple[int, int, int]:
    """Parameters, and multiply-adds of the stem's first convolution and of all others."""
    channels, time = shape
    n_params = adds = 0

    def conv(entering: int, leaving: int, kernel: int) -> None:
        nonlocal n_params, adds
        n_params += entering * leaving * kernel + 2 * leaving
        adds += time * entering * leaving * kernel

    time = -(-time // params.stem_stride)
    half = max(1, params.width // 2)
    widths = [channels, half, half, params.width] if params.stem == "deep" else [channels, params.width]
    for entering, leaving in itertools.pairwise(widths):
        conv(entering, leaving, params.stem_kernel)
    first = time * channels * widths[1] * params.stem_kernel
    time = -(-time // 2) if params.pool else time
    entering = params.width
    for i, (width, depth) in enumerate(zip(*stages(params, shape), strict=True)):
        for index in range(depth):
            halves = i > 0 and index == 0
            leaving = 4 * width if params.block == "bottleneck" else width
            if params.block == "bottleneck":
                conv(entering, width, 1)
            time = -(-time // 2) if halves else time
            if params.block == "bottleneck":
                conv(width, width, params.kernel_size)
                conv(width, leaving, 1)
            else:
                conv(entering, width, params.kernel_size)
                conv(width, width, params.kernel_size)
            if halves or entering != leaving:
                conv(entering, leaving, 1)
            entering = leaving
    pooled = entering * (2 if params.pooling == "mean-max" else 1)
    return n_params + pooled * n_outputs + n_outputs, first, adds - first + pooled * n_outputs


@pytest.mark.parametrize("change", VARIANTS)
@pytest.mark.parametrize("shape", [(12, 1024), (2, 101)])
def test_parameters_and_flops_by_hand(shape: tuple[int, int], change: dict[str, Any]) -> None:
    params = small(**change)
    counted = complexity(make(params, shape, 26), shape, head="head", n_outputs=26)
    n_params, first, others = cost_by_hand(params, shape, 26)
    assert counted.n_params == n_params
    assert counted.forward_flops == 2 * (first + others)
    assert counted.train_flops_per_example == 2 * (2 * first + 3 * others)  # the input needs no gradient
    assert counted.uncounted == ()


def test_the_named_networks_have_their_layers() -> None:
    """Convolutions and the head, without projections, are what the names count."""
    for depths, block, layers in (
        ((2, 2, 2, 2), "basic", 18), ((3, 4, 6, 3), "basic", 34), ((3, 4, 6, 3), "bottleneck", 50)
    ):  # fmt: skip
        network = make(ResNet1dParams(width=4, depths=depths, block=block), (12, 1024), 26)
        named = [
            name
            for name, module in network.named_modules()
            if isinstance(module, (nn.Conv2d, nn.Linear)) and "project" not in name
        ]
        assert len(named) == layers


def test_parameters_span_three_decades_of_the_default_space() -> None:
    space = scalelab_architectures()[0].space
    ends = [
        ResNet1dParams(**{name: pick(dimension.grid()) for name, dimension in space.items()})
        for pick in (min, max)
    ]
    sizes = [cost_by_hand(params, (2, 288), 5)[0] for params in ends]
    assert sizes[0] < 10_000
    assert sizes[1] > 10_000_000
    beats = ResNet1dParams(width=8, depth=0.5)
    assert cost_by_hand(beats, (6, 288), 5)[0] == 45_029


def test_each_stage_but_the_first_halves_time() -> None:
    network = make(ResNet1dParams(width=4), (2, 288))
    lengths: list[int] = []
    for layer in (network.stem, *network.blocks):
        layer.register_forward_hook(lambda _m, _i, out: lengths.append(out.shape[-1]))
    network(torch.randn(2, 2, 288))
    assert lengths == [72, 72, 72, 36, 36, 18, 18, 9, 9]


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_blocks_start_as_the_identity(block: str) -> None:
    params = ResNet1dParams(block=block, width=4)  # type: ignore[arg-type]
    expansion = 4 if block == "bottleneck" else 1
    module = make(params).blocks[1].train()
    x = torch.randn(8, 4 * expansion, 1, 20).relu()
    assert torch.equal(module(x), x)
    other = make(params.model_copy(update={"zero_init": False})).blocks[1].train()
    assert not torch.allclose(other(x), x, atol=0.1)


@pytest.mark.parametrize("init", ["paper", "fan-in"])
def test_signals_keep_their_size_at_depth(init: str) -> None:
    """A hundred blocks neither swallow a signal nor blow it up; nor do they the gradient."""
    torch.manual_seed(0)
    network = build(ResNet1dParams(width=8, depths=(1, 48, 1), init=init), (2, 288), 5).train()  # type: ignore[arg-type]
    x = torch.randn(16, 2, 288)
    sizes: list[float] = []
    for layer in network.blocks:
        layer.register_forward_hook(lambda _m, _i, out: sizes.append(out.detach().std().item()))
    nn.functional.cross_entropy(network(x), torch.arange(16) % 5).backward()
    assert all(0.1 < size < 10 for size in sizes)
    gradients = [float(b.second[1].weight.grad.norm()) for b in network.blocks if isinstance(b, Basic)]
    assert max(gradients) < 30 * min(gradients)


def test_initial_weights() -> None:
    network = make(ResNet1dParams(width=64), (12, 128), 26)
    block = network.blocks[1]
    assert block.first[0].weight.std().item() == pytest.approx((2 / (64 * 5)) ** 0.5, rel=0.03)
    assert network.head.weight.std().item() == pytest.approx(0.01, rel=0.05)
    narrowing = make(ResNet1dParams(width=64, init="fan-in"), (12, 128), 26).blocks[2]
    assert narrowing.first[0].weight.std().item() == pytest.approx((2 / (64 * 5)) ** 0.5, rel=0.03)
    assert narrowing.second[0].weight.std().item() == pytest.approx((2 / (128 * 5)) ** 0.5, rel=0.03)


def test_dropout_is_of_training_alone() -> None:
    network = make(small(dropout=0.5))
    x = torch.randn(4, 3, 96)
    assert torch.equal(network.eval()(x), network(x))
    assert not torch.equal(network.train()(x), network(x))


def test_derived_features() -> None:
    params = ResNet1dParams(width=10, growth=1.5, depth=1.5, depths=(1, 2, 3), block="bottleneck")
    assert features(params, (1, 64), 2) == {"n_stages": 3, "n_blocks": 2 + 3 + 4, "last_width": 4 * 22}


def test_stages_are_capped_by_the_input() -> None:
    params = ResNet1dParams(width=4)
    found = [features(params, (1, n), 2)["n_stages"] for n in (4, 5, 8, 9, 16, 17, 5000)]
    assert found == [1, 2, 2, 3, 3, 4, 4]
    assert make(params, (1, 4), 2)(torch.randn(3, 1, 4)).shape == (3, 2)


@settings(deadline=None, max_examples=40)
@given(
    samples=st.integers(1, 300),
    stride=st.integers(1, 9),
    options=st.fixed_dictionaries({
        "width": st.integers(1, 9),
        "growth": st.floats(1, 4),
        "depth": st.floats(0.1, 2),
        "depths": st.lists(st.integers(1, 2), min_size=1, max_size=5).map(tuple),
        "block": st.sampled_from(("basic", "bottleneck")),
        "kernel_size": st.sampled_from((1, 3, 9)),
        "stem": st.sampled_from(("plain", "deep")),
        "pool": st.booleans(),
        "shortcut": st.sampled_from(("convolution", "mean")),
        "pooling": st.sampled_from(("mean", "mean-max")),
    }),
)  # fmt: skip
def test_whatever_the_options_a_network_runs_or_is_refused(
    samples: int, stride: int, options: dict[str, Any]
) -> None:
    params = ResNet1dParams(**options, stem_stride=stride)
    if samples < stride * (2 if params.pool else 1):
        with pytest.raises(InputError, match="too short for the stem"):
            build(params, (2, samples), 3)
        return
    network = build(params, (2, samples), 3)
    outputs = network.train()(torch.randn(2, 2, samples))
    assert outputs.shape == (2, 3)
    assert outputs.isfinite().all()
    assert sum(p.numel() for p in network.parameters()) == cost_by_hand(params, (2, samples), 3)[0]


@pytest.mark.parametrize(
    ("shape", "message"), [((1, 3), "too short for the stem"), ((8,), "channels, samples")]
)
def test_inputs_that_cannot_fit_are_refused(shape: tuple[int, ...], message: str) -> None:
    for call in (build, features):
        with pytest.raises(InputError, match=message):
            call(ResNet1dParams(), shape, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "kernel_size = 4 must be odd"),
        ({"stem_kernel": 8}, "stem_kernel = 8 must be odd"),
        ({"stem": "deeper"}, "'plain' or 'deep'"),
        ({"depths": (1, 0)}, "at least one block"),
        ({"block": "preact"}, "'basic' or 'bottleneck'"),
        ({"growth": 0.5}, "greater than or equal to 1"),
        ({"growth": float("nan")}, "finite"),
        ({"dropout": 1.0}, "less than 1"),
        ({"widht": 8}, "Extra inputs"),
    ],
)
def test_options_are_validated(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ResNet1dParams(**options)  # type: ignore[arg-type]


def test_options_survive_a_round_trip_through_json() -> None:
    for params in (SMALL, ResNet1dParams(), ResNet1dParams(width=12, depth=0.5, block="bottleneck")):
        assert ResNet1dParams(**params.model_dump(mode="json")) == params


class Contract(ArchitectureContract):
    @pytest.fixture
    def architecture(self) -> Architecture:
        return scalelab_architectures()[0]


class TestBasicBlocks(Contract):
    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {"width": 6}

    @pytest.fixture
    def larger(self) -> dict[str, object]:
        return {"width": 8}


class TestBottlenecks(Contract):
    draws = 1

    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {"width": 3, "block": "bottleneck", "shortcut": "mean", "stem": "deep", "pooling": "mean-max"}

    @pytest.fixture
    def larger(self) -> dict[str, object]:
        return {"width": 4}
