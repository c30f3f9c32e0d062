import numpy as np
import pandas as pd
import pytest
from run_tables import design_runs, grid_runs

from scalelab.analysis import trees
from scalelab.analysis.points import design_ids, finished_runs
from scalelab.analysis.trees import RefusedTree, TreeModel, design_matrix, tree_model, tree_models

DRIVERS = {"architecture_width", "optimizer", "optimizer_lr"}
NOISE = {"architecture_kernel", "training_dropout", "architecture_depth"}


@pytest.fixture(scope="module")
def models():
    return {model.scope: model for model in tree_models(finished_runs(design_runs(90)))}


def test_there_is_a_model_for_all_and_for_each_optimizer(models):
    assert list(models) == ["all", "adamw", "sgd"]
    assert (models["all"].n_designs, models["all"].n_runs) == (90, 180)
    assert models["sgd"].n_designs == 45


def test_drivers_come_before_noise(models):
    table = models["all"].importances.set_index("choice")
    assert set(table.index) == DRIVERS | NOISE
    assert table.loc[list(DRIVERS), "matters"].all()
    assert table.loc[list(DRIVERS), "low"].min() > table.loc[list(NOISE), "importance"].max()
    assert table["importance"].is_monotonic_decreasing
    assert (table["low"] <= table["importance"]).all()
    assert (table["importance"] <= table["high"]).all()


def test_spearman_has_the_sign_of_the_effect(models):
    table = models["all"].importances.set_index("choice")
    assert table.loc["architecture_width", "spearman"] > 0.5
    assert np.isnan(table.loc["optimizer", "spearman"])


def test_held_out_scores_are_high_where_the_design_decides(models):
    scores = models["all"].scores.set_index("score")
    assert list(scores.index) == ["pearson", "spearman", "r2", "rmse"]
    assert scores.loc["pearson", "value"] > 0.9
    assert (scores["low"] <= scores["value"]).all()
    assert (scores["value"] <= scores["high"]).all()
    assert scores.loc["rmse", "value"] < np.std(models["all"].predictions["observed"])


def test_a_random_objective_is_not_predicted():
    done = finished_runs(design_runs(40, seeds=(0,)))
    done["objective"] = np.random.default_rng(1).normal(size=len(done))
    scores = tree_model(done, "d", "all", "m").scores.set_index("score")
    assert scores.loc["r2", "value"] < 0.1
    assert scores.loc["pearson", "low"] < 0.1


def test_seeds_of_a_design_do_not_leak_across_folds():
    """A design's own noise, shared by its seeds, would be predictable if its runs were in several folds."""
    done = finished_runs(design_runs(40, seeds=(0, 1, 2)))
    shared = np.random.default_rng(2).normal(size=40)
    done["objective"] = shared[design_ids(done)]
    scores = tree_model(done, "d", "all", "m").scores.set_index("score")
    assert scores.loc["r2", "value"] < 0.1


def test_folds_keep_designs_together_and_hold_out_every_run_once():
    groups = np.repeat(np.arange(23), 3)
    folds = list(trees._folds(groups, np.random.default_rng(0)))
    assert np.sum(folds, axis=0).tolist() == [1] * 69
    for held in folds:
        assert not set(groups[held]) & set(groups[~held])


def test_derived_and_constant_columns_stay_outside():
    done = finished_runs(design_runs(30))
    assert set(design_matrix(done).columns) == DRIVERS | NOISE


def test_lists_become_a_column_a_place_and_names_a_column_a_value():
    done = finished_runs(design_runs(4, seeds=(0,)))
    done["architecture_depths"] = [[1, 2], "[3, 4, 5]", None, np.array([6])]
    done["training_schedule"] = ["cosine", "constant", "cosine", None]
    done["architecture_flag"] = [True, False, True, True]
    design = design_matrix(done)
    depths = design.matrix[:, design.columns["architecture_depths"]]
    assert depths.tolist() == [[1, 2, 0], [3, 4, 5], [0, 0, 0], [6, 0, 0]]
    schedule = design.matrix[:, design.columns["training_schedule"]]
    assert schedule.tolist() == [[1, 0], [0, 1], [1, 0], [0, 0]]
    assert design.ordered["training_schedule"] is None
    assert design.matrix[:, design.columns["architecture_flag"]].ravel().tolist() == [1, 0, 1, 1]


def test_options_of_other_components_may_be_missing():
    done = finished_runs(design_runs(40))
    done.loc[done["optimizer"] == "sgd", "optimizer_lr"] = np.nan
    done["optimizer_momentum"] = pd.array(np.where(done["optimizer"] == "sgd", 1, None), dtype="Int64")
    model = tree_model(done, "d", "all", "m")
    assert isinstance(model, TreeModel)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (design_runs(19), "needs 20 designs, there are 19"),
        (design_runs(40).assign(objective=0.5), "the objective is 0.5 in every run"),
        (design_runs(40).assign(objective=np.nan), "needs 20 designs, there are 0"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(runs, words):
    model = tree_models(finished_runs(runs))[0]
    assert isinstance(model, RefusedTree)
    assert words in model.refusal


def test_the_same_seed_gives_the_same_model():
    done = finished_runs(design_runs(24, seeds=(0,)))
    one, two, other = (tree_model(done, "d", "all", "m", seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one.importances, two.importances)
    assert not one.importances.equals(other.importances)


def test_data_size_is_a_choice():
    model = tree_models(finished_runs(grid_runs(seeds=(0,))))[0]
    assert model.importances.iloc[0]["choice"] == "n_examples"
