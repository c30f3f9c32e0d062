"""The frozen result: what it holds, shows and remembers."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from scalelab.analysis.fits.fit import Fit, fit_law

X = np.geomspace(1e5, 1e9, 20)
Y = (1.5 + 300 * X**-0.4) * (1 + 0.01 * np.cos(np.arange(20)))


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fit_law("power-offset", {"n_params": X}, Y, seed=3)


def test_a_fit_is_frozen_and_reproducible(fit):
    with pytest.raises(dataclasses.FrozenInstanceError):
        fit.objective = 0.0
    again = fit_law("power-offset", {"n_params": X}, Y, seed=3)
    assert again.to_json() == fit.to_json()


def test_json_holds_what_it_takes_to_repeat_the_fit(fit):
    content = json.loads(fit.to_json())
    assert content["params"] == fit.params
    origin = content["provenance"]
    assert origin["law"] == "power-offset"
    assert origin["estimator"] == "log-huber"
    assert origin["delta"] == 1e-3
    assert origin["seed"] == 3
    assert origin["n_rows"] == 20
    assert origin["weights"] == "equal"
    assert len(origin["data_hash"]) == 64
    assert 1 <= origin["starts_agreeing"] <= origin["starts_refined"] <= origin["starts_considered"]


def test_the_hash_follows_the_data(fit):
    other = Y.copy()
    other[0] *= 1 + 1e-12
    assert fit_law("power-offset", {"n_params": X}, other).data_hash != fit.data_hash
    assert fit_law("power-offset", {"n_params": X}, Y, weights=np.full(20, 2.0)).data_hash != fit.data_hash


def test_the_objective_is_the_sum_of_penalties(fit):
    r = np.abs(np.log(fit.predict(X)) - np.log(Y))
    assert fit.objective == pytest.approx(np.where(r < 1e-3, r**2 / 2, 1e-3 * (r - 5e-4)).sum(), rel=1e-9)
    doubled = fit_law("power-offset", {"n_params": X}, Y, weights=np.full(20, 2.0))
    assert doubled.objective == pytest.approx(2 * fit.objective, rel=1e-9)


def test_tables_and_frames_and_lists_are_read_alike(fit):
    frame = fit_law("power-offset", pd.DataFrame({"n_params": X}), pd.Series(Y))
    plain = fit_law("power-offset", list(X), list(Y))
    assert frame.params == plain.params == fit.params
    assert frame.table.axes == ("n_params",)
    assert plain.table.axes == ("x",)


def test_axes_are_found_by_name_not_order():
    n, d = (column.ravel() for column in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e10, 5)))
    y = 1.5 + 400 * n**-0.35 + 900 * d**-0.3
    one = fit_law("chinchilla", {"n_params": n, "n_examples": d}, y)
    other = fit_law("chinchilla", {"n_tokens": d, "n_params": n}, y)
    assert one.params == other.params


def test_the_summary_has_a_row_a_parameter(fit):
    table = fit.summary(0.9)
    assert list(table.index) == ["E", "A", "alpha"]
    assert (table.lower < table.estimate).all()
    assert (table.estimate < table.upper).all()
    assert not table.at_bound.any()


def test_a_parameter_at_its_bound_is_marked():
    x = np.geomspace(1e5, 1e9, 30)
    steeper = np.exp(-0.3 * np.log(x) - 0.01 * (np.log(x) - np.log(1e7)) ** 2)
    fit = fit_law("power-offset", x, steeper)
    assert fit.params["E"] == 0.0
    assert fit.at_bounds == ("E",)
    assert fit.summary().at_bound["E"]


def test_the_figure_draws_its_numbers(fit):
    numbers = fit.curve(decades_beyond=1.0)
    assert numbers["grid"][-1] == pytest.approx(1e10)
    assert (numbers["lower"] < numbers["mean"]).all()
    assert (numbers["mean"] < numbers["upper"]).all()
    ax = fit.plot()
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), numbers["mean"])
    assert ax.get_xlabel() == "n_params"
    assert ax.get_xscale() == "log"


def test_loglog_has_hc3_standard_errors():
    import statsmodels.api as sm

    fit = fit_law("loglog", {"n_params": X}, Y)
    expected = sm.OLS(np.log(Y), sm.add_constant(np.log(X))).fit(cov_type="HC3")
    assert fit.params["alpha"] == pytest.approx(-expected.params[1])
    assert np.sqrt(fit.covariance()[1, 1]) == pytest.approx(expected.bse[1], rel=1e-6)
    both = fit_law("loglog", {"n_params": X, "n_examples": X[::-1] ** 0.5 * (1 + np.arange(20) % 3)}, Y)
    assert set(both.params) == {"A", "alpha_n_params", "alpha_n_examples"}
    assert both.predict({"n_examples": [1e4], "n_params": [1e6]}).shape == (1,)
