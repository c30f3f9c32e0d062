import numpy as np
import pytest

from scalelab.analysis.trees import learners, validation
from scalelab.analysis.trees.design import Design
from scalelab.analysis.trees.learners import BOOSTING, LEARNERS, ROUNDS, XGBOOST, Setting
from scalelab.analysis.trees.scores import score_table
from scalelab.analysis.trees.validation import HeldOut, cross_validate, folds, tune


def friedman(n, seed=0):
    """Friedman's table (1991): five drivers, of which two interact, and five choices that do nothing."""
    from sklearn.datasets import make_friedman1

    return make_friedman1(n, n_features=10, noise=0.5, random_state=seed)


def design(x):
    """A design whose columns are numbers."""
    names = [f"x{i}" for i in range(x.shape[1])]
    return Design(
        x, {name: [i] for i, name in enumerate(names)}, {name: x[:, i] for i, name in enumerate(names)},
        {name: x[:, i].astype(str) for i, name in enumerate(names)},
        {name: np.ones(len(x), dtype=bool) for name in names},
        np.arange(len(x)), np.arange(len(x)), frozenset(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    x, y = friedman(150)
    return x, XGBOOST.fit(x, y, Setting(4, 40), 0)


def test_shap_values_add_up_to_the_prediction(fitted):
    x, model = fitted
    rest = model.predict(x) - model.shap(x).sum(axis=1)
    assert np.ptp(rest) < 1e-4


def test_interactions_add_up_to_the_shap_values(fitted):
    x, model = fitted
    pairs = model.interactions(x[:20])
    assert np.abs(pairs.sum(axis=2) - model.shap(x[:20])).max() < 1e-4
    assert np.abs(pairs - pairs.transpose(0, 2, 1)).max() < 1e-4


def test_a_model_of_fewer_rounds_is_a_stage_of_a_longer_one():
    x, y = friedman(80)
    for learner in (BOOSTING, XGBOOST):
        stages = learner.staged(learner.fit(x, y, Setting(2, ROUNDS[-1]), 1), x)
        short = learner.fit(x, y, Setting(2, ROUNDS[1]), 1).predict(x)
        assert np.abs(stages[1] - short).max() < 1e-5


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner.name)
def test_missing_values_are_read(learner):
    x, y = friedman(60)
    x[::3, 0] = np.nan
    setting = learner.settings[0] if learner.settings else None
    assert np.isfinite(learner.fit(x, y, setting, 0).predict(x)).all()


def test_folds_keep_units_together_and_hold_out_every_run_once():
    units = np.repeat(np.arange(23), 3)
    fold_of = folds(units, 5, np.random.default_rng(0))
    assert set(fold_of) == set(range(5))
    assert all(len(set(fold_of[units == unit])) == 1 for unit in range(23))


def test_tuning_sees_no_held_out_run(monkeypatch):
    """Nested: for every outer fold a setting is chosen from the other folds' runs alone."""
    monkeypatch.setattr(validation, "REPEATS", 1)
    seen = []

    def spy(learner, x, y, units, seed):
        seen.append(len(y))
        return tune(learner, x, y, units, seed)

    monkeypatch.setattr(validation, "tune", spy)
    x, y = friedman(50)
    held = cross_validate(XGBOOST, design(x), y, seed=0)
    assert seen == [40] * 5
    assert len(held.settings) == 5
    assert held.setting in held.settings


def test_tuning_stops_earlier_where_there_is_nothing_to_learn():
    x, y = friedman(60)
    noise = np.random.default_rng(5).normal(size=(6, 60))
    chosen = [tune(XGBOOST, x, one, np.arange(60), seed).rounds for seed, one in enumerate(noise)]
    assert np.median(chosen) < tune(XGBOOST, x, y, np.arange(60), 0).rounds


def test_scores_of_known_predictions():
    y = np.arange(40.0)
    held = HeldOut(np.array([y + 1.0, y + 1.0]), np.full((2, 40), y.mean()), ())
    scores = score_table(y, held, np.arange(40), 0.9, 0).set_index("score")
    assert scores.loc["pearson", "value"] == pytest.approx(1.0)
    assert scores.loc["spearman", ["lower", "upper"]].tolist() == pytest.approx([1.0, 1.0])
    assert scores.loc["rmse", "value"] == pytest.approx(1.0)
    assert scores.loc["r2", "value"] == pytest.approx(1 - 1 / np.var(y))


def test_the_interval_of_r_is_fishers():
    """For many independent runs the bootstrap agrees with the textbook interval of a correlation."""
    from scipy.stats import pearsonr

    rng = np.random.default_rng(0)
    y = rng.normal(size=400)
    predicted = 0.7 * y + 0.7 * rng.normal(size=400)
    held = HeldOut(predicted[None], np.zeros((1, 400)), ())
    row = score_table(y, held, np.arange(400), 0.9, 0).set_index("score").loc["pearson"]
    low, high = pearsonr(y, predicted).confidence_interval(0.9)
    assert (row["lower"], row["upper"]) == (pytest.approx(low, abs=0.015), pytest.approx(high, abs=0.015))


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("n", [60, 3000])
def test_a_forest_is_that_of_scikit_learn(n, missing):
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    if missing:
        x[::7, 2] = np.nan
    y = rng.normal(size=n) + np.nan_to_num(x[:, 0])
    grown = learners._grown(x, y, 5)
    theirs = RandomForestRegressor(
        n_estimators=learners.N_TREES, max_features=0.5, max_samples=min(n, learners.MAX_ROWS_A_TREE),
        random_state=5,
    ).fit(x, y)  # fmt: skip
    assert len(grown) == learners.N_TREES
    for a, b in zip(grown, theirs.estimators_, strict=True):
        assert np.array_equal(a.threshold, b.tree_.threshold)
        assert np.array_equal(a.value, b.tree_.value)
    impurity = learners.FittedForest(grown).impurity
    assert impurity.sum() == pytest.approx(1.0)
    assert int(impurity.argmax()) == 0
