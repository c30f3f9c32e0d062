"""The table of losses by scale, whatever the scales."""

import pandas as pd

from scalelab.analysis.analyze import ScaleTable


def test_counts_beyond_64_bits_are_counts():
    index = pd.Index([1e4, 2e4], name="n_params")
    loss = pd.DataFrame({2.0**80: [1.0, None], 1e3: [2.0, 3.0]}, index=index)
    cells = ScaleTable(family=None, loss=loss, seed_spread=None).cells()
    assert cells.to_dict("records") == [
        {"n_params": 10_000, "n_examples": 1000, "loss": 2.0},
        {"n_params": 10_000, "n_examples": 2**80, "loss": 1.0},
        {"n_params": 20_000, "n_examples": 1000, "loss": 3.0},
    ]
