"""A rate that was not varied, or not bracketed, is named beside the exponent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from run_tables import grid_runs

from scalelab.analysis.runs.designs import designs, finished_runs
from scalelab.analysis.runs.selection import axis_points, grid_points, training_points


def points(rates, best=None, of=axis_points):
    """Returns the points of runs at these rates, of which one is the best."""
    tables = []
    for rate in rates:
        off = 1.0 + 0.1 * abs(np.log2(rate / (best or rates[0])))
        runs = grid_runs(seeds=(0,)).assign(optimizer_lr=rate)
        tables.append(runs.assign(loss=runs["loss"] * off, trial_id=runs["trial_id"] + f"-{rate}"))
    table = designs(finished_runs(pd.concat(tables, ignore_index=True)))
    if of is axis_points:
        return axis_points(table, "n_params")
    return training_points(table) if of is training_points else grid_points(table, ("n_params", "n_examples"))


@pytest.mark.parametrize("of", [axis_points, grid_points, training_points])
def test_one_rate_for_all_sizes_is_named(of):
    (said,) = [line for line in points([1e-3], of=of).doubts if "learning rate" in line]
    assert said.startswith("no size was run with a second learning rate (0.001)")
    assert "the exponent may be that of the rate" in said


@pytest.mark.parametrize("best", [1e-3, 4e-3])
def test_an_optimum_at_an_end_is_named(best):
    (said,) = [line for line in points([1e-3, 2e-3, 4e-3], best).doubts if "learning rate" in line]
    assert said.startswith("the best learning rate of 5 of 5 points lies at an end of those tried")


def test_a_bracketed_rate_needs_no_words_and_unknown_ones_get_none():
    assert not [line for line in points([1e-3, 2e-3, 4e-3], 2e-3).doubts if "learning rate" in line]
    table = designs(finished_runs(grid_runs(seeds=(0,)).drop(columns="optimizer_lr")))
    assert not [line for line in axis_points(table, "n_params").doubts if "learning rate" in line]
