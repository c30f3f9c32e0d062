"""What a forward pass asks of a machine, against counts made by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import scalelab
from scalelab.errors import InputError
from scalelab.measure.flops import complexity


def test_counts_of_a_small_network_are_those_made_by_hand():
    # Per example: conv 4x16 -> 8x16, ReLU 8x16 -> 8x16, linear 128 -> 5.
    model = nn.Sequential(nn.Conv1d(4, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)).train()
    found = complexity(model, (4, 16))
    assert found.n_params == 4 * 8 * 3 + 8 + 128 * 5 + 5
    assert found.forward_flops == 2 * (4 * 8 * 3 * 16 + 128 * 5)
    assert found.grouped_flops == 0
    assert found.activation_bytes == 4 * ((64 + 128) + (128 + 128) + (128 + 5))
    assert (found.n_ops, found.n_layers) == (3, 2), "flattening is a view"
    assert model.training, "the model is left as it was"


@pytest.mark.parametrize(("groups", "part"), [(1, 0.0), (2, 1.0), (8, 1.0)])
def test_grouped_convolutions_are_told_apart(groups, part):
    found = complexity(nn.Conv1d(8, 16, 5, groups=groups), (8, 32))
    assert found.grouped_flops == part * found.forward_flops
    assert found.forward_flops == 2 * 16 * (8 // groups) * 5 * 28


def test_transposed_convolutions_count_what_the_flop_counter_counts():
    found = complexity(nn.ConvTranspose1d(8, 4, 4, stride=2, groups=4), (8, 16))
    assert found.grouped_flops == found.forward_flops > 0


class Peeking(nn.Module):
    """Looks at values, so that it cannot be traced without them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * (1 if x.sum().item() >= 0 else -1)


def test_a_model_that_looks_at_values_is_traced_on_the_cpu():
    found = complexity(Peeking(), (8,))
    assert found.forward_flops == 48
    assert found.n_layers == 1


def test_a_model_that_does_not_run_is_refused():
    with pytest.raises(InputError, match="cannot be counted"):
        complexity(nn.Linear(8, 3), (7,))


@pytest.mark.parametrize("name", ["convnext1d", "regnet1d", "resnet1d", "ssm1d"])
def test_larger_networks_ask_for_more(name):
    small, large = (
        complexity(scalelab.build_model(name, options, (12, 256), 5), (12, 256))
        for options in (
            {"regnet1d": {"w_init": 8, "w_0": 8}}.get(name, {"width": 8}),
            {"regnet1d": {"w_init": 32, "w_0": 64}}.get(name, {"width": 16}),
        )
    )
    for column in ("n_params", "forward_flops", "activation_bytes"):
        assert getattr(large, column) > getattr(small, column)
