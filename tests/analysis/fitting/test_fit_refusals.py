"""Malformed or degenerate rows end in a clear refusal or a right answer, never in anything else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.intervals import predict_interval
from scalelab.errors import FitError

X = np.geomspace(1e5, 1e9, 12)
Y = 1.5 + 300 * X**-0.4
ONE_AXIS = ["power", "power-offset", "m3", "m4", "bnsl", "loglog"]


@pytest.mark.parametrize("law", ONE_AXIS)
def test_two_points_are_too_few(law):
    with pytest.raises(FitError, match="at least"):
        fit_law(law, X[:2], Y[:2])


@pytest.mark.parametrize("law", ONE_AXIS)
def test_one_scale_is_refused(law):
    with pytest.raises(FitError, match="different scales"):
        fit_law(law, np.full(12, 1e6), Y)


@pytest.mark.parametrize("law", ONE_AXIS)
def test_a_constant_loss_is_refused(law):
    with pytest.raises(FitError, match="the same in all"):
        fit_law(law, X, np.full(12, 2.0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
def test_values_that_are_not_finite_are_refused(value):
    bad = Y.copy()
    bad[3] = value
    with pytest.raises(FitError, match="row 3"):
        fit_law("power", X, bad)
    with pytest.raises(FitError, match="row 3"):
        fit_law("power", np.where(np.arange(12) == 3, value, X), Y)


def test_negative_losses_and_scales_are_refused_with_a_way_out():
    with pytest.raises(FitError, match="sigmoid"):
        fit_law("power", X, np.where(np.arange(12) == 5, -0.1, Y))
    with pytest.raises(FitError, match="must be positive"):
        fit_law("power", np.where(np.arange(12) == 5, 0.0, X), Y)


def test_a_rising_metric_is_refused_with_a_way_out():
    with pytest.raises(FitError, match=r"rises with scale.*1 - metric"):
        fit_law("power-offset", X, 0.9 - 3 * X**-0.3)


def test_malformed_tables_are_refused():
    with pytest.raises(FitError, match="12 values and y has 11"):
        fit_law("power", X, Y[:-1])
    with pytest.raises(FitError, match="one axis"):
        fit_law("power", {"a": X, "b": X}, Y)
    with pytest.raises(FitError, match="exactly the axes n_params, n_examples"):
        fit_law("chinchilla", {"n_params": X}, Y)
    with pytest.raises(FitError, match="move together"):
        fit_law("chinchilla", {"n_params": X, "n_examples": 20 * X}, Y)
    with pytest.raises(FitError, match="must be numbers"):
        fit_law("power", ["a"] * 12, Y)
    with pytest.raises(FitError, match="no axis"):
        fit_law("power", {}, Y)
    with pytest.raises(FitError, match="negative"):
        fit_law("power", X, Y, weights=-np.ones(12))
    with pytest.raises(FitError, match="groups has 3"):
        fit_law("power", X, Y, groups=[1, 2, 3])
    with pytest.raises(FitError, match="delta"):
        fit_law("power", X, Y, delta=0)
    with pytest.raises(FitError, match="did you mean 'log-huber'"):
        fit_law("power", X, Y, estimator="log-hubber")
    with pytest.raises(FitError, match="positive loss"):
        fit_law("sigmoid", np.linspace(1, 3, 12), np.linspace(0.9, 0.1, 12), estimator="lad")


def test_duplicated_rows_change_nothing_but_the_objective():
    once = fit_law("power-offset", X, Y * (1 + 0.01 * np.cos(np.arange(12))))
    twice = fit_law("power-offset", np.tile(X, 3), np.tile(Y * (1 + 0.01 * np.cos(np.arange(12))), 3))
    assert twice.params == pytest.approx(once.params, rel=1e-6)
    assert twice.objective == pytest.approx(3 * once.objective, rel=1e-9)


def test_weights_count_like_copies_and_zero_leaves_out():
    y = Y * (1 + 0.01 * np.cos(np.arange(12)))
    weights = np.array([2.0] * 3 + [1.0] * 8 + [0.0])
    rows = np.concatenate([np.arange(3), np.arange(11)])
    weighted = fit_law("power-offset", X, y, weights=weights)
    assert weighted.params == pytest.approx(fit_law("power-offset", X[rows], y[rows]).params, rel=1e-6)


def test_a_million_rows_are_searched_with_a_few_thousand_of_them():
    rng = np.random.default_rng(0)
    x = np.exp(rng.uniform(np.log(1e5), np.log(1e9), 1_000_000))
    y = (1.5 + 300 * x**-0.4) * np.exp(rng.normal(0, 0.02, x.size))
    fit = fit_law("power-offset", x, y)
    assert fit.params["alpha"] == pytest.approx(0.4, abs=2e-3)
    assert fit.starts.rows < 5000


values = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(1e-30, 1e30),
    st.sampled_from([0.0, -1.0, 1.0, 1e30, 1e-30, 1e6]),
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    law=st.sampled_from(["power", "power-offset", "m3", "m4", "loglog", "chinchilla", "kaplan"]),
    rows=st.lists(st.tuples(values, values, values), min_size=0, max_size=12),
    copies=st.integers(1, 3),
)
def test_any_table_is_refused_or_fitted(law, rows, copies):
    columns = np.array(rows * copies, dtype=float).reshape(-1, 3).T
    names = ("n_params", "n_examples") if law in ("chinchilla", "kaplan") else ("n_params",)
    try:
        fit = fit_law(law, dict(zip(names, columns, strict=False)), columns[2])
    except FitError as refusal:
        words = str(refusal)
    else:
        words = ""
    if words:
        assert len(words) > 20
        assert "\n" not in words
        return
    assert np.isfinite(fit.objective)
    prediction = fit.predict(dict(zip(names, columns, strict=False)))
    assert (prediction >= 0).all()
    assert np.isfinite(prediction).all()


def test_an_axis_that_is_not_the_fits_own_is_refused():
    fit = fit_law("power-offset", {"n_params": X}, Y)
    for ask in (
        fit.predict,
        lambda x: fit.predict(x, 0.9),
        lambda x: predict_interval(fit, x, 0.9, noise=True),
        fit_law("auto", {"n_params": X}, Y * np.exp(0.01 * np.sin(7.0 * np.arange(12)))).predict,
    ):
        with pytest.raises(FitError, match="needs exactly the axes n_params; x has n_examples"):
            ask({"n_examples": [1e10]})
    assert fit.predict([1e10]) == fit.predict({"n_params": [1e10]})


def test_a_fit_to_a_bare_array_takes_any_axis_and_tokens_are_examples():
    bare = fit_law("power-offset", X, Y)
    assert bare.predict({"n_params": [1e10]}) == bare.predict([1e10])
    tokens = fit_law("power-offset", {"n_tokens": X}, Y)
    assert tokens.predict({"n_examples": [1e10]}) == tokens.predict({"n_tokens": [1e10]})


@pytest.mark.parametrize("law", ["power-offset", "auto"])
def test_columns_of_different_indices_are_refused(law):
    x, y = pd.Series(X), pd.Series(Y, index=np.arange(3, 15))
    for table in (x, {"n_params": x}, pd.DataFrame({"n_params": x})):
        with pytest.raises(FitError, match="different indices"):
            fit_law(law, table, y)
    with pytest.raises(FitError, match="n_params and weights have different indices"):
        fit_law(law, {"n_params": x}, Y, weights=pd.Series(np.ones(12), index=y.index))
    shuffled = x.sample(frac=1.0, random_state=0)
    with pytest.raises(FitError, match="different indices"):
        fit_law(law, {"n_params": shuffled}, pd.Series(Y))


def test_columns_of_one_index_are_matched_row_by_row():
    index = [f"run{i}" for i in range(12)]
    fit = fit_law("power-offset", {"n_params": pd.Series(X, index)}, pd.Series(Y, index))
    assert fit.params == fit_law("power-offset", {"n_params": X}, Y).params


@settings(max_examples=20, deadline=None)
@given(masked=st.sets(st.integers(0, 11), max_size=6), where=st.sampled_from(["x", "y", "weights", "groups"]))
def test_rows_with_a_masked_value_are_left_out(masked, where):
    hidden = np.isin(np.arange(12), sorted(masked))
    columns = {"x": X, "y": Y, "weights": np.ones(12), "groups": np.arange(12) // 2}
    spoiled = np.where(hidden, -7, columns[where])
    given_ = columns | {where: np.ma.array(spoiled, mask=hidden)}
    found = fit_law(
        "power-offset", given_["x"], given_["y"], weights=given_["weights"], groups=given_["groups"]
    )
    left = {name: column[~hidden] for name, column in columns.items()}
    expected = fit_law("power-offset", left["x"], left["y"], weights=left["weights"], groups=left["groups"])
    assert len(found.table) == 12 - len(masked)
    assert found.params == expected.params


def test_a_masked_scale_has_no_prediction_and_missing_values_are_refused():
    fit = fit_law("power-offset", X, Y)
    with pytest.raises(FitError, match=r"1 value\(s\) that are missing or not finite \(first: row 1\)"):
        fit.predict(np.ma.array([1e9, 1e10], mask=[False, True]))
    with pytest.raises(FitError, match="y has 1 value"):
        fit_law("power-offset", X, pd.Series(Y).astype("Float64").mask(np.arange(12) == 2))
    with pytest.raises(FitError, match="groups has no label in row 3"):
        fit_law("power-offset", X, Y, groups=[None if i == 3 else "a" for i in range(12)])


def test_a_fit_answers_for_its_own_axes_in_any_order():
    n, d = np.geomspace(1e6, 1e9, 12), np.geomspace(1e7, 1e9, 12)[np.argsort(np.sin(np.arange(12)))]
    one = fit_law("power-offset", {"n_params": n}, 1.7 + 400 * n**-0.34)
    with pytest.raises(FitError, match="needs exactly the axes n_params; x has n_examples"):
        one.predict({"n_examples": [1e9]})
    assert one.predict([1e9]) == one.predict({"n_params": [1e9]})
    both = fit_law("loglog", {"n_params": n, "n_examples": d}, 90 * n**-0.2 * d**-0.1)
    at = {"n_examples": [1e8], "n_params": [1e10]}
    assert both.predict(at)[0] == pytest.approx(90 * 1e10**-0.2 * 1e8**-0.1)
