"""A rate that was not varied, or not bracketed, is named beside the exponent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from run_tables import grid_runs

from scalelab.analysis.runs.designs import averaged, designs, finished_runs
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


def one_size_each(rates, *, init, study, loss, status="done"):
    """Runs of four sizes at these rates; the best is the second."""
    return pd.DataFrame(
        {
            "trial_id": f"{study}-{init}-{n}-{rate}-{seed}", "study": study, "status": status, "dataset": "d",
            "architecture": "a", "optimizer": "o", "n_params": n, "n_examples": 100.0, "seed": seed,
            "optimizer_lr": rate, "architecture_init": init,
            "loss": loss * n**-0.3 * (1.0 + 0.1 * abs(np.log(rate / rates[min(1, len(rates) - 1)]))),
        }
        for n in (1e3, 4e3, 1.6e4, 6.4e4)
        for rate in rates
        for seed in (0, 1)
    )  # fmt: skip


def test_rates_of_other_settings_are_no_evidence():
    """The best runs lie at the end of their own rates, whatever another initialization was run with."""
    best = one_size_each([0.001, 0.004], init="mup", study="mup", loss=5.0)
    others = one_size_each([0.0001, 0.01, 0.1], init="paper", study="widths", loss=9.0)
    points = axis_points(designs(finished_runs(pd.concat([best, others]))), "n_params")
    assert (points.rates.inside, points.rates.varied) == (0, True)
    assert {*zip(points.rates.low, points.rates.high, strict=True)} == {(0.001, 0.004)}
    assert set(points.rows["studies"]) == {("mup",)}
    assert any("4 of 4 points lies at an end" in line for line in points.doubts)


def test_a_rate_at_which_runs_diverged_bounds_the_best_one():
    runs = one_size_each([0.001, 0.004], init="mup", study="mup", loss=5.0)
    lost = one_size_each([0.1], init="mup", study="mup", loss=np.nan, status="diverged")
    points = axis_points(designs(finished_runs(pd.concat([runs, lost]))), "n_params")
    assert (points.rates.inside, points.rates.doubts) == (4, ())


def test_drawn_settings_with_a_rate_each_are_held_against_those_of_their_own_study():
    drawn = one_size_each([0.001, 0.004, 0.02], init="x", study="drawn", loss=5.0)
    drawn["architecture_init"] = drawn["optimizer_lr"].astype(str)
    others = one_size_each([0.5], init="y", study="other", loss=9.0)
    points = axis_points(designs(finished_runs(pd.concat([drawn, others]))), "n_params")
    assert {*zip(points.rates.low, points.rates.high, strict=True)} == {(0.001, 0.02)}


def test_a_trial_of_two_studies_is_of_both():
    first = one_size_each([0.001, 0.004], init="x", study="first", loss=5.0)
    second = first[first["seed"] == 0].assign(study="second")
    done = finished_runs(pd.concat([first, second], ignore_index=True))
    assert len(done) == len(first)
    assert set(done.loc[done["seed"] == 0, "studies"]) == {("first", "second")}
    assert set(done.loc[done["seed"] == 1, "studies"]) == {("first",)}
    assert set(averaged(done)["studies"]) == {("first", "second")}
    assert "studies" not in finished_runs(first)
