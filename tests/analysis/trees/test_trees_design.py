import numpy as np
import pandas as pd
import pytest
from run_tables import design_runs

from scalelab.analysis.estimate import Refusal
from scalelab.analysis.runs.designs import finished_runs
from scalelab.analysis.trees.design import design_of
from scalelab.analysis.trees.fit import tree_model
from scalelab.analysis.trees.importances import bootstrap_rows, shadow_matrix
from scalelab.errors import FitError

CHOICES = {
    "architecture_width", "optimizer", "optimizer_lr", "architecture_kernel", "training_dropout",
    "architecture_depth",
}  # fmt: skip


def runs_of(n, **columns):
    """Finished runs of n designs with columns of one's own."""
    table = {
        "status": "done", "dataset": "d", "architecture": "net", "optimizer": "adamw",
        "loss": np.random.default_rng(0).random(n), **columns,
    }  # fmt: skip
    return finished_runs(pd.DataFrame(table))


def test_derived_and_constant_columns_stay_outside():
    assert set(design_of(finished_runs(design_runs(30))).columns) == CHOICES


def test_lists_become_a_column_a_place_and_names_a_column_a_value():
    done = finished_runs(design_runs(4, seeds=(0,)))
    done["architecture_depths"] = [[1, 2], "[3, 4, 5]", None, np.array([6])]
    done["training_schedule"] = ["cosine", "constant", "cosine", None]
    done["architecture_flag"] = [True, False, True, True]
    design = design_of(done)
    depths = design.matrix[:, design.columns["architecture_depths"]]
    assert depths.tolist() == [[1, 2, 0], [3, 4, 5], [0, 0, 0], [6, 0, 0]]
    schedule = design.matrix[:, design.columns["training_schedule"]]
    assert schedule.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert design.ordered["training_schedule"] is None
    assert design.matrix[:, design.columns["architecture_flag"]].ravel().tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(
    "text", ["[1, x]", "[[[", "[" * 100_000, "[1e999]", "[NaN]", "[1" + "0" * 400 + "]"], ids=len
)
def test_a_text_that_begins_like_a_list_is_a_name(text):
    done = finished_runs(design_runs(4, seeds=(0,)))
    done["architecture_depths"] = [text, "[3, 4, 5]", text, "[3, 4, 5]"]
    design = design_of(done)
    assert design.matrix[:, design.columns["architecture_depths"]].tolist() == [
        [1, 0],
        [0, 1],
        [1, 0],
        [0, 1],
    ]
    assert design.ordered["architecture_depths"] is None


def test_an_option_says_nothing_where_it_does_not_apply():
    """Otherwise a missing momentum would be another name for AdamW."""
    optimizer = np.repeat(["adamw", "sgd"], 30)
    momentum = np.where(optimizer == "sgd", np.tile([0.5, 0.8, 0.9], 20), np.nan)
    design = design_of(runs_of(60, optimizer=optimizer, optimizer_momentum=momentum))
    column = design.matrix[:, design.columns["optimizer_momentum"][0]]
    assert set(column[:30]) == {0.8}
    assert set(column[30:]) == {0.5, 0.8, 0.9}
    assert design.applies["optimizer_momentum"].tolist() == [False] * 30 + [True] * 30
    assert np.isnan(design.ordered["optimizer_momentum"][:30]).all()


def test_an_option_of_several_components_is_one_choice_where_they_mean_the_same():
    architecture = np.repeat(["regnet1d", "convnext1d"], 30)
    blocks, factors = np.tile([4, 9, 20], 10), np.tile([0.5, 1.0, 2.0], 10)
    runs = runs_of(60, architecture=architecture, architecture_depth=np.concatenate([blocks, factors]))
    design = design_of(runs)
    assert set(design.columns) == {
        "architecture", "architecture_depth[convnext1d]", "architecture_depth[regnet1d]"
    }  # fmt: skip
    column = design.matrix[:, design.columns["architecture_depth[regnet1d]"][0]]
    assert (set(column[:30]), set(column[30:])) == ({4, 9, 20}, {9})
    same = runs_of(60, architecture=architecture, architecture_depth=np.concatenate([blocks, blocks + 1]))
    assert "architecture_depth" in design_of(same).columns


def test_an_option_with_one_value_a_component_is_its_name_again():
    optimizer = np.tile(["adamw", "sgd"], 15)
    lr = np.where(optimizer == "sgd", 0.1, 1e-3)
    assert list(design_of(runs_of(30, optimizer=optimizer, optimizer_lr=lr)).columns) == ["optimizer"]


def test_none_is_a_value_of_an_option_that_its_component_has():
    ratio = np.tile([0.25, np.nan], 15)
    design = design_of(runs_of(30, architecture_se_ratio=ratio))
    assert np.isnan(design.matrix[1, 0])
    assert design.names["architecture_se_ratio"].tolist()[:2] == ["0.25", "none"]


def test_a_network_that_several_optimizers_trained_is_one_unit():
    networks = pd.DataFrame({"architecture_width": np.arange(25), "key": 0})
    trials = networks.merge(pd.DataFrame({"optimizer": ["adamw", "sgd"], "key": 0}), on="key")
    design = design_of(runs_of(50, **trials.drop(columns="key").to_dict("list")))
    assert (design.n_designs, design.n_units) == (50, 25)
    shadow = shadow_matrix(design, np.random.default_rng(0))
    width = design.columns["architecture_width"][0]
    assert (shadow[0::2, width] == shadow[1::2, width]).all(), "a network's shadow has one value"
    assert sorted(shadow[:, width]) == sorted(design.matrix[:, width])
    drawn, left_out = bootstrap_rows(design.units, np.random.default_rng(0))
    assert not set(design.units[drawn]) & set(design.units[left_out])


def test_few_networks_leave_designs_as_units():
    design = design_of(
        runs_of(40, architecture_width=np.tile([1, 2, 3, 4], 10), n_examples=np.repeat(range(1, 11), 4))
    )
    assert design.n_units == design.n_designs == 40


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ("n_params", "follows from the design"),
        ("forward_flops", "follows from the design"),
        ("feature_stages", "follows from the design"),
        ("loss", "is an outcome of training"),
        ("architecture_score", "is measured"),
        ("architecture_secret", "puts the runs into the order of the objective"),
        ("architecture_inverse", "puts the runs into the order of the loss"),
        ("architecture_tag", "has a different value in every run"),
    ],
)
def test_planted_leakage_is_refused(column, why):
    done = runs_of(40, architecture_width=np.tile([8, 16], 20))
    loss = done["loss"].to_numpy()
    planted = {
        "feature_stages": np.arange(40) % 3, "architecture_score": np.arange(40) % 7,
        "architecture_secret": np.exp(3 * loss) + 1e-6 * np.arange(40),
        "architecture_inverse": 1 / (1 + loss),
        "architecture_tag": [f"run{i}" for i in range(40)], "n_params": np.arange(40), "forward_flops": 1.0,
    }  # fmt: skip
    done[column] = planted.get(column, done.get(column))
    if "loss" in why:
        done["objective"] = np.random.default_rng(1).random(40)
    with pytest.raises(FitError, match=f"leakage: '{column}' {why}") as caught:
        tree_model(done, "d", "all", "loss", choices=["architecture_width", column])
    assert "\n" not in str(caught.value)


def test_leakage_among_the_options_of_a_table_is_a_refusal():
    done = runs_of(40, architecture_width=np.tile([8, 16], 20))
    done["architecture_leak"] = -done["loss"]
    model = tree_model(done, "d", "all", "loss")
    assert isinstance(model, Refusal)
    assert model.reason.startswith("leakage: 'architecture_leak'")


def test_a_strong_honest_choice_is_no_leak():
    rng = np.random.default_rng(0)
    lr = rng.random(60)
    done = runs_of(60, optimizer_lr=lr)
    done["objective"] = done["loss"] = 2 * lr + 0.1 * rng.normal(size=60)
    assert list(design_of(done).columns) == ["optimizer_lr"]


def test_an_unknown_choice_answers_with_what_is_near():
    with pytest.raises(FitError, match="no column 'architecture_widht'; did you mean 'architecture_width'"):
        design_of(runs_of(30, architecture_width=np.arange(30)), ["architecture_widht"])


def test_any_columns_may_be_choices():
    done = runs_of(30, depth=np.arange(30) % 5, activation=np.tile(["relu", "gelu"], 15))
    assert list(design_of(done, ["depth", "activation"]).columns) == ["depth", "activation"]
