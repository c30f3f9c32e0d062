import numpy as np
import pandas as pd
import pytest
from run_tables import design_runs, grid_runs

from scalelab.analysis.estimate import Refusal
from scalelab.analysis.runs.designs import design_ids, finished_runs
from scalelab.analysis.trees.fit import tree_model, tree_models
from scalelab.analysis.trees.result import TreeModel
from scalelab.errors import FitError

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
    assert table.loc[list(DRIVERS), "lower"].min() > table.loc[list(NOISE), "importance"].max()
    assert table["importance"].is_monotonic_decreasing
    assert (table["lower"] <= table["importance"]).all()
    assert (table["importance"] <= table["upper"]).all()
    assert not table.loc[list(NOISE), "matters"].any()
    assert (table["matters"] == (table["lower"] > table["noise"])).all()


def test_spearman_has_the_sign_of_the_effect(models):
    table = models["all"].importances.set_index("choice")
    assert table.loc["architecture_width", "spearman"] > 0.5
    assert np.isnan(table.loc["optimizer", "spearman"])


def test_held_out_scores_are_high_where_the_design_decides(models):
    scores = models["all"].scores.set_index("score")
    assert list(scores.index) == ["pearson", "spearman", "r2", "rmse"]
    assert scores.loc["pearson", "value"] > 0.9
    assert (scores["lower"] <= scores["value"]).all()
    assert (scores["value"] <= scores["upper"]).all()
    assert scores.loc["rmse", "value"] < np.std(models["all"].predictions["observed"])


def test_a_random_objective_is_not_predicted():
    done = finished_runs(design_runs(40, seeds=(0,)))
    done["objective"] = np.random.default_rng(1).normal(size=len(done))
    model = tree_model(done, "d", "all", "m", measures=("permutation",), blocks=4, refits=4)
    scores = model.scores.set_index("score")
    assert scores.loc["r2", "value"] < 0.1
    assert scores.loc["pearson", "lower"] < 0.1
    assert not model.beats_the_mean
    assert not model.importances["matters"].any()


def test_seeds_of_a_design_do_not_leak_across_folds():
    """A design's own noise, shared by its seeds, would be predictable if its runs were in several folds."""
    done = finished_runs(design_runs(40, seeds=(0, 1, 2)))
    shared = np.random.default_rng(2).normal(size=40)
    done["objective"] = shared[design_ids(done)]
    model = tree_model(done, "d", "all", "m", measures=("permutation",), blocks=1, refits=1)
    assert model.score("r2")[0] < 0.1


def test_options_of_other_components_may_be_missing():
    done = finished_runs(design_runs(40))
    done.loc[done["optimizer"] == "sgd", "optimizer_lr"] = np.nan
    done["optimizer_momentum"] = pd.array(np.where(done["optimizer"] == "sgd", 1, None), dtype="Int64")
    model = tree_model(done, "d", "all", "m", measures=("permutation",), blocks=1, refits=1)
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
    assert isinstance(model, Refusal)
    assert words in model.reason


def test_the_same_seed_gives_the_same_model():
    done = finished_runs(design_runs(24, seeds=(0,)))
    few = {"measures": ("permutation",), "blocks": 1, "refits": 2}
    one, two, other = (tree_model(done, "d", "all", "m", seed=seed, **few) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one.importances, two.importances)
    assert not one.importances.equals(other.importances)


def test_a_folds_column_of_ones_own_must_keep_designs_together():
    done = finished_runs(design_runs(24, seeds=(0, 1)))
    folds = design_ids(done) % 3
    model = tree_model(done, "d", "all", "m", folds=folds, measures=("permutation",), blocks=1, refits=2)
    assert np.isfinite(model.predictions["predicted"]).all()
    folds[1] = (folds[0] + 1) % 3
    with pytest.raises(FitError, match="leakage: rows 0 and 1 are the same design in two folds"):
        tree_model(done, "d", "all", "m", folds=folds)


def test_r2_is_against_the_mean_of_what_was_learned_from():
    done = finished_runs(design_runs(30, seeds=(0,)))
    model = tree_model(done, "d", "all", "m", measures=("permutation",), blocks=1, refits=2)
    assert model.mean_rmse == pytest.approx(np.std(done["objective"]), rel=0.1)
    rmse, r2 = model.score("rmse")[0], model.score("r2")[0]
    assert r2 == pytest.approx(1 - (rmse / model.mean_rmse) ** 2, abs=0.02)


def test_data_size_is_a_choice():
    model = tree_models(finished_runs(grid_runs(seeds=(0,))))[0]
    assert model.importances.iloc[0]["choice"] == "n_examples"
