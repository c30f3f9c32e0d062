from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError
from scalelab_plugins.convnext1d import ConvNeXt1dParams, build, features, scalelab_architectures
from scalelab_plugins.convnext1d_mixed import is_mixed
from scalelab_plugins.convnext1d_model import Block, ConvNeXt1d
from torch import nn
from torch.nn.functional import gelu

from scalelab import Architecture, InputError
from scalelab.measure.flops import complexity
from scalelab.testing import ArchitectureContract

SMALL = ConvNeXt1dParams(dims=(8, 12, 20), depths=(1, 2, 1), kernel_size=5, drop_path=0.3)


def make(params: ConvNeXt1dParams, shape: tuple[int, int] = (3, 96), n_outputs: int = 5) -> ConvNeXt1d:
    torch.manual_seed(0)
    network = build(params, shape, n_outputs)
    assert isinstance(network, ConvNeXt1d)
    return network


def textbook(network: ConvNeXt1d, x: torch.Tensor) -> torch.Tensor:
    """The same network as the paper draws it: (batch, channels, time), `Conv1d` and permutations."""

    def convolve(x: torch.Tensor, linear: nn.Linear, channels: int, size: int) -> torch.Tensor:
        weight = linear.weight.view(-1, size, channels).transpose(1, 2)
        return nn.functional.conv1d(x, weight, linear.bias, stride=size)

    def normalize(x: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
        return norm(x.permute(0, 2, 1)).permute(0, 2, 1)

    for layer in network.stages:
        if isinstance(layer, Block):
            branch = nn.functional.conv1d(
                x,
                layer.depthwise.weight.squeeze(2),
                layer.depthwise.bias,
                padding=layer.depthwise.padding[1],
                groups=x.shape[1],
            )
            branch = layer.norm(branch.permute(0, 2, 1))
            branch = layer.project(gelu(layer.expand(branch)))
            if layer.scale is not None:
                branch = branch * layer.scale
            x = x + branch.permute(0, 2, 1)
        elif isinstance(layer, nn.LayerNorm):
            x = normalize(x, layer)
        else:
            x = convolve(x, layer, x.shape[1], layer.size)
    return network.head(network.norm(x.mean(-1)))


@pytest.mark.parametrize("shape", [(3, 96), (3, 97), (1, 61)])
@pytest.mark.parametrize("layer_scale", [0.5, 0.0])
def test_it_is_the_textbook_network(shape: tuple[int, int], layer_scale: float) -> None:
    network = make(SMALL.model_copy(update={"layer_scale": layer_scale}), shape).eval()
    x = torch.randn(4, *shape)
    assert torch.allclose(network(x), textbook(network, x), atol=1e-5)


def test_pico_has_the_published_number_of_parameters() -> None:
    pico = ConvNeXt1dParams()
    assert (pico.width, pico.depths, pico.stem) == (48, (2, 2, 2, 2), 4)
    counted = complexity(make(pico, (12, 1024), 26), (12, 1024), head="head")
    assert counted.n_params == 3_364_586
    assert counted.n_params_body == 3_364_586 - (384 * 26 + 26)
    by_stages = ConvNeXt1dParams(dims=(48, 96, 192, 384))
    assert complexity(make(by_stages, (12, 1024), 26), (12, 1024)) == complexity(
        make(pico, (12, 1024), 26), (12, 1024)
    )


def flops_by_hand(
    params: ConvNeXt1dParams, dims: tuple[int, ...], shape: tuple[int, int], k: int
) -> tuple[int, int]:
    """Forward, and forward and backward, in multiply-adds of each convolution and linear layer."""
    time = shape[1] // params.stem
    stem = time * shape[0] * params.stem * dims[0]
    body = 0
    for i, (dim, depth) in enumerate(zip(dims, params.depths, strict=True)):
        if i:
            time //= 2
            body += time * 2 * dims[i - 1] * dim
        body += depth * time * dim * (params.kernel_size + 2 * round(params.expansion * dim))
    body += dims[-1] * k
    return 2 * (stem + body), 2 * (2 * stem + 3 * body)  # the stem needs no gradient of its input


@pytest.mark.parametrize(
    ("params", "shape", "n_outputs"),
    [
        (ConvNeXt1dParams(), (12, 1024), 26),
        (SMALL, (3, 96), 5),
        (SMALL, (2, 101), 4),
        (ConvNeXt1dParams(dims=(6, 10), depths=(3, 1), stem=3, kernel_size=9, expansion=2.5), (1, 50), 2),
    ],
)
def test_flops_equal_the_formula(params: ConvNeXt1dParams, shape: tuple[int, int], n_outputs: int) -> None:
    dims = params.dims or (48, 96, 192, 384)
    counted = complexity(make(params, shape, n_outputs), shape)
    assert (counted.forward_flops, counted.train_flops_per_example) == flops_by_hand(
        params, dims, shape, n_outputs
    )


def test_gradients_reach_every_parameter() -> None:
    network = make(SMALL.model_copy(update={"drop_path": 0.0}))
    nn.functional.cross_entropy(network(torch.randn(8, 3, 96)), torch.randint(0, 5, (8,))).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def gradients(
    network: ConvNeXt1d, x: torch.Tensor, precision: torch.dtype | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs, and the gradients of all parameters as one vector, in autocast where a precision is given."""
    torch.manual_seed(1)  # of stochastic depth
    network.zero_grad()
    with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
        outputs = network(x).float()
    nn.functional.cross_entropy(outputs, torch.arange(len(x)) % 5).backward()
    grads = [parameter.grad for parameter in network.parameters()]
    assert all(grad is not None and grad.dtype == torch.float32 for grad in grads)
    return outputs.detach(), torch.cat([grad.flatten() for grad in grads if grad is not None])


@pytest.mark.parametrize("layer_scale", [1.0, 0.0])
@pytest.mark.parametrize("drop_path", [0.3, 0.0])
def test_bf16_on_a_cpu_is_float32_but_for_rounding(
    monkeypatch: pytest.MonkeyPatch, layer_scale: float, drop_path: float
) -> None:
    options = {**SMALL.model_dump(), "layer_scale": layer_scale, "drop_path": drop_path}
    network = make(ConvNeXt1dParams(**options)).train()
    x = torch.randn(8, 3, 96, generator=torch.Generator().manual_seed(2))
    outputs, grads = gradients(network, x, None)
    low_outputs, low_grads = gradients(network, x, torch.bfloat16)
    assert not torch.equal(low_grads, grads)
    assert (low_outputs - outputs).norm() < 2e-2 * outputs.norm()
    assert (low_grads - grads).norm() < 2e-2 * grads.norm()
    # With float32 in place of bf16 they are the same.
    monkeypatch.setattr("scalelab_plugins.convnext1d_mixed.LOW", torch.float32)
    monkeypatch.setattr("scalelab_plugins.convnext1d_model.is_mixed", lambda _x: True)
    exact_outputs, exact_grads = gradients(network, x, None)
    torch.testing.assert_close(exact_outputs, outputs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(exact_grads, grads, rtol=1e-4, atol=1e-6)


def test_bf16_is_for_cpus_alone_and_not_for_what_is_exported() -> None:
    x = torch.zeros(2, 24, 8)
    assert not is_mixed(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert is_mixed(x)
        assert not is_mixed(x.to("meta"))
    with torch.autocast("cpu", torch.float16):
        assert not is_mixed(x)


def test_rates_of_stochastic_depth_rise_linearly() -> None:
    network = make(SMALL)
    rates = [layer.drop_path for layer in network.stages if isinstance(layer, Block)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize("layer_scale", [1.0, 0.0])
def test_stochastic_depth_drops_whole_branches_and_keeps_the_mean(layer_scale: float) -> None:
    torch.manual_seed(0)
    block = Block(4, 3, 2.0, drop_path=0.3, layer_scale=layer_scale)
    x = torch.randn(1, 6, 4).expand(20_000, 6, 4)
    with torch.no_grad():
        branch = block.eval()(x[:1]) - x[:1]
        moved = block.train()(x) - x
    dropped = (moved == 0).flatten(1).all(1)
    assert dropped.float().mean().item() == pytest.approx(0.3, abs=0.013)  # four standard errors
    assert torch.allclose(moved[~dropped], branch / 0.7, atol=1e-5)
    assert torch.allclose(moved.mean(0), branch[0], atol=0.03 * branch.abs().max().item())
    assert torch.equal(block.eval()(x[:2]), block.eval()(x[:2]))


def test_initial_weights() -> None:
    network = make(ConvNeXt1dParams(), (12, 1024), 26)
    blocks = [layer for layer in network.stages if isinstance(layer, Block)]
    weight = blocks[-1].expand.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert all(block.expand.bias.abs().max() == 0 for block in blocks)
    assert all((block.scale == 1e-6).all() for block in blocks)
    other = make(ConvNeXt1dParams(), (12, 1024), 26)
    assert torch.equal(weight, [b for b in other.stages if isinstance(b, Block)][-1].expand.weight)


def test_scaling_by_width_and_depth() -> None:
    network = ConvNeXt1dParams(width=10, depth=1.5, depths=(1, 2, 3))
    assert features(network, (1, 64), 2) == {"n_stages": 3, "n_blocks": 2 + 3 + 4, "last_width": 40}
    assert features(ConvNeXt1dParams(depth=0.1), (1, 64), 2)["n_blocks"] == 4


def test_stages_are_capped_by_the_input() -> None:
    scaled = ConvNeXt1dParams(width=8)
    assert [features(scaled, (1, n), 2)["n_stages"] for n in (4, 8, 16, 31, 32, 1000)] == [1, 2, 3, 3, 4, 4]
    assert make(scaled, (1, 4), 2)(torch.randn(3, 1, 4)).shape == (3, 2)
    with pytest.raises(InputError, match="only 3 fit"):
        build(ConvNeXt1dParams(dims=(8, 16, 32, 64)), (1, 16), 2)


@pytest.mark.parametrize(
    ("shape", "message"), [((1, 3), "shorter than the stem"), ((8,), "channels, samples")]
)
def test_inputs_that_cannot_fit_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(ConvNeXt1dParams(), shape, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "odd"),
        ({"dims": (8, 16)}, "2 stages but depths has 4"),
        ({"dims": (8, 16), "depths": (1, 1), "width": 9}, "contradicts"),
        ({"depths": (1, 0)}, "at least one block"),
        ({"drop_path": 1.0}, "less than 1"),
        ({"widht": 8}, "Extra inputs"),
        ({"expansion": float("nan")}, "finite"),
    ],
)
def test_options_are_validated(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ConvNeXt1dParams(**options)


def test_options_survive_a_round_trip_through_json() -> None:
    for params in (SMALL, ConvNeXt1dParams(), ConvNeXt1dParams(width=12, depth=0.5)):
        assert ConvNeXt1dParams(**params.model_dump(mode="json")) == params


def test_importing_the_plugin_does_not_import_torch() -> None:
    code = (
        "import sys, scalelab_plugins.convnext1d as a, scalelab_plugins.optimizers as b,"
        "scalelab_plugins.torch_backend as c;"
        "a.scalelab_architectures(); b.scalelab_optimizers(); c.scalelab_backends();"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class TestConvNeXt1d(ArchitectureContract):
    @pytest.fixture
    def architecture(self) -> Architecture:
        return scalelab_architectures()[0]

    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {"width": 8}

    @pytest.fixture
    def larger(self) -> dict[str, object]:
        return {"width": 12}
