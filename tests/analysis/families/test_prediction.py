"""Losses at a scale and scales that reach a loss: what they say, and what they refuse to say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_tables import SIZES, grid_runs, true_loss

from scalelab.analysis.estimate import Refusal
from scalelab.analysis.families.advice import advise
from scalelab.analysis.families.prediction import (
    Forecast,
    Target,
    forecast,
    reach,
)
from scalelab.analysis.families.scales import read_scale
from scalelab.analysis.runs.designs import designs, finished_runs
from scalelab.errors import FitError, InputError
from scalelab.jsonable import jsonable

FAR = {"n_params": 7_600_000, "n_examples": 400_000}


@pytest.fixture(scope="module")
def table():
    return designs(finished_runs(grid_runs(optimizers=("adamw", "sgd"), seeds=(0, 1), noise=0.004)))


@pytest.fixture(scope="module")
def far(table):
    return forecast(table, FAR)


def test_a_new_run_lies_in_its_interval_about_as_often_as_it_says():
    inside = []
    for seed in range(12):
        runs = grid_runs(seeds=(0, 1), noise=0.01, seed=seed)
        (one,) = forecast(designs(finished_runs(runs)), FAR)
        new = true_loss(**FAR) * np.exp(0.01 / np.sqrt(2) * np.random.default_rng(100 + seed).normal())
        inside.append(one.loss.lower < new < one.loss.upper)
    # fewer than 8 of 12 draws would be inside in 0.4% of all cases where 90% is right
    assert sum(inside) >= 8


def test_the_loss_ten_times_beyond_is_near_the_truth(far):
    assert [one.family.optimizer for one in far] == ["adamw", "sgd"]
    for one, penalty in zip(far, (1.0, 1.25), strict=True):
        assert isinstance(one, Forecast)
        assert one.law == "chinchilla"
        assert one.loss.value == pytest.approx(penalty * true_loss(**FAR), rel=0.05)
        assert one.beyond == {"n_params": pytest.approx(10.0), "n_examples": pytest.approx(10.0)}


def test_the_backtest_stands_beside_every_forecast(far):
    for one in far:
        assert one.backtest.errors
        assert 0 < one.backtest.rmse < 0.1
        assert max(one.backtest.reach) > 1


def test_a_bounded_objective_follows_through_the_link(table):
    def metric(loss):
        return 0.1 + 0.9 / (1 + np.exp(6 * (loss - 0.4)))

    found = forecast(table.assign(objective=metric(table["loss"])), FAR)
    for one, penalty in zip(found, (1.0, 1.25), strict=True):
        assert one.metric == "macro-f1"
        assert one.objective.lower < one.objective.value < one.objective.upper < 1
        assert one.objective.value == pytest.approx(metric(one.loss.value), abs=0.002)
        assert one.objective.value == pytest.approx(metric(penalty * true_loss(**FAR)), abs=0.02)
        assert one.link_beyond == (one.loss.value < table["loss"].min() * penalty)


def test_an_unbounded_objective_is_not_predicted(table):
    found, _ = forecast(table.assign(objective=100 * table["objective"]), {"train_flops": 1e15})
    assert found.objective is None
    assert "not bounded" in found.no_objective


def test_the_interval_of_a_run_is_wider_than_that_of_the_law(table):
    (run, _) = forecast(table, {"n_params": 7.6e6})
    law = run.fit.predict({"n_params": [7.6e6]}, 0.9)
    assert run.loss.lower < law.lower[0] < run.loss.value < law.upper[0] < run.loss.upper


def test_averaged_forms_predict_too(table):
    found, _ = forecast(table, {"n_examples": 4e5}, law="auto")
    assert found.law == "auto"
    assert found.loss.lower < true_loss(SIZES[-1], 4e5) < found.loss.upper
    assert found.objective is not None


def test_what_the_runs_cannot_support_is_a_refusal(table):
    few = table[table["n_params"].isin(SIZES[:2])]
    one, other = forecast(few, {"n_params": 1e6})
    assert isinstance(one, Refusal)
    assert isinstance(other, Refusal)
    assert "needs 4 model sizes, got 2" in one.reason


def test_documents_are_json(far, table):
    for one in (*far, *reach(table, 0.2), *forecast(table[table["n_params"] == SIZES[0]], {"n_params": 9})):
        document = json.loads(json.dumps(jsonable(one)))
        assert document["optimizer"] in ("adamw", "sgd")
        assert (document["refusal"] is None) != isinstance(one, Refusal)


def test_a_target_is_where_the_law_has_that_loss(table):
    for one in reach(table, 0.32, axes=["n_params"]):
        assert isinstance(one, Target)
        assert one.fit.predict({"n_params": [one.scale.value]})[0] == pytest.approx(0.32)
        assert one.scale.lower < one.scale.value
        assert one.beyond == pytest.approx(one.scale.value / SIZES[-1])
        ends = one.fit.predict({"n_params": [one.scale.lower]}, 0.9)
        assert ends.lower[0] == pytest.approx(0.32, rel=0.003)
        if one.scale.upper is not None:
            ends = one.fit.predict({"n_params": [one.scale.upper]}, 0.9)
            assert ends.upper[0] == pytest.approx(0.32, rel=0.003)


def test_a_target_below_the_floor_is_never_reached(table):
    (one, _) = reach(table, 0.01, axes=["n_params"])
    assert one.scale.value == float("inf")
    assert one.beyond is None
    assert one.scale.upper is None
    assert one.floor.value > 0.01
    assert one.floor.lower <= one.floor.value <= one.floor.upper


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ({"parms": 1.0}, "unknown axis 'parms'"),
        ({"n_params": 0.0}, "must be a positive number"),
        ({"n_params": -1.0}, "must be a positive number"),
        ({"n_params": math.inf}, "must be a positive number"),
        ({"n_params": 1e-300}, "must be a positive number, from 1e-150 to 1e\\+150"),
        ({"n_params": math.nan}, "must be a positive number"),
        ({}, "no law has the axes"),
        ({"n_params": 1.0, "train_flops": 1.0}, "no law has the axes"),
        ({"n_examples": 1.0, "n_tokens": 1.0}, "no law has the axes"),
    ],
)
def test_a_wrong_scale_is_named(at, words):
    with pytest.raises(InputError, match=words):
        read_scale(at)


@given(
    st.dictionaries(
        st.sampled_from(["n_params", "n_examples", "n_tokens", "train_flops", "epochs", "x"]),
        st.floats(allow_nan=True, allow_infinity=True),
        max_size=4,
    )
)
def test_a_scale_is_read_or_refused(at):
    try:
        scale = read_scale(at)
    except InputError:
        return
    assert sorted(scale.values()) == sorted(at.values())
    assert all(value > 0 for value in scale.values())


@pytest.mark.parametrize(
    ("law", "error", "words"),
    [
        ("powr", FitError, "did you mean 'power'"),
        ("chinchilla", InputError, "has the axes n_params, n_examples"),
        ("sigmoid", InputError, "is a link from loss to metric"),
    ],
)
def test_a_wrong_law_is_named(table, law, error, words):
    with pytest.raises(error, match=words):
        forecast(table, {"n_params": 1e6}, law=law)


def test_a_wrong_target_is_named(table):
    with pytest.raises(InputError, match="positive number"):
        reach(table, -1.0)
    with pytest.raises(InputError, match="unknown axis 'epoch'"):
        reach(table, 0.2, axes=["epoch"])
    with pytest.raises(InputError, match="auto averages"):
        reach(table, 0.2, law="auto")
    with pytest.raises(InputError, match="has one axis, the scale has n_params, n_examples"):
        forecast(table, FAR, law="power")
    with pytest.raises(InputError, match="between 0 and 1"):
        forecast(table, FAR, level=90)


def test_a_law_of_epochs_is_fitted_to_runs_of_several_lengths():
    runs = grid_runs(seeds=(0,), noise=0.0)
    parts = []
    for epochs in (1.0, 2.0, 4.0, 8.0):
        part = runs.assign(epochs=epochs)
        part["loss"] *= 1 + 0.3 * np.exp(-epochs / 3)
        part["trial_id"] += f"-{epochs}"
        parts.append(part)
    import pandas as pd

    table = designs(finished_runs(pd.concat(parts)))
    (found,) = forecast(table, {"n_params": 1e6, "n_examples": 4e4, "epochs": 6.0})
    assert found.law == "data-constrained"
    assert found.axes == ("n_params", "n_examples", "epochs")


def test_beyond_runs_that_leave_an_exponent_open_a_prediction_says_so_in_the_words_of_advice():
    """Where `advise` refuses a budget, a loss beyond the same runs stands under the same reason."""
    runs = grid_runs(sizes=SIZES[:4], data_sizes=(4_500,), seeds=(0, 1), noise=0.2, seed=3)
    few = designs(finished_runs(runs))
    words = "the runs do not determine how fast the loss falls with model size"
    inside, beyond = forecast(few, [{"n_params": 40_000}, {"n_params": 10_000_000}])
    assert beyond.unknown == words
    assert beyond.warnings[0].startswith(f"{words}, on which an answer beyond them rests")
    assert not any(words in line for line in inside.warnings)
    (target,) = reach(few, 0.9 * beyond.loss.value, axes=["n_params"])
    assert target.warnings[0].startswith(words)
    with pytest.raises(InputError, match=words):
        advise(few, 1e15)


def test_runs_that_determine_their_exponents_need_no_such_words(far):
    assert [one.unknown for one in far] == ["", ""]
