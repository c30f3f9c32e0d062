"""What a family's few points cannot show of a trend, its whole grid may."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scalelab import analyze
from scalelab.analysis.inference.trend import LEVEL, trend_p
from scalelab.analysis.runs.designs import designs, finished_runs
from scalelab.analysis.runs.selection import Points, check_trend

SIZES, DATA = np.geomspace(7e3, 4e5, 4), np.geomspace(60, 4000, 4)
LARGEST = np.array([1.65, 0.89, 0.262, 0.258])


def runs(largest: np.ndarray) -> pd.DataFrame:
    """A grid whose largest data give these losses, the other data half as much more each."""
    return pd.DataFrame(
        {
            "status": "done",
            "dataset": "d",
            "architecture": "a",
            "optimizer": "o",
            "n_params": n,
            "n_examples": d,
            "train_flops": 8e5 * n,
            "loss": loss * 1.5 ** (len(DATA) - 1 - place),
        }
        for n, loss in zip(SIZES, largest, strict=True)
        for place, d in enumerate(DATA)
    )


def test_four_points_of_a_frontier_that_bends_have_the_trend_of_all_designs() -> None:
    assert trend_p({"train_flops": 8e5 * SIZES}, LARGEST) > LEVEL
    table = designs(finished_runs(runs(LARGEST)))
    largest = table[table["n_examples"] == table["n_examples"].max()]
    check_trend(Points(("train_flops",), largest, "", ""), table)


def test_noise_along_a_grid_has_none() -> None:
    table = runs(np.ones(4))
    rng = np.random.default_rng(3)
    table["loss"] = np.exp(0.01 * rng.standard_normal(len(table)))
    (refusal,) = analyze(table, axes=["n_params"], trees=False).refused
    assert "no trend with n_params" in refusal.reason
