"""Models by name, and what they cost."""

from __future__ import annotations

import pytest

import scalelab


def test_a_model_is_built_by_name_from_plain_options():
    model = scalelab.build_model("convnext1d", {"width": 8}, (2, 128), 5)
    assert scalelab.complexity(model, (2, 128)).n_params == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "options", "shape", "words"),
    [
        ("convnext1d", {"width": -3}, (12, 1000), "options.width = -3: must be at least 1"),
        ("convnext1d", {"widht": 3}, (12, 1000), "did you mean 'width'?"),
        ("convnext1d", {}, (12, 3), "an input of 3 samples is shorter than the stem"),
        ("convnext2d", {}, (12, 1000), "did you mean 'convnext1d'"),
    ],
)
def test_a_model_that_cannot_be_built_says_why_in_one_line(name, options, shape, words):
    with pytest.raises(scalelab.InputError) as caught:
        scalelab.build_model(name, options, shape, 5)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
