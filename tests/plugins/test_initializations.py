"""Initializations of the bundled networks, and the rates that the maximal update parametrization asks for."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

import scalelab
from scalelab.errors import InputError
from scalelab.params import identity_of

SHAPE, CLASSES = (2, 64), 5


def network(name: str = "convnext1d", seed: int = 0, **options: object) -> nn.Module:
    torch.manual_seed(seed)
    return scalelab.build_model(name, options, SHAPE, CLASSES)


def spread(weight: torch.Tensor) -> float:
    return float(weight.detach().std())


@pytest.mark.parametrize("name", ["convnext1d", "regnet1d", "resnet1d"])
def test_the_papers_is_the_default_and_no_part_of_the_identity(name):
    component = scalelab.load_plugins().architecture(name)
    assert "init" not in identity_of(component.params())
    assert identity_of(component.params(init="fan-in"))["init"] == "fan-in"
    same, other = network(name), network(name, init="paper")
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("width", [8, 64])
def test_fan_in_keeps_the_size_of_a_branch_at_every_width(width):
    block = network(width=width, init="fan-in").stages[2]
    assert spread(block.expand.weight) == pytest.approx(width**-0.5, rel=0.15)
    assert spread(block.project.weight) == pytest.approx((4 * width) ** -0.5, rel=0.15)
    x = torch.randn(8, 16, width)
    branch = network(width=width, init="fan-in", layer_scale=1.0, drop_path=0.0).stages[2](x) - x
    assert 0.1 < float(branch.std()) < 2.0
    fixed = network(width=width, layer_scale=1.0, drop_path=0.0).stages[2](x) - x
    assert float(fixed.std()) < float(branch.std()) / 3


def test_regnets_fan_in():
    block = network("regnet1d", init="fan-in").blocks[0]
    conv = block.grouped[0]
    assert spread(conv.weight) == pytest.approx((2 / conv.weight[0].numel()) ** 0.5, rel=0.15)


def test_at_its_reference_the_maximal_update_parametrization_is_the_paper():
    mup, paper = network(width=16, init="mup", reference_width=16), network(width=16)
    catalog = scalelab.load_plugins()
    for name in ("adamw", "sgd", "sgdm"):
        optimizer = catalog.optimizer(name)
        groups = [optimizer.build(optimizer.params(), one).param_groups for one in (mup, paper)]
        assert [len(group["params"]) for group in groups[0]] == [len(group["params"]) for group in groups[1]]
        assert len({group["lr"] for group in groups[0]}) == 1
    for (key, a), b in zip(mup.named_parameters(), paper.parameters(), strict=True):
        assert spread(a) == pytest.approx(spread(b), rel=0.3, abs=0.02), key


@pytest.mark.parametrize("width", [4, 16, 128])
def test_weights_and_rates_follow_the_width(width):
    ratio = width / 64
    net = network(width=width, init="mup")
    block, patches = net.stages[2], net.stages[5]
    assert spread(patches.weight) == pytest.approx(0.02 * ratio**-0.5, rel=0.15)
    assert spread(block.project.weight) == pytest.approx(0.02 * ratio**-0.5, rel=0.3)
    assert spread(net.head.weight) == pytest.approx(0.02 / ratio, rel=0.35)
    assert spread(net.stages[0].weight) == pytest.approx(0.02, rel=0.3)
    rates = {}
    for name in ("adamw", "sgd"):
        optimizer = scalelab.load_plugins().optimizer(name)
        built = optimizer.build(optimizer.params(lr=1e-2, weight_decay=0.1), net)
        own = {id(p): group for group in built.param_groups for p in group["params"]}
        parts = {"hidden": block.expand.weight, "head": net.head.weight, "stem": net.stages[0].weight}
        parts |= {"bias": block.expand.bias, "depthwise": block.depthwise.weight, "answer": net.head.bias}
        rates[name] = {part: own[id(weight)]["lr"] / 1e-2 for part, weight in parts.items()}
        hidden = own[id(block.expand.weight)]
        assert hidden["lr"] * hidden["weight_decay"] == pytest.approx(1e-3)
    adam, sgd = rates["adamw"], rates["sgd"]
    same = dict.fromkeys(("stem", "bias", "depthwise", "answer"), 1.0)
    assert adam == pytest.approx({"hidden": 1 / ratio, "head": 1 / ratio, **same})
    expected = {"hidden": 1.0, "head": 1 / ratio, "answer": 1.0}
    assert sgd == pytest.approx({**expected, **dict.fromkeys(("stem", "bias", "depthwise"), ratio)})


def test_an_optimizer_that_does_not_know_of_it_is_refused():
    with pytest.raises(InputError, match="must call parameter_groups with lr and rule"):
        scalelab.parameter_groups(network(width=8, init="mup"), 0.1)
    assert len(scalelab.parameter_groups(network(width=64, init="mup"), 0.1)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "mup", "dims": (8, 16, 32, 64)}, "leave dims out"),
        ({"reference_width": 8}, "reference_width is of init = 'mup' alone"),
        ({"init": "xavier"}, "'paper', 'fan-in' or 'mup'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        scalelab.load_plugins().architecture("convnext1d").params(**options)
