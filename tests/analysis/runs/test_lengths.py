"""How long runs were: mixed lengths are named, those that are alike but for rounding are one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.analysis.runs.lengths import alike_passes, common_length, mixed_lengths


@pytest.mark.parametrize(
    ("n_examples", "epochs", "words"),
    [
        ([1000, 4000], [4.0, 4.03], " of 4 passes each"),
        ([1000, 4000], [1.0, 1.0], " of one pass each"),
        ([1000, 4000], [64.0, 16.0], " of 64,000 examples seen each"),
        ([1000, 4000], [4.0, 8.0], ""),
        ([1000, 4000], [4.0, np.nan], ""),
    ],
)
def test_a_common_length_is_told(n_examples, epochs, words):
    assert common_length(pd.DataFrame({"n_examples": n_examples, "epochs": epochs})) == words


def test_rows_without_lengths_have_none_in_common():
    assert common_length(pd.DataFrame({"width": [8.0, 16.0]})) == ""


def test_mixed_lengths_are_named():
    rows = pd.DataFrame({"loss": [1.0, 0.9], "n_steps": [100, 400], "epochs": [2.0, 6.0]})
    assert mixed_lengths(rows) == "100 to 400 steps, 2 to 6 passes"
    assert mixed_lengths(rows.assign(epochs=2.0)) == ""
    assert mixed_lengths(rows.assign(n_steps=[100, np.nan])) == ""


@given(st.lists(st.floats(1.0, 1e4), min_size=1, max_size=12))
def test_passes_that_are_alike_are_one_group(passes):
    given_ = np.array(passes)
    alike = alike_passes(given_)
    assert (alike <= given_).all()
    assert (np.diff(np.log(np.unique(alike))) > np.log(1.02)).all()
    assert set(alike) <= set(given_)
