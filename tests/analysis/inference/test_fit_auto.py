"""Choice of law: backtests by scale, AICc, weights by the documented rule, extrapolation."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from reference_tables import REFERENCE, addition_rows, needs_reference

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.average import aicc, combine
from scalelab.analysis.inference.backtest import Backtest, backtest, splits
from scalelab.analysis.inference.diagnostics import diagnose
from scalelab.analysis.laws import get_law
from scalelab.errors import FitError

X = np.geomspace(1e5, 1e9, 40)


def noisy(clean: np.ndarray, sigma: float = 0.005, seed: int = 0) -> np.ndarray:
    return clean * np.exp(np.random.default_rng(seed).normal(0, sigma, clean.size))


def test_origins_split_by_scale_and_keep_repeats_together():
    scale = np.repeat([1.0, 2, 3, 4, 5], 4)[::-1]
    for known, beyond in splits(scale):
        assert scale[known].max() < scale[beyond].min()
        assert (known ^ beyond).all()
    assert splits(np.ones(5)) == []


def test_a_backtest_finds_the_law_that_extrapolates():
    y = noisy(1.0 + 300 * X**-0.4)
    right, wrong = fit_law("power-offset", X, y).backtest, fit_law("power", X, y).backtest
    assert right.rmse < 0.01 < wrong.rmse
    assert len(right.errors) == 4
    assert all(reach > 1 for reach in right.reach)
    assert "times the scale" in right.describe()


def test_a_backtest_of_few_rows_says_why_there_is_none():
    y = noisy(1.0 + 300 * X[:7] ** -0.4)
    test = fit_law("bnsl", X[:7], y).backtest
    assert test.rmse == np.inf
    assert "at least" in test.describe()


def test_weights_follow_the_rule():
    y = noisy(1.0 + 300 * X**-0.4)
    auto = fit_law("auto", {"n_params": X}, y)
    assert sum(auto.weights.values()) == pytest.approx(1)
    products = [auto.weights[name] * auto.scores[name] for name in auto.fits]
    assert products == pytest.approx([products[0]] * len(products))
    logs = sum(auto.weights[n] * np.log(f.predict([1e10])) for n, f in auto.shrunk.items())
    assert auto.predict([1e10]) == pytest.approx(np.exp(logs))
    table = auto.summary()
    assert list(table.weight) == sorted(table.weight, reverse=True)
    assert json.loads(auto.to_json())["weighted_by"] == "backtest"
    interval = auto.predict([1e10], 0.9)
    assert interval.lower[0] < 1.03 < interval.upper[0]
    assert interval.lower[0] <= interval.mean[0] <= interval.upper[0]


def test_an_origin_that_a_form_could_not_be_fitted_from_counts_as_the_worst_of_the_others():
    fit = fit_law("power-offset", X, noisy(1 + 300 * X**-0.4))
    tests = {
        "all": Backtest("all", (1.0, 2.0), (8.0, 4.0), (0.3, 0.1), ()),
        "late": Backtest("late", (2.0,), (4.0,), (0.1,), ("few",)),
        "none": Backtest("none", (), (), (), ("few",)),
    }
    weights, by, scores = combine(dict.fromkeys(tests, fit), tests)
    assert by == "backtest"
    assert weights == pytest.approx({"all": 0.5, "late": 0.5})
    assert scores["late"] == pytest.approx(np.sqrt((0.3**2 + 0.1**2) / 2))


def test_a_form_that_visibly_does_not_fit_is_dropped_and_still_disagrees():
    x = np.geomspace(1e5, 1e9, 40)
    y = noisy(1.0 + 3.0 / (1 + (x / 3e6) ** 0.7), 0.002)
    auto = fit_law("auto", x, y)
    assert auto.refused["power-offset"].startswith("it does not fit: ")
    assert "power-offset" not in auto.weights
    assert [fit.law.name for fit in auto.dropped].count("power-offset") == 1
    few = fit_law("auto", x[::4], y[::4])
    assert "power-offset" in few.weights, "ten rows leave the best form too few degrees of freedom to know"


def test_two_breaks_are_followed_where_the_rows_leave_no_doubt():
    x = np.geomspace(1e3, 1e9, 48)
    steps = (1 + (x / 1e5) ** 4) ** -0.15 * (1 + (x / 1e7) ** 4) ** -0.15
    broken = fit_law("auto", x, noisy(0.2 + 3.0 * x**-0.02 * steps, 0.002))
    smooth = fit_law("auto", x, noisy(0.2 + 30.0 * x**-0.3, 0.002))
    assert set(broken.weights) == {"bnsl2"}
    assert "bnsl2" not in smooth.weights


def test_without_noise_the_true_law_takes_all_the_weight():
    y = 1.0 + 300 * X**-0.4
    auto = fit_law("auto", X, y)
    assert auto.best.law.name in ("power-offset", "m4", "bnsl")
    assert auto.predict([1e10])[0] == pytest.approx(1.0 + 300 * 1e10**-0.4, rel=1e-4)


def test_few_rows_are_weighted_by_aicc_and_too_many_parameters_left_out():
    auto = fit_law("auto", X[::8], noisy(1.0 + 300 * X[::8] ** -0.4))
    assert "bnsl" in auto.refused
    assert "at least" in auto.refused["bnsl"]
    fits = {
        "power-offset": fit_law("power-offset", X, noisy(1 + 300 * X**-0.4)),
        "m3": fit_law("m3", X, noisy(1 + 300 * X**-0.4)),
    }
    none = {name: Backtest(name, (), (), (), ("few",)) for name in fits}
    weights, by, scores = combine(fits, none)
    assert (by, scores) == ("aicc", {})
    ratio = np.exp(-0.5 * (aicc(fits["m3"]) - aicc(fits["power-offset"])))
    assert weights["m3"] / weights["power-offset"] == pytest.approx(ratio)


def test_two_axes_are_averaged_as_well():
    n, d = (column.ravel() for column in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e10, 6)))
    y = noisy(1.5 + 400 * n**-0.35 + 900 * d**-0.3, 0.002)
    truth = 1.5 + 400 * 1e10**-0.35 + 900 * 1e11**-0.3
    auto = fit_law("auto", {"n_params": n, "n_tokens": d}, y)
    assert auto.fits["chinchilla"] is not None
    assert "kaplan" in auto.refused, "without an irreducible loss it does not fit"
    assert abs(np.log(auto.predict({"n_params": [1e10], "n_tokens": [1e11]})[0] / truth)) < 0.01
    with pytest.raises(FitError, match="no law takes the axes"):
        fit_law("auto", {"n_params": n, "width": d}, y)
    with pytest.raises(FitError, match="no law fits these rows"):
        fit_law("auto", X[:2], [1.0, 0.9])


def test_aicc_prefers_the_simpler_of_two_right_laws():
    y = noisy(30 * X**-0.2, 0.01)
    assert aicc(fit_law("power", X, y)) < aicc(fit_law("bnsl", X, y))


@needs_reference
def test_addition_the_break_is_followed_and_a_plain_power_law_is_seen_to_fail():
    rows = addition_rows()
    known, rest = rows[rows.training == 1], rows[rows.training == 0]
    broken = fit_law("bnsl", {"n_examples": known.train_size}, known.test_ce)
    plain = fit_law("power-offset", {"n_examples": known.train_size}, known.test_ce)

    def error(fit):
        return np.sqrt(np.mean(np.log(fit.predict(rest.train_size) / rest.test_ce) ** 2))

    assert error(broken) <= 0.05 < error(plain)
    assert any("wrong shape" in warning for warning in diagnose(plain).warnings())


@needs_reference
def test_auto_beats_the_authors_best_estimator_on_a_few_of_their_curves():
    curves = pd.read_csv(REFERENCE / "extrapolation" / "image_classification_36.csv")
    authors = pd.read_csv(REFERENCE / "extrapolation" / "authors_rmse_36.csv")
    names = list(curves.groupby(["Task", "Model"]).groups)[::6]
    ours, theirs = [], []
    for task, model in names:
        rows = curves[(curves.Task == task) & (curves.Model == model)]
        known, rest = rows[rows.Training == 1], rows[rows.Training == 0]
        auto = fit_law("auto", known["Seen Examples"], known.Loss)
        ours.append(np.sqrt(np.mean(np.log(auto.predict(rest["Seen Examples"]) / rest.Loss) ** 2)))
        theirs.append(authors[(authors.task == task) & (authors.model == model)].M4.iloc[0])
    assert np.mean(ours) < np.mean(theirs)


def test_law_objects_are_accepted_in_place_of_names():
    y = noisy(30 * X**-0.2, 0.01)
    assert fit_law(get_law("power"), X, y).params == fit_law("power", X, y).params
    assert backtest(fit_law(get_law("power"), X, y)).errors == fit_law("power", X, y).backtest.errors
