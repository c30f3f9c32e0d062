import numpy as np
import pandas as pd
import pytest
from run_tables import SIZES, TRUTH, grid_runs, true_loss

from scalelab.analysis.estimate import Refusal
from scalelab.analysis.families.fitted import FittedLaw, curve_scales
from scalelab.analysis.families.laws import fit_families
from scalelab.analysis.runs.designs import designs, finished_runs
from scalelab.analysis.runs.selection import AXES, JOINT, axis_points, grid_points
from scalelab.errors import FitError, InputError


def table(**options):
    return designs(finished_runs(grid_runs(**options)))


@pytest.fixture(scope="module")
def laws():
    return {law.axis: law for law in fit_families(table(noise=0.004))}


def test_every_axis_is_fitted_and_named(laws):
    assert list(laws) == [*AXES, JOINT]
    assert all(isinstance(law, FittedLaw) for law in laws.values())
    assert laws[JOINT].law == "chinchilla"
    assert laws["n_params"].law == "power-offset"


@pytest.mark.parametrize(("axis", "exponent"), [("n_params", "alpha"), ("n_examples", "beta")])
def test_exponents_of_one_axis_are_recovered(laws, axis, exponent):
    estimate = laws[axis].params["alpha"]
    assert estimate.value == pytest.approx(TRUTH[exponent], rel=0.15)
    assert estimate.lower <= TRUTH[exponent] <= estimate.upper


def test_irreducible_loss_of_one_axis_is_what_the_other_leaves(laws):
    floor = true_loss(np.inf, 40_000)
    estimate = laws["n_params"].params["E"]
    assert estimate.value == pytest.approx(floor, rel=0.05)


def test_joint_law_is_recovered(laws):
    law = laws[JOINT]
    for name, tolerance in (("alpha", 0.06), ("beta", 0.06), ("E", 0.1)):
        assert law.params[name].value == pytest.approx(TRUTH[name], rel=tolerance)
    assert law.rms_log_error < 0.01
    assert law.r2 > 0.99
    assert law.seed_spread == pytest.approx(0.004, rel=0.3)


def test_loss_at_ten_times_the_scale_is_predicted(laws):
    truth = true_loss(10 * SIZES[-1], 40_000)
    ahead = laws["n_params"].ahead
    assert ahead.value == pytest.approx(truth, rel=0.03)
    assert ahead.lower <= ahead.value <= ahead.upper


def test_curve_goes_through_the_points_within_its_band(laws):
    law = laws["n_examples"]
    curve, rows = law.curve, law.points.rows
    at_points = np.interp(np.log(rows["n_examples"]), np.log(curve["n_examples"]), np.log(curve["mean"]))
    assert np.abs(at_points - np.log(rows["loss"])).max() < 0.02
    assert (curve["lower"] <= curve["mean"]).all()
    assert (curve["mean"] <= curve["upper"]).all()
    assert curve["n_examples"].iloc[-1] > rows["n_examples"].max()


def test_size_law_holds_the_largest_data_size():
    points = axis_points(table(), "n_params")
    assert points.rows["n_params"].tolist() == list(SIZES)
    assert points.where == "at D = 40,000"
    assert "the largest" in points.selection
    assert points.decades["n_params"] == pytest.approx(np.log10(760_000 / 3_000))


def test_the_largest_level_with_enough_sizes_is_held():
    sparse = table()
    sparse = sparse[(sparse["n_examples"] < 40_000) | (sparse["n_params"] > 100_000)]
    points = axis_points(sparse, "n_params")
    assert points.where == "at D = 13,500"
    assert "the largest with 4 model sizes" in points.selection


def test_the_best_setting_of_each_size_is_taken():
    tuned = grid_runs(data_sizes=(4_500,), noise=0.0)
    badly = tuned.assign(trial_id=tuned["trial_id"] + "b", optimizer_lr=1.0, loss=tuned["loss"] * 2)
    both = designs(finished_runs(pd.concat([badly, tuned], ignore_index=True)))
    points = axis_points(both, "n_params")
    assert points.rows["loss"].to_numpy() == pytest.approx(true_loss(np.array(SIZES), 4_500))
    assert "each the best of its settings (10 in all)" in points.selection


def test_compute_law_is_about_the_frontier():
    points = axis_points(table(noise=0.0), "train_flops")
    assert points.rows["train_flops"].is_monotonic_increasing
    assert points.rows["loss"].is_monotonic_decreasing
    assert len(points.rows) < 25


def test_grid_has_a_row_for_each_cell():
    points = grid_points(table(), ("n_params", "n_examples"))
    assert len(points.rows) == 25
    assert set(points.decades) == {"n_params", "n_examples"}


@pytest.mark.parametrize(
    ("axis", "options", "words"),
    [
        ("n_params", {"sizes": SIZES[:3]}, "needs 4 model sizes, got 3 at D = 40,000"),
        ("n_examples", {"data_sizes": (500,)}, "needs 4 data sizes, got 1 at N = 760,000"),
        (
            "train_flops",
            {"sizes": SIZES[:1], "data_sizes": (500,)},
            "needs 4 points on the compute-efficient",
        ),
        (JOINT, {"sizes": SIZES[:2]}, "needs 3 of each, got 2 model sizes"),
    ],
)
def test_too_few_scales_are_refused_in_words(axis, options, words):
    (law,) = fit_families(table(**options), axes=[axis])
    assert isinstance(law, Refusal)
    assert words in law.reason


def test_runs_without_flops_have_the_law_at_the_best_split_of_6nd():
    bare = designs(finished_runs(grid_runs().assign(train_flops=np.nan)))
    (law,) = fit_families(bare, axes=["train_flops"])
    assert "at the best split of C = 6·N·D" in law.points.selection


def test_runs_without_flops_and_a_second_scale_are_refused_in_words():
    bare = designs(finished_runs(grid_runs().assign(train_flops=np.nan, n_examples=np.nan)))
    (law,) = fit_families(bare, axes=["train_flops"])
    assert "no finished run records its train_flops" in law.reason


def test_a_loss_that_does_not_fall_is_refused():
    flat = grid_runs(data_sizes=(500,), noise=0.0).assign(loss=0.7)
    (law,) = fit_families(designs(finished_runs(flat)), axes=["n_params"])
    assert isinstance(law, Refusal)


def test_every_family_has_its_own_laws():
    found = fit_families(table(optimizers=("adamw", "sgd")), axes=["n_params"], law="power")
    assert [law.family.optimizer for law in found] == ["adamw", "sgd"]
    assert {law.law for law in found} == {"power"}


def test_a_law_of_two_axes_is_fitted_to_the_grid():
    (law,) = fit_families(table(), law="kaplan")
    assert law.axis == JOINT
    assert isinstance(law, FittedLaw)


def test_auto_averages_forms_and_names_the_heaviest():
    (law,) = fit_families(table(), law="auto", axes=["n_examples"])
    assert isinstance(law, FittedLaw)
    assert set(law.params) == set(law.best.law.params)
    assert sum(law.fit.weights.values()) == pytest.approx(1.0)
    assert law.rms_log_error < 0.02
    assert law.ahead.lower <= law.ahead.value <= law.ahead.upper


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"law": "powr"}, FitError, "did you mean 'power'"),
        ({"axes": ["n_parms"]}, InputError, "did you mean 'n_params'"),
        ({"law": "kaplan", "axes": ["n_params"]}, InputError, "use --axis joint"),
        ({"law": "power", "axes": ["joint"]}, InputError, "has one axis"),
    ],
)
def test_unknown_names_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        fit_families(table(), **options)


def test_an_unknown_estimator_is_refused():
    with pytest.raises(FitError, match="unknown estimator"):
        fit_families(table(), axes=["n_params"], estimator="hubr")


def test_curve_scales_reach_a_third_beyond():
    scales = curve_scales(np.array([1.0, 1000.0]))
    assert scales[0] == pytest.approx(1.0)
    assert scales[-1] == pytest.approx(10_000.0)
