"""Noise-free data of every law give it back from the default call."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from law_draws import DRAWS, design

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.laws import LAWS, get_law

# Their parameters trade off against each other, so it is their predictions that must come back.
BY_PREDICTION = {"m4", "bnsl", "bnsl2", "saturating-overfit", "loss-to-loss"}
EXACT = sorted(set(DRAWS) - BY_PREDICTION)

quick = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def test_every_law_is_tested():
    assert set(LAWS) == set(DRAWS)


@pytest.mark.parametrize("name", EXACT)
@quick
@given(data=st.data())
def test_parameters_come_back(name, data):
    params = data.draw(DRAWS[name])
    x = design(name)
    fit = fit_law(name, x, get_law(name).predict(params, x))
    near_zero = 1e-9 if name in ("sigmoid", "interaction", "step-law") else 0
    assert fit.params == pytest.approx(params, rel=1e-6, abs=near_zero)
    assert fit.starts.agreeing >= 1


@pytest.mark.parametrize("name", sorted(BY_PREDICTION))
@quick
@given(data=st.data())
def test_predictions_come_back_on_the_range_and_a_decade_beyond(name, data):
    params = data.draw(DRAWS[name])
    x = design(name)
    law = get_law(name)
    fit = fit_law(name, x, law.predict(params, x))
    wide = {axis: np.geomspace(column.min(), 10 * column.max(), 80) for axis, column in x.items()}
    np.testing.assert_allclose(fit.predict(wide), law.predict(params, wide), rtol=1e-6)


@quick
@given(params=DRAWS["chinchilla"], scale=st.floats(-15, 15), unit=st.floats(-20, 20))
def test_units_do_not_matter(params, scale, unit):
    x = design("chinchilla")
    y = get_law("chinchilla").predict(params, x)
    moved = fit_law("chinchilla", {k: v * 10**unit for k, v in x.items()}, y * 10**scale)
    assert moved.params["alpha"] == pytest.approx(params["alpha"], rel=1e-6)
    assert moved.params["E"] == pytest.approx(params["E"] * 10**scale, rel=1e-6)
    assert moved.params["B"] == pytest.approx(params["B"] * 10 ** (scale + unit * params["beta"]), rel=1e-5)


@pytest.mark.parametrize("estimator", ["log-huber", "lad", "log-mse", "mse", "huber", "asymmetric"])
def test_every_estimator_recovers_a_law_with_a_few_gross_outliers_or_none(estimator):
    params = {"E": 1.7, "A": 400.0, "B": 500.0, "alpha": 0.34, "beta": 0.3}
    x = design("chinchilla")
    y = get_law("chinchilla").predict(params, x)
    if estimator in ("log-huber", "lad", "huber", "asymmetric"):
        y[[3, 17]] *= 1.5
        tolerance = {"lad": 1e-5}.get(estimator, 0.02)
    else:
        tolerance = 1e-6
    assert fit_law("chinchilla", x, y, estimator=estimator).params == pytest.approx(params, rel=tolerance)


@pytest.mark.parametrize(
    "name", ["power", "power-offset", "m3", "m4", "chinchilla", "kaplan", "sigmoid", "loglog"]
)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_few_exact_rows_give_the_law_back(name, data):
    params = data.draw(DRAWS[name])
    n = data.draw(st.integers(len(params) + 1, 12))
    order = np.random.default_rng(n).permutation(n)
    spread = np.geomspace(1e5, 1e9, n)
    x = {axis: spread if i == 0 else spread[order] for i, axis in enumerate(design(name))}
    if name == "sigmoid":
        x = {"loss": np.linspace(0.3, 3.0, n)}
    law = get_law(name)
    fit = fit_law(name, x, law.predict(params, x))
    further = {axis: column * 10.0 for axis, column in x.items()} if law.log_axes else x
    for scales in (x, further):
        np.testing.assert_allclose(fit.predict(scales), law.predict(params, scales), rtol=1e-6)


@pytest.mark.parametrize("n", [10, 12, 60])
def test_two_breaks_in_a_curved_valley_are_found(n):
    params = {"E": 1.0, "b": 1163.337, "c0": 0.5, "c1": 0.78125, "d1": 805165.09, "f1": 1.0}
    params |= {"c2": 0.25, "d2": 24154952.75, "f2": float(np.exp(-1.0))}
    law = get_law("bnsl2")
    x, wide = np.geomspace(1e5, 1e9, n), np.geomspace(1e5, 1e10, 80)
    fit = fit_law("bnsl2", x, law.predict(params, {"x": x}))
    np.testing.assert_allclose(fit.predict(wide), law.predict(params, {"x": wide}), rtol=1e-6)


def test_four_rows_of_a_power_law_with_an_offset_are_enough():
    x = np.array([100.0, 1e3, 1e4, 1e5])
    fit = fit_law("power-offset", x, 0.3 + 128**-0.5 + x**-0.3)
    assert fit.params == pytest.approx({"E": 0.3 + 128**-0.5, "A": 1.0, "alpha": 0.3}, rel=1e-9)
    assert fit.objective < 1e-25


@pytest.mark.parametrize("estimator", ["log-huber", "lad", "log-mse", "mse", "huber", "asymmetric"])
def test_an_exact_law_is_found_whatever_the_estimator_the_weights_and_the_scale_of_the_loss(estimator):
    x = np.geomspace(1e5, 1e9, 7)
    for scale in (1e-8, 1.0, 1e8):
        y = scale * (0.05 + 300.0 * x**-0.4)
        fit = fit_law("power-offset", x, y, estimator=estimator, weights=np.arange(1.0, 8.0))
        assert fit.params == pytest.approx({"E": 0.05 * scale, "A": 300 * scale, "alpha": 0.4}, rel=1e-6)
