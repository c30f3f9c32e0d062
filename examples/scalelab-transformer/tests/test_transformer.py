"""The Transformer keeps scalelab's contract, and is the network that its words say."""

from __future__ import annotations

import pytest
import scalelab_transformer
import torch  # noqa: TID253
from pydantic import ValidationError
from scalelab_transformer import TransformerParams, build, features
from scalelab_transformer.model import Rotary, Transformer1d

import scalelab
from scalelab.testing import ArchitectureContract

SMALL = {"width": 16, "depth": 2, "heads": 2, "patch_length": 16}


class TestRotary(ArchitectureContract):
    """The contract, positions being turned."""

    @pytest.fixture
    def architecture(self):
        """Returns the architecture."""
        return scalelab_transformer.scalelab_architectures()[0]

    @pytest.fixture
    def options(self):
        """Returns a small model's options."""
        return SMALL

    @pytest.fixture
    def larger(self):
        """Returns a larger model's options."""
        return {**SMALL, "width": 32}


class TestLearned(TestRotary):
    """The contract, positions being learned, with dropout; a length that is not a multiple of a patch."""

    @pytest.fixture
    def options(self):
        """Returns a small model's options."""
        return {**SMALL, "positions": "learned", "dropout": 0.1}

    @pytest.fixture
    def input_shape(self):
        """Returns a shape whose last patch is padded."""
        return (3, 250)


def make(input_shape=(2, 100), n_outputs=3, **options) -> Transformer1d:
    """Returns the network of seed 0."""
    torch.manual_seed(0)
    return build(TransformerParams(**{**SMALL, **options}), input_shape, n_outputs).eval()


@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize(("channels", "samples", "outputs"), [(2, 96, 3), (12, 1000, 26)])
def test_parameters_and_flops_by_hand(positions, channels, samples, outputs):
    """Counts follow from the layers, attention's two products included."""
    width, depth, patch, hidden = 24, 3, 16, 60
    model = make((channels, samples), outputs, width=width, depth=depth, mlp_ratio=2.5, positions=positions)
    counted = scalelab.complexity(model, (channels, samples), head="head")
    tokens = -(-samples // patch)
    embed = 2 * tokens * channels * patch * width
    layer = 2 * tokens * (4 * width * width + 2 * width * hidden) + 4 * tokens * tokens * width
    body = depth * layer + 2 * width * outputs
    assert counted.forward_flops == embed + body
    assert counted.train_flops_per_example == 2 * embed + 3 * body  # the input needs no gradient
    block = 4 * width * width + width + 2 * width * hidden + hidden + width + 4 * width
    learned = tokens * width if positions == "learned" else 0
    body_params = channels * patch * width + width + learned + depth * block + 2 * width
    assert counted.n_params_body == body_params
    assert counted.n_params == body_params + width * outputs + outputs


def test_attention_is_softmax_of_scaled_products():
    """The fused attention gives what the textbook formula gives."""
    attention = make().blocks[0].attention
    x = torch.randn(2, 7, 16)
    query, key, value = (part.view(2, 7, 2, 8).transpose(1, 2) for part in attention.qkv(x).chunk(3, -1))
    weights = (query @ key.transpose(-1, -2) / 8**0.5).softmax(-1)
    by_hand = attention.project((weights @ value).transpose(1, 2).reshape(2, 7, 16))
    assert torch.allclose(attention(x, None), by_hand, atol=1e-6)


def test_rotary_keeps_lengths_and_sees_only_distances():
    """Turning keeps norms; the product of a query and a key depends on how far apart they are."""
    rotary = Rotary(12, 8)
    query, key = torch.randn(8), torch.randn(8)
    turned_query, turned_key = (rotary(v.expand(1, 1, 12, 8))[0, 0] for v in (query, key))
    assert torch.allclose(turned_query.norm(dim=-1), query.norm().expand(12), atol=1e-5)
    scores = turned_query @ turned_key.T
    for distance in (-5, 0, 3):
        diagonal = scores.diagonal(distance)
        assert torch.allclose(diagonal, diagonal[0].expand_as(diagonal), atol=1e-4)
    assert not torch.allclose(scores[0], scores[0, 0].expand(12), atol=1e-3)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_order_of_patches_matters(positions):
    """Without positions the mean over tokens would not notice that two patches changed places."""
    model = make((2, 96), positions=positions)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # a fresh model hardly attends to anything
    x = torch.randn(4, 2, 96)
    moved = x.roll(32, dims=-1)
    assert not torch.allclose(model(x), model(moved), atol=1e-4)


def test_rest_of_the_input_is_padded_with_zeros():
    """100 samples are seven patches of 16, the last one with twelve zeros."""
    model = make((2, 100))
    x = torch.randn(3, 2, 100)
    padded = torch.nn.functional.pad(x, (0, 12))
    assert model.patches(x).shape == (3, 7, 32)
    assert torch.equal(model(x), model(padded))
    assert torch.equal(model.patches(x)[0, 1], x[0, :, 16:32].flatten())
    assert features(TransformerParams(**SMALL), (2, 100), 3) == {"n_tokens": 7, "head_width": 8}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 30, "heads": 4}, "width = 30 must be a multiple of heads = 4"),
        ({"width": 12, "heads": 4}, "take an even number, or positions = 'learned'"),
        ({"positions": "sinusoidal"}, "'rotary' or 'learned'"),
        ({"dropout": 1.0}, "less than 1"),
        ({"width": float("nan")}, "finite"),
    ],
)
def test_options_are_validated(options, message):
    """Options that do not fit each other are refused with the reason."""
    with pytest.raises(ValidationError, match=message):
        TransformerParams(**options)
    assert TransformerParams(width=12, heads=4, positions="learned").width == 12


@pytest.mark.parametrize(
    ("shape", "message"), [((2, 15), "choose a smaller patch_length"), ((9,), "samples")]
)
def test_inputs_that_do_not_fit_are_refused(shape, message):
    """An input shorter than a patch is one line."""
    with pytest.raises(scalelab.InputError, match=message):
        build(TransformerParams(), shape, 3)


def test_dropout_is_off_in_evaluation_and_on_in_training():
    """Two training passes differ, two evaluations do not."""
    model = make(dropout=0.5)
    x = torch.randn(4, 2, 100)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))
