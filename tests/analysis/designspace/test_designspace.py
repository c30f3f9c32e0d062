from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_tables import design_runs, grid_runs

from scalelab.analysis.designspace.bands import front_bands
from scalelab.analysis.designspace.distributions import best_weights, compare, distribution, normalized
from scalelab.analysis.designspace.narrowing import ranges_of, winner_weights
from scalelab.analysis.designspace.spaces import Space, design_table, spaces_of
from scalelab.analysis.designspace.whole import derived_trends
from scalelab.analysis.runs.designs import finished_runs
from scalelab.analysis.runs.frontier import pareto_mask


@pytest.fixture(scope="module")
def table():
    return design_table(finished_runs(design_runs(90)))


def space_of(errors, flops=None, name="a"):
    designs = pd.DataFrame(
        {"error": errors, "forward_flops": np.ones(len(errors)) if flops is None else flops}
    )
    return Space("d", "m", "m", "architecture", name, designs)


def test_one_row_a_design_and_the_error_of_a_rising_metric_falls(table):
    assert len(table) == 90
    assert (table["n_runs"] == 2).all()
    assert table["error"].to_numpy() == pytest.approx(1 - table["objective"].to_numpy())
    assert {space.error for space in spaces_of(table)} == {"1 - macro-f1"}


def test_spaces_are_what_differs(table):
    assert [(space.by, space.name) for space in spaces_of(table)] == [
        ("optimizer", "adamw"),
        ("optimizer", "sgd"),
    ]
    families = table.assign(architecture=np.where(np.arange(90) % 4 < 2, "a", "b"))
    kinds = list(dict.fromkeys(space.by for space in spaces_of(families)))
    assert kinds == ["optimizer", "architecture, adamw", "architecture, sgd"]
    alone = spaces_of(table[table["optimizer"] == "sgd"])
    assert [(space.by, space.name) for space in alone] == [("all", "all")]


def test_the_edf_is_the_share_below():
    errors = np.random.default_rng(0).random(60)
    edf = distribution(space_of(errors), level=0.9, seed=0).edf
    for row in edf.to_dict("records"):
        assert row["share"] == pytest.approx(np.mean(errors <= row["error"]))
        assert row["lower"] <= row["share"] <= row["upper"]


@given(st.integers(1, 9), st.data())
def test_best_weights_are_those_of_every_subset(n, data):
    draws = data.draw(st.integers(1, n))
    subsets = list(combinations(range(n), draws))
    expected = [sum(min(subset) == rank for subset in subsets) / len(subsets) for rank in range(n)]
    assert best_weights(n, draws) == pytest.approx(expected, abs=1e-12)


def test_best_of_runs_from_the_mean_to_the_best():
    errors = np.random.default_rng(0).random(50)
    best_of = distribution(space_of(errors), level=0.9, seed=0).best_of
    assert best_of["error"].iloc[0] == pytest.approx(errors.mean())
    assert best_of["error"].iloc[-1] == pytest.approx(errors.min())
    assert best_of["error"].is_monotonic_decreasing
    assert (best_of["lower"] <= best_of["upper"]).all()


def test_the_band_of_an_edf_covers_the_truth():
    """At a fixed error, 90% bands of uniform samples hold the true share about nine times of ten."""
    inside = 0
    for seed in range(60):
        edf = distribution(space_of(np.random.default_rng(seed).random(60)), level=0.9, seed=seed).edf
        row = edf.iloc[np.searchsorted(edf["error"], 0.5) - 1]
        inside += row["lower"] <= 0.5 <= row["upper"]
    assert 47 <= inside <= 59


def test_kolmogorov_smirnov_is_scipys():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    spaces = [space_of(rng.normal(shift, 1, 40), name=str(shift)) for shift in (0.0, 0.2, 1.5)]
    table = compare(spaces, seed=0)
    assert len(table) == 3
    for row, (a, b) in zip(table.to_dict("records"), combinations(spaces, 2), strict=True):
        test = ks_2samp(a.errors, b.errors)
        assert (row["distance"], row["p"]) == (pytest.approx(test.statistic), pytest.approx(test.pvalue))
        assert row["p_holm"] >= row["p"]
        assert row["distance_normalized"] == pytest.approx(row["distance"]), "all FLOPs are the same"
    assert table.set_index(["first", "second"]).loc[("0.0", "1.5"), "better"] == "0.0"


def test_normalizing_by_flops_removes_what_size_explains():
    """Two spaces with the same error at the same size, one of which has larger models."""
    rng = np.random.default_rng(0)
    small, large = rng.uniform(0, 1, 150) ** 2, 1 - rng.uniform(0, 1, 150) ** 2
    spaces = [
        space_of(1 - size + 0.1 * rng.normal(size=150), np.exp(size), str(i))
        for i, size in enumerate((small, large))
    ]
    raw = compare(spaces, seed=0).iloc[0]
    assert raw["p"] < 1e-6
    assert raw["distance_normalized"] < 0.5 * raw["distance"]
    assert raw["p_normalized"] > 0.01
    shifted = space_of(spaces[1].errors - 0.5, spaces[1].designs["forward_flops"], "2")
    assert normalized(spaces[0], shifted, 0)[1] < 0.01


def test_without_flops_there_is_no_normalized_test():
    found = normalized(space_of(np.arange(9.0), np.full(9, np.nan)), space_of(np.arange(9.0)), 0)
    assert np.isnan(found).all()


def test_fronts_are_the_fronts_and_bands_lie_on_the_worse_side(table):
    for front in front_bands(table, level=0.9, seed=0):
        assert pareto_mask(front.members[front.cost], front.members["error"]).all()
        assert len(front.members) + len(front.others) == 45
        assert (
            front.band["lower"].dropna() >= front.band["error"][front.band["lower"].notna()] - 1e-12
        ).all()
        known = front.band.dropna()
        assert (known["upper"] >= known["lower"]).all()
        assert known["error"].is_monotonic_decreasing
        assert (
            front.members["without"].dropna() > front.members["error"][front.members["without"].notna()]
        ).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=4, max_size=30))
def test_winner_weights_sum_to_one_and_ties_share(errors):
    values = np.array(errors, dtype=float)
    weights = winner_weights(values)
    assert weights.sum() == pytest.approx(1.0)
    for value in set(errors):
        assert np.ptp(weights[values == value]) < 1e-12


def test_winner_weights_are_those_of_the_empirical_bootstrap():
    """Radosavovic et al. (2020) draw a quarter with replacement, ten thousand times."""
    rng = np.random.default_rng(0)
    errors = rng.random(40)
    drawn = rng.integers(0, 40, (20_000, 10))
    winners = drawn[np.arange(20_000), errors[drawn].argmin(axis=1)]
    simulated = np.bincount(winners, minlength=40) / 20_000
    assert winner_weights(errors) == pytest.approx(simulated, abs=0.01)


def test_ranges_find_where_the_best_are_and_leave_the_rest(table):
    ranges = {(one.owner, one.option): one for one in ranges_of(table, seed=0)}
    width, depth = ranges["convnext1d", "width"], ranges["convnext1d", "depth"]
    assert width.narrower_than_chance
    assert width.lower >= 24
    assert width.upper == 64
    assert not depth.narrower_than_chance
    assert not ranges["", "dropout"].narrower_than_chance
    lr = ranges["adamw", "lr"]
    assert lr.lower < 1e-3 < lr.upper, "the best rate of the table is 1e-3"
    assert lr.full[0] < lr.lower
    assert lr.lower <= lr.best <= lr.upper


def test_a_choice_that_decides_nothing_is_rarely_narrowed():
    rng = np.random.default_rng(0)
    told = []
    for seed in range(12):
        n = 40
        table = pd.DataFrame({
            "space_label": "d", "metric": "m", "direction": "minimize", "architecture": "a",
            "optimizer": "o", "n_examples": 1, "objective": 0.0,
            "error": rng.random(n), "architecture_x": rng.random(n),
            "architecture_kind": rng.choice(["a", "b", "c"], n), "architecture_n": rng.integers(0, 5, n),
        })  # fmt: skip
        told += [one.narrower_than_chance for one in ranges_of(table, seed=seed)]
    assert len(told) == 36
    assert sum(told) <= 8


def test_values_without_order_are_a_set():
    rng = np.random.default_rng(0)
    kind = rng.choice(["batch", "layer", "none"], 90)
    table = pd.DataFrame({
        "space_label": "d", "metric": "m", "direction": "minimize", "architecture": "a", "optimizer": "o",
        "n_examples": 1, "objective": 0.0, "error": np.where(kind == "layer", 0, 1) + 0.1 * rng.random(90),
        "architecture_norm": kind,
    })  # fmt: skip
    (one,) = ranges_of(table, seed=0)
    assert (one.values, one.narrower_than_chance) == (("layer",), True)
    assert set(one.all_values) == {"batch", "layer", "none"}


def test_derived_features_are_described_not_predicted_from(table):
    derived = derived_trends(table, level=0.9, seed=0)
    assert set(derived["feature"]) == {"n_params", "forward_flops", "feature_last_width"}
    assert list(dict.fromkeys(derived["scope"])) == ["all", "adamw", "sgd"]
    width = derived[derived["feature"] == "feature_last_width"]
    assert (width["lower"] > 0.3).all()
    assert (width["lower"] < width["spearman"]).all()
    assert (width["spearman"] < width["upper"]).all()


def test_small_groups_are_left_out():
    grid = design_table(finished_runs(grid_runs(seeds=(0,))))
    assert [space.name for space in spaces_of(grid)] == ["all"]
    assert ranges_of(grid, seed=0) == ()
