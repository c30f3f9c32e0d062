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
