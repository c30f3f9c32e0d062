"""Which loss is meant: the best validation, the test split, the last step; and which FLOPs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from run_tables import grid_runs

import scalelab
from scalelab.analysis.runs.axes import numeric_columns
from scalelab.analysis.runs.designs import designs, finished_runs
from scalelab.analysis.runs.outcomes import taken
from scalelab.analysis.runs.selection import axis_points
from scalelab.errors import FitError, InputError


@pytest.fixture(scope="module")
def runs():
    table = grid_runs(optimizers=("adamw", "sgd"))
    return table.assign(
        test_loss=table["loss"] * 1.1,
        test_objective=table["objective"] * 0.9,
        test_accuracy=0.5,
        best_step=table["n_steps"] / 2,
        constant_loss=1.5,
    )


def test_each_choice_has_its_own_loss_objective_and_flops(runs):
    done = finished_runs(runs)
    assert taken(done).equals(done)
    test, last = taken(done, "test"), taken(done, "last")
    np.testing.assert_allclose(test["loss"], runs["test_loss"])
    np.testing.assert_allclose(test["objective"], runs["test_objective"])
    np.testing.assert_allclose(test["chosen"], runs["loss"])
    assert test["constant_loss"].isna().all()
    np.testing.assert_allclose(last["loss"], runs["loss_last"])
    np.testing.assert_allclose(last["chosen"], runs["loss_last"])
    assert (last["best_step"] == last["n_steps"]).all()
    np.testing.assert_allclose(taken(done, charge="best")["train_flops"], runs["train_flops"] / 2)


def test_settings_are_chosen_by_validation_and_reported_on_the_test_split(runs):
    other = runs.assign(optimizer_lr=1e-3, loss=runs["loss"] * 1.01, test_loss=runs["test_loss"] * 0.5)
    both = pd.concat([runs.assign(optimizer_lr=1e-2), other], ignore_index=True)
    both["trial_id"] += both["optimizer_lr"].astype(str)
    table = designs(taken(finished_runs(both[both.optimizer == "adamw"]), "test"))
    points = axis_points(table, "n_params")
    np.testing.assert_allclose(
        points.rows["loss"],
        designs(taken(finished_runs(runs[runs.optimizer == "adamw"]), "test"))
        .pipe(axis_points, "n_params")
        .rows["loss"],
    )


def test_laws_follow_the_choice(runs):
    (one,) = {
        law.params["E"].value for law in scalelab.analyze(runs, axes=["n_params"], trees=False).fitted[:1]
    }
    analysis = scalelab.analyze(runs, axes=["n_params"], trees=False, on="test", charge="best")
    assert (analysis.on, analysis.charge) == ("test", "best")
    assert analysis.fitted[0].params["E"].value == pytest.approx(1.1 * one, rel=1e-3, abs=1e-4)
    found = scalelab.predict(runs, {"n_params": 1e7}, optimizer="adamw", on="test")
    usual = scalelab.predict(runs, {"n_params": 1e7}, optimizer="adamw")
    assert found[0].loss.value == pytest.approx(1.1 * usual[0].loss.value, rel=1e-3)


def test_no_loss_is_an_axis_or_a_choice_of_the_design(runs):
    assert not {"test_loss", "test_accuracy", "chosen", "loss_last"} & set(
        numeric_columns(finished_runs(runs))
    )
    from scalelab.analysis.trees.leakage import refuse_leaks

    for name in ("test_loss", "test_accuracy", "chosen", "best_step"):
        with pytest.raises(FitError, match="outcome"):
            refuse_leaks(finished_runs(runs), [name])


@pytest.mark.parametrize(
    ("changes", "how", "words"),
    [
        ({"test_loss": np.nan}, {"on": "test"}, "do not record the test loss; choose those that do"),
        ({"best_step": np.nan}, {"charge": "best"}, "do not record the best step"),
        ({}, {"on": "tset"}, "on must be one of validation, test, last, got 'tset'"),
        ({}, {"charge": "some"}, "charge must be one of last, best"),
    ],
)
def test_what_is_not_recorded_is_refused_in_a_line(runs, changes, how, words):
    with pytest.raises(InputError, match=words):
        scalelab.finished_runs(runs.assign(**changes), **how)
    with pytest.raises(InputError, match=words):
        scalelab.analyze(runs.assign(**changes), trees=False, **how)


def test_a_filter_leaves_runs_out_before_they_are_missed(runs):
    missing = runs.assign(test_loss=runs["test_loss"].where(runs["optimizer"] == "adamw"))
    assert len(scalelab.finished_runs(missing, on="test", optimizer="adamw"))
    with pytest.raises(InputError, match="do not record"):
        scalelab.finished_runs(missing, on="test")
