from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scalelab_plugins import onnxruntime_backend, ssm1d_kernel
from scalelab_plugins.onnxruntime_backend import OnnxruntimeParams
from scalelab_plugins.ssm1d import Ssm1dParams, build, features, scalelab_architectures
from scalelab_plugins.ssm1d_kernel import StateSpace, toeplitz
from scalelab_plugins.ssm1d_model import Ssm1d
from torch import nn

from scalelab import Architecture, InputError, parameter_groups
from scalelab.measure.flops import complexity
from scalelab.testing import ArchitectureContract

SMALL = Ssm1dParams(width=6, depth=2, state=8)
FORMS = ("toeplitz", "fft", "blocks")


def make(params: Ssm1dParams, shape: tuple[int, int] = (3, 96), n_outputs: int = 5) -> Ssm1d:
    torch.manual_seed(0)
    network = build(params, shape, n_outputs)
    assert isinstance(network, Ssm1d)
    return network


# --- the recurrence ---------------------------------------------------------------------------------------


def step_by_step(layer: StateSpace, x: torch.Tensor) -> torch.Tensor:
    """The same state space model as the paper writes it: a complex recurrence over tokens, in float64."""
    modes = layer.output.shape[2] // 2
    a = torch.complex(-layer.log_decay.exp(), layer.frequency).to(torch.complex128)
    c = torch.complex(layer.output[..., :modes], -layer.output[..., modes:]).to(torch.complex128)
    step = layer.log_step.exp().double()[:, None]
    if layer.discretization == "zoh":
        turn = (step * a).exp()
        gain = (turn - 1) / a
    else:
        turn = (1 + step * a / 2) / (1 - step * a / 2)
        gain = step / (1 - step * a / 2)
    y = layer.skip.double() * x
    for direction in range(c.shape[1]):
        state = torch.zeros(len(x), *a.shape, dtype=torch.complex128)
        for token in range(x.shape[1]) if direction == 0 else reversed(range(x.shape[1])):
            after = turn * state + gain * x[:, token, :, None]
            # What comes from the other side does not see the token itself, which both would count.
            y[:, token] += 2 * (c[:, direction] * (state if direction else after)).sum(-1).real
            state = after
    return y


@settings(deadline=None, max_examples=60)
@given(
    n_tokens=st.integers(1, 80),
    width=st.integers(1, 4),
    state=st.integers(1, 6).map(lambda half: 2 * half),
    bidirectional=st.booleans(),
    spectrum=st.sampled_from(("lin", "inv")),
    discretization=st.sampled_from(("zoh", "bilinear")),
    largest=st.sampled_from((1e-2, 0.1, 3.0)),
    seed=st.integers(0, 99),
)
def test_every_form_is_the_recurrence(
    n_tokens: int, largest: float, width: int, seed: int, **options: Any
) -> None:
    torch.manual_seed(seed)
    layer = StateSpace(width, n_tokens, steps=(1e-3, largest), **options)
    with torch.no_grad():
        layer.log_decay += torch.randn_like(layer.log_decay)
        layer.frequency += torch.randn_like(layer.frequency)
        x = torch.randn(2, n_tokens, width)
        expected = step_by_step(layer, x)
        for form in FORMS:
            layer.form = form
            assert torch.allclose(layer(x).double(), expected, rtol=1e-4, atol=1e-4), form


@pytest.mark.parametrize("n_tokens", [12, 48, 49, 125])
def test_gradients_do_not_depend_on_the_form(n_tokens: int) -> None:
    torch.manual_seed(0)
    layer = StateSpace(4, n_tokens, state=8)
    x = torch.randn(3, n_tokens, 4, requires_grad=True)
    weights = torch.randn(3, n_tokens, 4)
    found = []
    for form in FORMS:
        layer.form = form
        found.append(torch.autograd.grad((layer(x) * weights).sum(), [x, *layer.parameters()]))
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            assert torch.allclose(one, other, rtol=1e-3, atol=1e-4 * float(one.abs().max()))


def test_the_matrix_has_the_kernel_at_the_difference_of_the_tokens() -> None:
    assert toeplitz(torch.tensor([0, 1, 2, -3, -2, -1]), 3).tolist() == [[0, 1, 2], [-1, 0, 1], [-2, -1, 0]]


def test_the_form_follows_from_the_number_of_tokens() -> None:
    most = ssm1d_kernel.TOEPLITZ_TOKENS
    assert StateSpace(2, most).form == "toeplitz"
    assert StateSpace(2, most + 1).form == "fft"
    assert make(Ssm1dParams(), (12, 5000)).blocks[0].mixer.form == "fft"


def test_one_direction_sees_only_the_past() -> None:
    torch.manual_seed(0)
    for bidirectional in (False, True):
        layer = StateSpace(3, 20, bidirectional=bidirectional)
        x = torch.randn(1, 20, 3)
        other = x.clone()
        other[:, 12:] += 1
        same = torch.isclose(layer(x), layer(other), atol=1e-6).all(2)[0]
        assert same[:12].all().item() is not bidirectional
        assert not same[12:].any()


@pytest.mark.parametrize("form", FORMS)
def test_under_autocast_the_kernel_keeps_its_digits(form: ssm1d_kernel.Form) -> None:
    torch.manual_seed(0)
    layer = StateSpace(8, 40)
    layer.form = form
    x = torch.randn(2, 40, 8)
    expected = layer(x).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.float32
        assert torch.equal(layer(x), expected)
        assert layer(x.bfloat16()).dtype == torch.bfloat16
        assert nn.functional.linear(x, torch.eye(8)).dtype == torch.bfloat16  # the rest does not


# --- what it costs ----------------------------------------------------------------------------------------


def cost_by_hand(params: Ssm1dParams, shape: tuple[int, int], k: int) -> tuple[int, int, int, int]:
    """Parameters; FLOPs of the patches, of the rest that each example costs, of the kernels."""
    channels, samples = shape
    tokens, width, state = samples // params.patch, params.width, params.state
    directions = 1 + params.bidirectional
    mixed = 2 * width if params.gate else width
    space = width * (1 + 2 * (state // 2) + directions * state + 1)
    block = 2 * width + space + width * mixed + mixed
    n_params = params.patch * channels * width + width + params.depth * block + 2 * width + (width + 1) * k
    patches = 2 * tokens * params.patch * channels * width
    each = params.depth * 2 * tokens * (width * tokens + width * mixed) + 2 * width * k
    kernels = params.depth * 2 * width * directions * state * tokens
    return n_params, patches, each, kernels


@pytest.mark.parametrize(
    "change", [{}, {"bidirectional": False}, {"gate": False}, {"discretization": "bilinear"}]
)
@pytest.mark.parametrize("shape", [(12, 384), (2, 101)])
def test_parameters_and_flops_by_hand(shape: tuple[int, int], change: dict[str, Any]) -> None:
    params = SMALL.model_copy(update=change)
    counted = complexity(make(params, shape, 26), shape, head="head", n_outputs=26)
    n_params, patches, each, kernels = cost_by_hand(params, shape, 26)
    assert counted.n_params == n_params
    assert counted.n_params_body == n_params - 26 * (params.width + 1)
    assert counted.forward_flops == patches + each
    assert counted.fixed_forward_flops == kernels
    assert counted.train_flops_per_example == 2 * patches + 3 * each  # the input needs no gradient
    assert counted.fixed_train_flops == 3 * kernels
    assert counted.uncounted == ()


def test_flops_of_the_transforms_by_hand() -> None:
    """125 tokens: transforms of 250 numbers, a real one at half of 5·n·log2(n), and 126 complex products."""
    shape, params = (12, 1000), SMALL
    counted = complexity(make(params, shape, 26), shape)
    _, patches, each, kernels = cost_by_hand(params, shape, 26)
    tokens, width = 125, params.width
    matrices = params.depth * 2 * tokens * width * tokens
    transform = 2.5 * 250 * torch.tensor(250.0).log2().item()
    transforms = params.depth * width * (2 * transform + 6 * 126)
    assert counted.forward_flops == pytest.approx(patches + each - matrices + transforms, rel=1e-3)
    assert counted.fixed_forward_flops == pytest.approx(kernels + params.depth * width * transform, rel=1e-3)
    assert counted.uncounted == ()


def test_parameters_span_three_decades_of_the_default_space() -> None:
    space = scalelab_architectures()[0].space
    sizes = [
        cost_by_hand(
            Ssm1dParams(**{name: pick(dimension.grid()) for name, dimension in space.items()}), (2, 288), 5
        )[0]
        for pick in (min, max)
    ]
    assert sizes[0] < 10_000
    assert sizes[1] > 10_000_000


# --- how it starts ----------------------------------------------------------------------------------------


def test_initial_modes() -> None:
    lin, inv = StateSpace(3, 10, state=8), StateSpace(3, 10, state=8, spectrum="inv")
    pi = torch.pi
    assert lin.frequency[1].tolist() == pytest.approx([0, pi, 2 * pi, 3 * pi])
    assert inv.frequency[1].tolist() == pytest.approx([8 / pi * (8 / odd - 1) for odd in (1, 3, 5, 7)])
    assert lin.log_decay.exp().tolist() == [pytest.approx([0.5] * 4)] * 3
    steps = StateSpace(5000, 10, steps=(0.01, 1.0)).log_step.detach().exp()
    assert steps.min().item() == pytest.approx(0.01, rel=0.01)
    assert steps.max().item() == pytest.approx(1.0, rel=0.01)
    assert steps.log10().mean().item() == pytest.approx(-1, abs=0.03)


def test_modes_and_steps_do_not_decay() -> None:
    network = make(SMALL)
    decaying = {id(p) for p in parameter_groups(network, 0.1)[0]["params"]}
    named = {name.rpartition(".")[2] for name, p in network.named_parameters() if id(p) in decaying}
    assert named == {"weight", "output"}
    space = network.blocks[0].mixer
    assert not decaying & {id(p) for p in (space.log_decay, space.frequency, space.log_step, space.skip)}


@pytest.mark.parametrize("samples", [96, 1000])
def test_signals_keep_their_size_at_depth(samples: int) -> None:
    torch.manual_seed(0)
    network = build(Ssm1dParams(width=32, depth=48), (2, samples), 5).train()
    sizes: list[float] = []
    for block in network.blocks:
        block.register_forward_hook(lambda _m, _i, out: sizes.append(out.detach().std().item()))
    nn.functional.cross_entropy(network(torch.randn(8, 2, samples)), torch.arange(8) % 5).backward()
    assert all(0.1 < size < 10 for size in sizes)
    gradients = [float(block.mix.weight.grad.norm()) for block in network.blocks]
    assert max(gradients) < 30 * min(gradients)


def test_a_long_training_at_a_high_rate_stays_finite() -> None:
    network = make(SMALL, (2, 96)).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.03)
    x, y = torch.randn(32, 2, 96), torch.arange(32) % 5
    losses = []
    for _ in range(150):
        loss = nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


# --- how it leaves PyTorch --------------------------------------------------------------------------------


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("patch", [8, 1])
def test_what_is_exported_needs_neither_transforms_nor_complex_numbers(
    exporter: str, patch: int, tmp_path: Path
) -> None:
    module = make(Ssm1dParams(width=6, depth=1, state=4, patch=patch), (3, 70))
    example = np.random.default_rng(0).standard_normal((2, 3, 70)).astype(np.float32)
    onnx = pytest.importorskip("onnx")
    path = onnxruntime_backend.export(exporter, OnnxruntimeParams(), module, example, tmp_path)
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert "Conv" in operators
    assert not operators & {"DFT", "STFT", "Atan", "Loop", "Scan", "If"}
    outputs = onnxruntime_backend.open_session(path, "CPU", 1).run(None, {"inputs": example})[0]
    with torch.inference_mode():
        expected = module.eval()(torch.from_numpy(example)).numpy()
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


# --- options ----------------------------------------------------------------------------------------------


def test_a_rest_of_samples_is_dropped() -> None:
    network = make(SMALL, (3, 101))
    x = torch.randn(2, 3, 101)
    other = x.clone()
    other[..., 96:] = 0
    assert torch.equal(network(x), network(other))
    assert features(SMALL, (3, 101), 5) == {"n_tokens": 12}


def test_dropout_is_of_training_alone() -> None:
    network = make(SMALL.model_copy(update={"dropout": 0.5}))
    x = torch.randn(4, 3, 96)
    assert torch.equal(network.eval()(x), network(x))
    assert not torch.equal(network.train()(x), network(x))


@pytest.mark.parametrize(
    ("shape", "message"), [((1, 7), "shorter than a token of ssm1d"), ((8,), "channels, samples")]
)
def test_inputs_that_cannot_fit_are_refused(shape: tuple[int, ...], message: str) -> None:
    for call in (build, features):
        with pytest.raises(InputError, match=message):
            call(Ssm1dParams(), shape, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": 7}, "multiple of 2"),
        ({"step_min": 0.5}, "step_min = 0.5 is above step_max = 0.1"),
        ({"step_max": float("inf")}, "finite"),
        ({"spectrum": "legs"}, "'lin' or 'inv'"),
        ({"depth": 0}, "greater than or equal to 1"),
        ({"patch": 0}, "greater than or equal to 1"),
        ({"dropout": 1.0}, "less than 1"),
        ({"widht": 8}, "Extra inputs"),
    ],
)
def test_options_are_validated(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Ssm1dParams(**options)


class Contract(ArchitectureContract):
    draws = 2

    @pytest.fixture
    def architecture(self) -> Architecture:
        return scalelab_architectures()[0]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"width": 8, "depth": 2}

    @pytest.fixture
    def larger(self) -> dict[str, Any]:
        return {"width": 12}


class TestFewTokens(Contract):
    pass


class TestManyTokens(Contract):
    draws = 1

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"width": 8, "depth": 2, "patch": 3, "bidirectional": False, "gate": False, "spectrum": "inv"}
