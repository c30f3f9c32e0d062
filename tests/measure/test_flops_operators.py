"""FLOPs of operators against formulas written by hand, forward and backward; what is not counted is named."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional

from scalelab.errors import InputError
from scalelab.measure.counter import counting
from scalelab.measure.flops import complexity

BATCH = 2


def counted(run) -> int:
    """FLOPs of what `run` does, which must all be known."""
    with counting() as counter:
        run()
    assert counter.uncounted == set()
    return counter.flops


def meta(*shape: int, dtype: torch.dtype = torch.float32, grad: bool = True) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype, device="meta", requires_grad=grad)


class FftConvolution(nn.Module):
    """A long convolution by Fourier transforms, as in S4D and Hyena."""

    def __init__(self, channels: int, samples: int) -> None:
        super().__init__()
        self.kernel, self.head = nn.Parameter(torch.randn(channels, samples)), nn.Linear(channels, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[-1]
        kernel = torch.fft.rfft(self.kernel, 2 * n)
        return self.head(torch.fft.irfft(torch.fft.rfft(x, 2 * n) * kernel, 2 * n)[..., :n].mean(-1))


def test_a_convolution_by_fourier_transforms() -> None:
    found = complexity(FftConvolution(64, 1024), (64, 1024))
    transform = 2.5 * 2048 * 11
    assert found.forward_flops == 64 * 2 * transform + 64 * 6 * 1025 + 2 * 64 * 3
    assert found.fixed_forward_flops == 64 * transform
    # Backward: the transform to real numbers has a transform as its gradient, that of the product is two
    # products, and the kernel's transform has a complex transform, once a batch; the input needs no gradient,
    # so that the product has one.
    backward = 64 * transform + 64 * 6 * 1025 + 2 * 2 * 64 * 3
    assert found.train_flops_per_example == found.forward_flops + backward
    assert found.fixed_train_flops == 64 * transform + 64 * 5 * 2048 * 11
    assert found.step_flops(8) == 8 * found.train_flops_per_example + found.fixed_train_flops
    assert found.train_flops_at(8) == found.step_flops(8) / 8
    assert found.forward_flops_at(4) == found.forward_flops + 16 * transform
    assert found.footprint.forward_flops == found.forward_flops_at(1)


@pytest.mark.parametrize("n", [5, 12, 64, 1000])
def test_transforms(n: int) -> None:
    real, half = meta(3, 4, n, grad=False), round(2.5 * n * math.log2(n))
    complex_ones = meta(3, 4, n, dtype=torch.complex64, grad=False)
    assert counted(lambda: torch.fft.rfft(real)) == 12 * half
    assert counted(lambda: torch.fft.irfft(complex_ones[..., : n // 2 + 1], n)) == 12 * half
    assert counted(lambda: torch.fft.fft(complex_ones)) == 12 * round(5 * n * math.log2(n))
    assert counted(lambda: torch.fft.ifft2(complex_ones)) == 3 * round(5 * 4 * n * math.log2(4 * n))
    assert counted(lambda: torch.fft.rfft2(real)) == 3 * round(2.5 * 4 * n * math.log2(4 * n))


def test_a_short_time_transform() -> None:
    signal, window = meta(2, 256, grad=False), meta(64, grad=False)
    frames = 1 + 256 // 16
    found = counted(lambda: torch.stft(signal, 64, 16, window=window, return_complex=True))
    assert found == 2 * frames * 2.5 * 64 * 6


@pytest.mark.parametrize(("dtype", "each"), [(torch.float32, 2), (torch.complex64, 8)])
def test_products_of_real_and_complex_numbers(dtype: torch.dtype, each: int) -> None:
    def of(*shape: int) -> torch.Tensor:
        return meta(*shape, dtype=dtype, grad=False)

    assert counted(lambda: of(3, 4) @ of(4, 5)) == each * 3 * 4 * 5
    assert counted(lambda: of(2, 3, 4) @ of(2, 4, 5)) == each * 2 * 3 * 4 * 5
    assert counted(lambda: of(3, 4) @ of(4)) == each * 3 * 4
    assert counted(lambda: of(4).dot(of(4))) == each * 4
    assert counted(lambda: torch.vdot(of(4), of(4))) == each * 4
    assert counted(lambda: torch.addmm(of(3, 5), of(3, 4), of(4, 5))) == each * 3 * 4 * 5
    assert counted(lambda: torch.baddbmm(of(2, 3, 5), of(2, 3, 4), of(2, 4, 5))) == each * 2 * 3 * 4 * 5
    assert counted(lambda: torch.addbmm(of(3, 5), of(2, 3, 4), of(2, 4, 5))) == each * 2 * 3 * 4 * 5
    assert counted(lambda: torch.einsum("bij,bjk->bik", of(2, 3, 4), of(2, 4, 5))) == each * 120


def test_looking_for_errors_of_a_solver_is_free() -> None:
    with counting() as counter:
        torch.linalg.inv(torch.eye(4))
    assert "aten::_linalg_check_errors" not in counter.uncounted


def test_gradients_of_complex_products() -> None:
    a, b = (meta(*shape, dtype=torch.complex64) for shape in ((3, 4), (4, 5)))
    forward = 8 * 3 * 4 * 5
    assert counted(lambda: torch.view_as_real(a @ b).sum().backward()) == 3 * forward


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("transposed", [False, True])
def test_complex_convolutions_are_four_real_ones(groups: int, transposed: bool) -> None:
    convolve = functional.conv_transpose1d if transposed else functional.conv1d

    def run(dtype: torch.dtype) -> int:
        inputs, weight = meta(2, 6, 20, dtype=dtype), meta(6, 6 // groups, 3, dtype=dtype)
        bias = meta(6, dtype=dtype)
        return counted(lambda: convolve(inputs, weight, bias, stride=2, groups=groups).abs().sum().backward())

    # Beside the convolutions, the gradient of the absolute value is a product of a real and a complex number.
    positions = 41 if transposed else 9
    assert run(torch.complex64) == 4 * run(torch.float32) + 2 * 2 * 6 * positions


def test_complex_convolutions_give_the_same_numbers() -> None:
    torch.manual_seed(0)
    inputs, weight, bias = (
        torch.randn(*shape, dtype=torch.complex128) for shape in ((2, 4, 9), (6, 2, 3), (6,))
    )
    expected = functional.conv1d(inputs, weight, bias, padding=1, groups=2)
    with counting():
        found = functional.conv1d(inputs, weight, bias, padding=1, groups=2)
    assert torch.allclose(found, expected)


def test_element_wise_products_of_complex_numbers() -> None:
    a, b = meta(3, 4, dtype=torch.complex64, grad=False), meta(3, 4, grad=False)
    assert counted(lambda: a * a) == 6 * 12
    assert counted(lambda: a * b) == 2 * 12
    assert counted(lambda: b * b) == 0
    assert counted(lambda: a * 2.0) == 0
    assert counted(lambda: a + a) == 0


def test_other_work_with_products_of_complex_numbers() -> None:
    z, x = meta(3, 4, dtype=torch.complex64, grad=False), meta(3, 4, grad=False)
    powers = {0: 0, 1: 0, 2: 1, 3: 2, 4: 2, 7: 4, 8: 3, -1: 1, -2: 2, 5.0: 3, 0.5: 1, math.inf: 1, 1j: 1}
    for power, products in powers.items():
        assert counted(lambda power=power: z**power) == products * 6 * 12, power
        if not isinstance(power, complex):
            assert counted(lambda power=power: x**power) == 0
    assert counted(lambda: z.square()) == counted(lambda: z.square_()) == 6 * 12
    assert counted(lambda: z.reciprocal()) == counted(lambda: 1 / z) == counted(lambda: z / z) == 6 * 12
    assert counted(lambda: z.rsqrt()) == counted(lambda: z**z) == counted(lambda: x**z) == 6 * 12
    assert counted(lambda: z.prod()) == counted(lambda: z.prod(1)) == 6 * 12
    assert counted(lambda: x.reciprocal() + x.prod() + x.square() + x.rsqrt()) == 0


def test_running_sums_and_their_like() -> None:
    x = meta(3, 40, grad=False)
    for run in (torch.cumsum, torch.cumprod, torch.cummax, torch.cummin):
        assert counted(lambda run=run: run(x, 1)) == 120
    assert counted(lambda: torch.logcumsumexp(x, 1)) == 4 * 120
    assert counted(lambda: torch.arange(40, device="meta").cumsum(0)) == 0, "positions are no arithmetic"
    z = meta(3, 40, dtype=torch.complex64, grad=False)
    assert counted(lambda: z.cumsum(1)) == 2 * 120
    assert counted(lambda: z.cumprod(1)) == 6 * 120
    y = meta(3, 40)
    assert counted(lambda: y.cumsum(1).sum().backward()) == 2 * 120


def test_bilinear_layers() -> None:
    layer = nn.Bilinear(4, 5, 6, device="meta")
    assert counted(lambda: layer(meta(3, 4), meta(3, 5))) == 3 * 3 * 4 * 5 * 6


def plain_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    return (q @ k.transpose(-2, -1)).softmax(-1) @ v


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("heads", [4, 2, 1])
def test_attention_counts_alike_in_every_form(heads: int, device: str) -> None:
    flex = pytest.importorskip("torch.nn.attention.flex_attention").flex_attention
    forms = {
        "plain": plain_attention,
        "fused": lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, enable_gqa=heads < 4),
        "causal": lambda q, k, v: functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=heads < 4
        ),
        "flex": lambda q, k, v: flex(q, k, v, enable_gqa=heads < 4),
    }
    forward = 2 * 2 * 4 * 6 * 9 * (8 + 8)
    for name, attend in forms.items():
        q, k, v = (torch.zeros(2, n, t, 8, device=device) for n, t in ((4, 6), (heads, 9), (heads, 9)))
        assert counted(lambda: attend(q, k, v)) == forward, name  # noqa: B023 - called at once
        for one in (q, k, v):
            one.requires_grad_()
        assert counted(lambda: attend(q, k, v).sum().backward()) == 3 * forward, name  # noqa: B023


def test_operators_of_fused_attention_have_the_formula() -> None:
    from scalelab.measure.formulas import FORMULAS

    q, k = meta(2, 4, 6, 8), meta(2, 2, 9, 8)
    forward = 2 * 2 * 4 * 6 * 9 * 16
    names = [name for name in FORMULAS if "attention" in name]
    assert len(names) == 10
    for name in names:
        backward = name.endswith("_backward")
        assert FORMULAS[name]((q, q, k, k) if backward else (q, k, k), None) == forward * (1 + backward), name


@pytest.mark.parametrize("frozen", [False, True])
def test_layers_with_a_fast_path_of_their_own(frozen: bool) -> None:
    tokens, width, hidden = 12, 16, 40
    attention, layers = 4 * tokens * tokens * width, 2 * tokens * (4 * width * width + 2 * width * hidden)
    layer = nn.TransformerEncoderLayer(width, 2, hidden, batch_first=True).requires_grad_(not frozen)
    found = complexity(layer, (tokens, width))
    assert found.forward_flops == attention + layers
    assert found.uncounted == ()

    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(width, 4, batch_first=True).requires_grad_(not frozen)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x, x, x)[0]

    found = complexity(SelfAttention(), (tokens, width))
    assert found.forward_flops == attention + 8 * tokens * width * width


@pytest.fixture
def library() -> Iterator[torch.library.Library]:
    library = torch.library.Library("flops_test", "FRAGMENT")
    yield library
    library._destroy()


class Calls(nn.Module):
    """A linear layer, and an operator on what it gives."""

    def __init__(self, operator) -> None:
        super().__init__()
        self.layer, self.operator = nn.Linear(4, 4), operator

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.operator(self.layer(x))


@pytest.mark.parametrize("on_meta", [True, False])
def test_an_operator_that_is_not_known_is_named(library: torch.library.Library, on_meta: bool) -> None:
    library.define("twice(Tensor x) -> Tensor")
    for key in ("CPU", *(["Meta"] if on_meta else [])):
        library.impl("twice", lambda x: x + x, key)
    found = complexity(Calls(lambda x: torch.ops.flops_test.twice(x.detach())), (4,))
    assert found.uncounted == ("flops_test::twice",)
    assert found.forward_flops == 2 * 4 * 4


def test_an_operator_that_runs_nowhere_is_refused(library: torch.library.Library) -> None:
    library.define("nowhere(Tensor x) -> Tensor")
    library.impl("nowhere", lambda x: x, "CUDA")
    with pytest.raises(InputError, match="cannot be counted: it does not run on an input"):
        complexity(Calls(torch.ops.flops_test.nowhere), (4,))


@pytest.mark.parametrize("error", [BaseException("base"), SystemExit(3), ValueError("no")], ids=repr)
def test_a_network_that_ends_with_anything_is_refused(error: BaseException) -> None:
    def fail(_x: torch.Tensor) -> torch.Tensor:
        raise error

    with pytest.raises(InputError, match=f"does not run on an input .*{type(error).__name__}"):
        complexity(Calls(fail), (4,))


def test_an_operator_with_a_formula_in_torch_s_registry_counts(
    library: torch.library.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scalelab.measure import counter

    library.define("known(Tensor x) -> Tensor")
    library.impl("known", lambda x: x + x, "Meta")
    packet = torch.ops.flops_test.known
    monkeypatch.setitem(counter.flop_registry, packet, lambda x, out_val=None: 7 * x.numel())
    found = complexity(Calls(lambda x: packet(x.detach())), (4,))
    assert found.uncounted == ()
    assert found.forward_flops == 2 * 4 * 4 + 7 * 4


def test_all_that_is_not_known_is_named_in_order() -> None:
    def solved(x: torch.Tensor) -> torch.Tensor:
        square = x[:, :, None] * x[:, None, :]
        return torch.linalg.eigvalsh(square) + torch.linalg.solve(square, x) + torch.cdist(x, x).sum()

    found = complexity(Calls(solved), (4,))
    assert list(found.uncounted) == sorted(found.uncounted)
    assert {"aten::_linalg_eigh", "aten::_linalg_solve_ex", "aten::_cdist_forward"} <= set(found.uncounted)


def ordinary() -> Iterator[tuple[str, nn.Module, tuple[int, ...]]]:
    """Layers without any operator that should be named."""
    for name in (
        "ReLU", "GELU", "SiLU", "Mish", "Softplus", "Hardswish", "Hardsigmoid", "Hardtanh", "LeakyReLU",
        "ELU", "SELU", "CELU", "Sigmoid", "Tanh", "LogSigmoid", "Softsign", "Softshrink", "Hardshrink",
        "Tanhshrink", "ReLU6", "PReLU", "RReLU", "Identity",
    ):  # fmt: skip
        yield name, getattr(nn, name)(), (4, 8)
    for module in (
        nn.Softmax(1), nn.LogSoftmax(1), nn.GLU(1), nn.BatchNorm1d(4), nn.GroupNorm(2, 4), nn.LayerNorm(8),
        nn.RMSNorm(8), nn.InstanceNorm1d(4, affine=True), nn.LocalResponseNorm(2), nn.MaxPool1d(2),
        nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(2), nn.AdaptiveMaxPool1d(2), nn.LPPool1d(2, 2), nn.Dropout(0.5),
        nn.AlphaDropout(0.5), nn.ReflectionPad1d(2), nn.ReplicationPad1d(2), nn.ConstantPad1d(2, 0.0),
        nn.CircularPad1d(2), nn.ZeroPad1d(1), nn.Upsample(scale_factor=2), nn.Softmin(1), nn.Threshold(0, 0),
        nn.Upsample(scale_factor=2, mode="linear"), nn.Flatten(), nn.Unflatten(1, (2, 2)),
        nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 4, 3)), nn.ChannelShuffle(2),
    ):  # fmt: skip
        yield str(module), module, (4, 8)
    for module in (
        nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(2),
        nn.PixelShuffle(2),
        nn.PixelUnshuffle(2), nn.Upsample(scale_factor=2, mode="bilinear"), nn.ReflectionPad2d(1),
        nn.Upsample(scale_factor=2, mode="bicubic"), nn.Unfold(2), nn.BatchNorm2d(4), nn.Dropout2d(0.5),
        nn.FractionalMaxPool2d(2, output_size=2),
    ):  # fmt: skip
        yield str(module), module, (4, 8, 8)


@pytest.mark.parametrize(("name", "module", "shape"), list(ordinary()), ids=lambda one: str(one)[:40])
def test_ordinary_layers_are_free_and_known(name: str, module: nn.Module, shape: tuple[int, ...]) -> None:
    model = nn.Sequential(nn.BatchNorm2d(4) if len(shape) == 3 else nn.BatchNorm1d(4), module)
    found = complexity(model, shape)
    assert found.uncounted == ()
    assert found.forward_flops == (2 * 4 * 4 * 3 * 6 if "Conv1d" in name else 0)
    with counting() as counter:  # as in training, where they drop and normalize by the batch
        model.train()(torch.zeros(3, *shape)).sum().backward()
    assert counter.uncounted == set()


def test_picking_and_placing_is_free_and_known() -> None:
    def moves(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y[:, 1] = x[:, 0] * 2
        y = torch.where(y > 0, y, x).masked_fill(x < 0, 0.0).index_select(1, torch.tensor([2, 0, 1, 3]))
        y = torch.cat([y, y.flip(1), y.roll(1, 1)], 1).sort(1).values.topk(4, 1).values
        y = y.scatter_add(1, torch.zeros(len(x), 4, dtype=torch.int64), y).gather(
            1, torch.tensor([[1]] * len(x))
        )
        y = y + functional.embedding(torch.zeros(len(x), dtype=torch.int64), torch.ones(3, 1))
        return functional.one_hot(torch.zeros(len(x), dtype=torch.int64), 4) * y.clamp(0, 1).tril()

    assert complexity(Calls(moves), (4,)).uncounted == ()


class Hyper(nn.Module):
    """A convolution whose kernel a small network makes, once a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.code = nn.Linear(5, 2 * 4 * 3), nn.Parameter(torch.ones(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv1d(x, self.make(self.code).view(4, 2, 3))


def test_work_that_does_not_depend_on_the_batch_is_counted_once() -> None:
    found = complexity(Hyper(), (2, 12))
    convolution, kernel = 2 * 10 * 4 * 2 * 3, 2 * 5 * 24
    assert (found.forward_flops, found.fixed_forward_flops) == (convolution, kernel)
    assert found.train_flops_per_example == 2 * convolution
    assert found.fixed_train_flops == 3 * kernel


@pytest.mark.parametrize("scale", [1, 3])
def test_examples_that_interact_count_as_in_a_batch_of_two(scale: int) -> None:
    found = complexity(Calls(lambda x: (x @ x.T) @ x * scale), (4,))
    assert found.fixed_forward_flops == 0
    assert found.forward_flops == (2 * BATCH * 4 * 4 + 2 * (2 * BATCH * BATCH * 4)) / BATCH


def test_a_network_for_batches_of_one_size_has_nothing_fixed() -> None:
    def pairs(x: torch.Tensor) -> torch.Tensor:
        assert len(x) == 2
        return x

    found = complexity(Calls(pairs), (4,))
    assert (found.forward_flops, found.fixed_forward_flops) == (32, 0)
