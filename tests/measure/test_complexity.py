"""FLOPs against formulas written by hand; a multiply-add is two."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from scalelab.errors import InputError
from scalelab.measure.flops import complexity


class Wrapped(nn.Module):
    """Puts a layer behind another, so that the gradient of the layer's input is needed too."""

    def __init__(self, layer: nn.Module, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1))
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x + self.shift)


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
@pytest.mark.parametrize(("stride", "kernel", "dilation"), [(1, 3, 1), (2, 5, 1), (1, 3, 2)])
def test_convolutions_cost_the_same_forward_and_per_gradient(
    groups: int, stride: int, kernel: int, dilation: int
) -> None:
    conv = nn.Conv1d(8, 16, kernel, stride=stride, padding=dilation, dilation=dilation, groups=groups)
    out = conv(torch.zeros(1, 8, 32)).shape[-1]
    by_hand = 2 * out * 16 * (8 // groups) * kernel
    first = complexity(conv, (8, 32))
    assert first.forward_flops == by_hand
    assert first.train_flops_per_example == 2 * by_hand  # forward, gradient of the weight
    inner = complexity(Wrapped(conv, 8), (8, 32))
    assert inner.forward_flops == by_hand
    assert inner.train_flops_per_example == 3 * by_hand  # and gradient of the input


def test_depthwise_convolution_in_two_dimensions() -> None:
    conv = nn.Conv2d(6, 6, (3, 5), padding=(1, 2), groups=6, bias=False)
    by_hand = 2 * 10 * 12 * 6 * 3 * 5
    counted = complexity(nn.Sequential(nn.Conv2d(6, 6, 1, groups=6), conv), (6, 10, 12))
    pointwise = 2 * 10 * 12 * 6
    assert counted.forward_flops == by_hand + pointwise
    assert counted.train_flops_per_example == 3 * by_hand + 2 * pointwise


@pytest.mark.parametrize("groups", [1, 4])
def test_transposed_convolution(groups: int) -> None:
    conv = nn.ConvTranspose1d(8, 16, 3, stride=2, groups=groups)
    by_hand = 2 * 32 * 8 * (16 // groups) * 3
    assert complexity(conv, (8, 32)).train_flops_per_example == 2 * by_hand
    assert complexity(Wrapped(conv, 8), (8, 32)).train_flops_per_example == 3 * by_hand


def test_linear_layers() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 10), nn.ReLU(), nn.Linear(10, 3))
    counted = complexity(model, (2, 12))
    assert counted.forward_flops == 2 * (24 * 10 + 10 * 3)
    assert counted.train_flops_per_example == 2 * (2 * 24 * 10 + 3 * 10 * 3)


class Attention(nn.Module):
    """Self-attention with one projection; `peek` makes it look at a value, which meta tensors have not."""

    def __init__(self, dim: int = 32, heads: int = 4, peek: bool = False) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)
        self.heads, self.peek = heads, peek

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        if self.peek and x.sum().item() > 1e9:
            return q
        return scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, dim)


@pytest.mark.parametrize("peek", [False, True])
def test_attention_counts_on_meta_and_on_the_cpu(peek: bool) -> None:
    tokens, dim = 10, 32
    projection, products = 2 * tokens * dim * 3 * dim, 2 * (2 * tokens * tokens * dim)
    counted = complexity(Attention(dim, 4, peek), (tokens, dim))
    assert counted.forward_flops == projection + products
    assert counted.train_flops_per_example == 2 * projection + 3 * products


class Recurrent(nn.Module):
    def __init__(self, peek: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.peek = peek

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.peek:
            x.sum().item()
        return self.lstm(x)[0]


@pytest.mark.parametrize("peek", [False, True])
def test_recurrent_layers_count(peek: bool) -> None:
    assert complexity(Recurrent(peek), (10, 8)).forward_flops == 10 * 2 * 4 * 16 * (8 + 16)


def test_transformer_layer_by_hand() -> None:
    tokens, dim, hidden = 12, 16, 40
    layer = nn.TransformerEncoderLayer(dim, 2, hidden, batch_first=True)
    by_hand = 2 * tokens * (4 * dim * dim + 2 * dim * hidden) + 4 * tokens * tokens * dim
    assert complexity(layer, (tokens, dim)).forward_flops == by_hand


def test_parameters_with_and_without_the_head() -> None:
    body = nn.Linear(8, 4)
    tied = nn.Linear(8, 4)
    tied.weight = body.weight
    model = nn.Module()
    model.body, model.tied, model.head = body, tied, nn.Linear(4, 2)
    model.frozen = nn.Linear(3, 3).requires_grad_(False)
    model.forward = lambda x: model.head(model.body(x) + model.tied(x))  # type: ignore[method-assign]
    counted = complexity(nn.Sequential(body, nn.Linear(4, 2)), (8,), head="1")
    assert (counted.n_params, counted.n_params_body) == (8 * 4 + 4 + 4 * 2 + 2, 8 * 4 + 4)
    assert complexity(nn.Sequential(body), (8,), head="head").n_params_body is None
    trainable = complexity(nn.Sequential(model.frozen, nn.Linear(3, 2)), (3,))
    assert trainable.n_params == 3 * 2 + 2
    assert trainable.train_flops_per_example == trainable.forward_flops + 2 * 3 * 2


def test_shared_parameters_count_once() -> None:
    layer = nn.Linear(8, 8)
    assert complexity(nn.Sequential(layer, layer), (8,)).n_params == 8 * 8 + 8


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(24, 2)
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    complexity(model, (2, 8))
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_model_of_twenty_billion_parameters_needs_no_memory() -> None:
    with torch.device("meta"):
        model = nn.Linear(100_000, 200_000)
    assert complexity(model, (100_000,)).forward_flops == 2 * 100_000 * 200_000


def test_a_model_without_parameters_has_no_backward() -> None:
    counted = complexity(nn.Flatten(), (2, 3))
    assert (counted.n_params, counted.train_flops_per_example) == (0, 0)


@pytest.mark.parametrize(
    ("model", "message"), [(nn.Linear(5, 2), "does not run"), (nn.LSTM(3, 2), "a tuple, not a tensor")]
)
def test_a_model_that_does_not_fit_is_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        complexity(model, (2, 3))
