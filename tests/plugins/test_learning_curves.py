"""The bundled learning-curve forms keep the contract of a law, and fit published curves."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scalelab_plugins.learning_curves import Mmf, Weibull

import scalelab
from scalelab.testing import LawContract

CURVES = Path(__file__).parents[3] / "shared/reference/extrapolation/image_classification_36.csv"


class TestMmf(LawContract):
    @pytest.fixture
    def law(self):
        return Mmf()

    @pytest.fixture
    def truth(self):
        return {"E": 0.3, "A": 2.0, "alpha": 0.7, "s": 3e6}


class TestWeibull(LawContract):
    @pytest.fixture
    def law(self):
        return Weibull()

    @pytest.fixture
    def truth(self):
        return {"E": 0.3, "A": 2.0, "alpha": 0.4, "s": 3e6}


def test_formulas():
    x = np.array([1.0, 10.0, 300.0])
    params = {"E": 0.2, "A": 1.2, "alpha": 0.5, "s": 10.0}
    np.testing.assert_allclose(Mmf().predict(params, {"x": x}), 0.2 + 1 / (1 + np.sqrt(x / 10)))
    np.testing.assert_allclose(Weibull().predict(params, {"x": x}), 0.2 + np.exp(-np.sqrt(x / 10)))


def test_installed_laws_are_found_by_name():
    x = np.geomspace(1e3, 1e7, 20)
    y = Mmf().predict({"E": 0.1, "A": 0.9, "alpha": 0.5, "s": 1e5}, {"x": x})
    catalog = scalelab.load_plugins()
    fit = scalelab.fit_law(catalog.law("mmf"), x, y)
    assert fit.params["s"] == pytest.approx(1e5, rel=1e-6)
    assert catalog.provenance("law", "weibull").plugin == "learning-curves"


@pytest.mark.skipif(not CURVES.exists(), reason="needs ../shared/reference/extrapolation")
def test_mmf_contains_the_power_law_and_so_fits_every_published_curve_no_worse():
    with CURVES.open() as lines:
        rows = list(csv.DictReader(lines))
    keys = sorted({(row["Domain"], row["Task"], row["Model"]) for row in rows})
    assert len(keys) == 36
    mmf = Mmf()
    for key in keys[::4]:
        mine = [r for r in rows if (r["Domain"], r["Task"], r["Model"]) == key and float(r["Training"]) == 1]
        x = np.array([float(row["Seen Examples"]) for row in mine])
        y = np.array([float(row["Loss"]) for row in mine])
        four, two = (scalelab.fit_law(law, x, y).objective for law in (mmf, "power-offset"))
        # Its bounds let the middle lie e^12 away, where it is the power law to about alpha * e^-12 alpha.
        assert four <= two * 1.05, key
