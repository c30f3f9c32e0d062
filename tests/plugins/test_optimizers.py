from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from scalelab_plugins.convnext1d import ConvNeXt1dParams, build
from scalelab_plugins.optimizers import scalelab_optimizers
from torch import nn

from scalelab import InputError, Optimizer
from scalelab.testing import OptimizerContract

OPTIMIZERS = {optimizer.name: optimizer for optimizer in scalelab_optimizers()}


def make_network() -> nn.Module:
    return build(ConvNeXt1dParams(width=4, depths=(1, 1), drop_path=0), (1, 32), 2)


@pytest.mark.parametrize(
    ("name", "lr", "weight_decay"), [("adamw", 1e-3, 0.05), ("sgd", 0.1, 1e-4), ("sgdm", 0.1, 1e-4)]
)
def test_defaults_and_groups(name: str, lr: float, weight_decay: float) -> None:
    network = make_network()
    optimizer = OPTIMIZERS[name].build(OPTIMIZERS[name].params(), network)
    decayed, kept = optimizer.param_groups
    assert (decayed["lr"], kept["lr"]) == (lr, lr)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (weight_decay, 0)
    names = {id(parameter): label for label, parameter in network.named_parameters()}
    assert {names[id(p)].rsplit(".")[-1] for p in decayed["params"]} == {"weight"}
    assert not any("norm" in names[id(p)] for p in decayed["params"])
    assert any(names[id(p)].endswith("scale") for p in kept["params"])
    assert len(decayed["params"]) + len(kept["params"]) == len(names)
    if name == "sgdm":
        assert decayed["momentum"] == 0.9
    if name == "sgd":
        assert decayed["momentum"] == 0


def by_hand(name: str, value: float, gradient: float, steps: int, **o: float) -> float:
    """The update rules written out for one number."""
    velocity = mean = square = 0.0
    for t in range(1, steps + 1):
        if name == "adamw":
            value -= o["lr"] * o["weight_decay"] * value
            mean = o["beta1"] * mean + (1 - o["beta1"]) * gradient
            square = o["beta2"] * square + (1 - o["beta2"]) * gradient**2
            value -= (
                o["lr"]
                * (mean / (1 - o["beta1"] ** t))
                / ((square / (1 - o["beta2"] ** t)) ** 0.5 + o["eps"])
            )
        else:
            pull = gradient + o["weight_decay"] * value
            velocity = o.get("momentum", 0) * velocity + pull
            value -= o["lr"] * (pull + o["momentum"] * velocity if o.get("nesterov") else velocity)
    return value


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adamw", {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.95, "eps": 1e-6}),
        ("sgd", {"lr": 0.1, "weight_decay": 0.01}),
        ("sgdm", {"lr": 0.1, "weight_decay": 0.01, "momentum": 0.7}),
        ("sgdm", {"lr": 0.1, "weight_decay": 0.01, "momentum": 0.7, "nesterov": True}),
    ],
)
def test_updates_follow_their_equations(name: str, options: dict[str, float]) -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 0.5)
    optimizer = OPTIMIZERS[name].build(OPTIMIZERS[name].params(**options), layer)
    for _ in range(3):
        optimizer.zero_grad()
        (layer.weight * 0.3).sum().backward()
        optimizer.step()
    assert layer.weight.item() == pytest.approx(by_hand(name, 0.5, 0.3, 3, **options), rel=1e-5)


def test_parameters_that_cannot_be_fused_still_train() -> None:
    layers = nn.Sequential(nn.Linear(2, 2, device="meta"), nn.Linear(2, 2, device="meta"))
    for component in OPTIMIZERS.values():
        assert component.build(component.params(), layers).param_groups[-1]["fused"] is False


def test_muon_has_the_matrices_and_adamw_the_rest() -> None:
    network = make_network()
    muon = OPTIMIZERS["muon"]
    built = muon.build(muon.params(lr=2e-3, weight_decay=0.3), network)
    matrices, decayed, kept = built.param_groups
    names = {id(parameter): label for label, parameter in network.named_parameters()}
    assert all(p.ndim == 2 for p in matrices["params"])
    held = {names[id(p)] for p in matrices["params"]}
    assert {name.rsplit(".", 2)[-2] for name in held} >= {"expand", "project"}
    assert "head.weight" not in held
    assert [group["weight_decay"] for group in built.param_groups] == [0.3, 0.3, 0.0]
    assert [group["lr"] for group in built.param_groups] == [2e-3] * 3
    assert len(held) + len(decayed["params"]) + len(kept["params"]) == len(names)


def test_muon_leaves_the_head_out_wherever_it_is_registered() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.body = nn.Linear(8, 2), nn.Linear(8, 8)
            self.attention = nn.MultiheadAttention(8, 2)

    network = Late()
    held = OPTIMIZERS["muon"].build(OPTIMIZERS["muon"].params(), network).param_groups[0]["params"]
    attention = network.attention
    wanted = [network.body.weight, attention.in_proj_weight, attention.out_proj.weight]
    assert {id(p) for p in held} == {id(p) for p in wanted}


def test_muon_is_orthogonal_and_as_large_as_adamw() -> None:
    """Newton-Schulz makes all singular values about 1; the scale is 0.2 √max(rows, columns)."""
    network = nn.Sequential(nn.Linear(40, 24, bias=False), nn.Linear(24, 2, bias=False))
    muon = OPTIMIZERS["muon"]
    built = muon.build(muon.params(lr=1.0, weight_decay=0.0, nesterov=False), network)
    before = network[0].weight.detach().clone()
    network(torch.randn(64, 40, generator=torch.Generator().manual_seed(0))).square().mean().backward()
    network[0].weight.grad = torch.randn(24, 40, generator=torch.Generator().manual_seed(1))
    built.step()
    singular = torch.linalg.svdvals(before - network[0].weight.detach()) / (0.2 * 40**0.5)
    assert (singular > 0.6).all()
    assert (singular < 1.3).all()


@pytest.mark.parametrize("width", [None, 8])
def test_muon_needs_matrices_and_knows_no_width(width: int | None) -> None:
    muon = OPTIMIZERS["muon"]
    if width is None:
        network = nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    else:
        network = build(ConvNeXt1dParams(width=width, depths=(1, 1), init="mup"), (1, 32), 2)
    with pytest.raises(InputError, match="none before its output" if width is None else "init = 'mup'"):
        muon.build(muon.params(), network)


@pytest.mark.parametrize(
    ("name", "options"),
    [("adamw", {"beta1": 1.0}), ("sgd", {"momentum": 0.9}), ("sgdm", {"lr": 0}), ("adamw", {"eps": 0})],
)
def test_options_are_validated(name: str, options: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        OPTIMIZERS[name].params(**options)


class TestContracts(OptimizerContract):
    @pytest.fixture(params=sorted(OPTIMIZERS))
    def optimizer(self, request: pytest.FixtureRequest) -> Optimizer:
        return OPTIMIZERS[request.param]
