import numpy as np
import pytest
from test_trees_models import design, friedman

from scalelab.analysis.trees import effects
from scalelab.analysis.trees.effects import effects_of
from scalelab.analysis.trees.importances import importance_table, refit_importances, shadow_matrix
from scalelab.analysis.trees.learners import FOREST, LEARNING_RATE, XGBOOST, Setting
from scalelab.analysis.trees.result import MEASURES

DRIVERS = {f"x{i}" for i in range(5)}
SETTING = Setting(2, 80)


@pytest.fixture(scope="module")
def tables():
    """Importances of Friedman's table: x0 to x4 decide, x5 to x9 do nothing."""
    x, y = friedman(200)
    found = {}
    for learner in (FOREST, XGBOOST):
        values = refit_importances(
            learner, design(x), y, SETTING, seed=0, measures=MEASURES, blocks=3, refits=5
        )
        for measure, table in importance_table(design(x), y, values, 0.9).groupby("measure"):
            found[learner.name, measure] = table.set_index("choice")
    return found


def test_each_model_has_its_measures(tables):
    assert set(tables) == {
        ("forest", "gini"), ("forest", "permutation"), ("xgboost", "permutation"), ("xgboost", "shap")
    }  # fmt: skip


@pytest.mark.parametrize(
    "key", [("forest", "gini"), ("forest", "permutation"), ("xgboost", "permutation"), ("xgboost", "shap")]
)
def test_no_noise_is_ranked_and_strong_drivers_are(tables, key):
    told = set(tables[key].index[tables[key]["matters"]])
    assert told <= DRIVERS
    assert {"x0", "x1", "x3"} <= told
    noise = tables[key].loc[sorted({f"x{i}" for i in range(10)} - DRIVERS)]
    assert tables[key].loc[["x1", "x3"], "lower"].min() > noise["upper"].max()


def test_the_strongest_driver_comes_first(tables):
    assert all(table.index[0] == "x3" for table in tables.values())
    assert all(table.loc["x3", "spearman"] > 0.4 for table in tables.values())


def test_gini_is_a_share():
    x, y = friedman(60)
    found = refit_importances(FOREST, design(x), y, None, seed=0, measures=("gini",), blocks=1, refits=2)
    both = found["gini"].draws.sum(axis=1) + found["gini"].shadows.sum()
    assert found["gini"].value.sum() < 1
    assert both.mean() == pytest.approx(1.0)


def test_permutation_importance_agrees_with_scikit_learn():
    """On many runs the rise of the squared error is that of `sklearn.inspection` on held-out runs."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.inspection import permutation_importance

    x, y = friedman(1500)
    values = refit_importances(
        XGBOOST, design(x), y, SETTING, seed=0, measures=("permutation",), blocks=1, refits=3
    )
    peer = HistGradientBoostingRegressor(max_depth=2, max_iter=80, learning_rate=LEARNING_RATE).fit(
        x[:1000], y[:1000]
    )
    theirs = permutation_importance(
        peer, x[1000:], y[1000:], scoring="neg_mean_squared_error", random_state=0
    )
    assert values["permutation"].value == pytest.approx(theirs.importances_mean / y.var(), abs=0.06)


def test_shadows_keep_the_values_and_lose_the_order():
    x, _ = friedman(100)
    shadow = shadow_matrix(design(x), np.random.default_rng(0))
    assert np.array_equal(np.sort(shadow, axis=0), np.sort(x, axis=0))
    assert abs(np.corrcoef(shadow[:, 0], x[:, 0])[0, 1]) < 0.3


def test_an_interaction_is_told_and_a_sum_has_none():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (150, 4))
    product = 2 * x[:, 0] * x[:, 1] + x[:, 2] + 0.1 * rng.normal(size=150)
    table, _ = effects_of(design(x), product, Setting(4, 40), ["x0"], level=0.9, seed=0)
    first = table.iloc[0]
    assert ({first["first"], first["second"]}, bool(first["matters"])) == ({"x0", "x1"}, True)
    assert table["matters"].sum() == 1
    sum_ = 2 * x[:, 0] + np.sin(3 * x[:, 1]) + x[:, 2] + 0.1 * rng.normal(size=150)
    table, _ = effects_of(design(x), sum_, Setting(4, 40), ["x0"], level=0.9, seed=0)
    assert not table["matters"].any()


def test_partial_dependence_follows_the_truth(monkeypatch):
    monkeypatch.setattr(effects, "REFITS", 6)
    x, y = friedman(300)
    _, (linear, noise) = effects_of(design(x), y, SETTING, ["x3", "x9"], level=0.9, seed=0)
    slope = np.polyfit(linear.values, linear.mean, 1)[0]
    assert slope == pytest.approx(10, rel=0.2), "Friedman's table has 10 x3"
    assert np.ptp(noise.mean) < 0.1 * np.ptp(linear.mean)
    for effect in (linear, noise):
        assert (np.array(effect.lower) <= np.array(effect.upper)).all()
        assert (np.array(effect.ice_lower) <= np.array(effect.ice_upper)).all()
        assert effect.ordered
        assert len(effect.values) == effects.MAX_VALUES


def test_a_choice_without_order_shows_its_values():
    rng = np.random.default_rng(0)
    kind = np.array(["relu", "gelu", "none"])[np.arange(60) % 3]
    x = np.column_stack([kind == "relu", kind == "gelu", kind == "none", rng.random(60)]).astype(float)
    own = design(x)._replace(
        columns={"kind": [0, 1, 2], "lr": [3]}, ordered={"kind": None, "lr": x[:, 3]},
        names={"kind": kind, "lr": x[:, 3].astype(str)},
        applies={"kind": np.ones(60, bool), "lr": np.ones(60, bool)},
    )  # fmt: skip
    y = (kind == "gelu") + 0.05 * rng.normal(size=60)
    _, (effect,) = effects_of(own, y, Setting(2, 20), ["kind"], level=0.9, seed=0)
    assert effect.values == ("gelu", "none", "relu")
    assert effect.mean[0] > effect.mean[1] + 0.5


def test_one_choice_interacts_with_nothing():
    x = np.random.default_rng(0).normal(size=(60, 1))
    table, (effect,) = effects_of(design(x), x[:, 0], Setting(2, 20), ["x0"], level=0.9, seed=0)
    assert table.empty
    assert list(table.columns[:2]) == ["first", "second"]
    assert effect.choice == "x0"
