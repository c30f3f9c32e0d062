"""Laws from one line of text: the contract of every law, the bundled forms' optima, what is refused."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_tables import chinchilla_rows, needs_reference
from test_laws_expression import FORMULAS

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.laws.formula import Formula, formula
from scalelab.errors import FitError
from scalelab.testing import LawContract

CHINCHILLA = "E + A*n_params^-alpha + B*n_examples^-beta"
LAWS = {
    CHINCHILLA: {"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37},
    "((N_c/n)^(a/b) + D_c/d)^b": {"N_c": 8e9, "a": 0.08, "b": 0.1, "D_c": 5e9},
    "beta*(1/x + gamma)^c": {"beta": 90.0, "gamma": 1e-7, "c": 0.3},
    "E + A*n^-(alpha + g*log(k))*k^-b": {"E": 1.4, "A": 30.0, "alpha": 0.17, "g": -0.002, "b": 0.1},
    "E + A*(n*(1 + k*log(p)))^-a": {"E": 0.7, "A": 30.0, "k": 0.4, "a": 0.2},
    "1.5 + A*(1 + x/K)^-c": {"A": 2.0, "K": 1e6, "c": 0.4},
    "E + A*exp(-x/K)": {"E": 3.0, "A": 1.0, "K": 3e7},
    "E - B*tanh(log(x)/s)": {"E": 3.0, "B": 2.0, "s": 15.0},
    "high - (high - low)*x^-a": {"high": 2.0, "low": 9.0, "a": 0.1},
    "E + sqrt(A/x + B^2/n)": {"E": 2.0, "A": 1e5, "B": 400.0},
    "max(E, A*x^-a)": {"E": 1.5, "A": 40.0, "a": 0.2},
}


@pytest.mark.parametrize("text", LAWS)
class TestFormulas(LawContract):
    @pytest.fixture
    def truth(self, text):
        return LAWS[text]

    @pytest.fixture
    def law(self, text, truth):
        whole = formula(text)
        return Formula(whole.tree, tuple(name for name in whole.names if name not in truth))

    def test_description_is_sound(self, law, text):
        assert law.irreducible in {None, *law.params}
        assert formula(law.equation).tree == law.tree


def _smooth(values):
    return np.isfinite(values).all() and np.abs(values).max() < 1e6


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=FORMULAS, seed=st.integers(0, 9))
def test_derivatives_are_those_of_the_values(text, seed):
    try:
        whole = formula(text)
        law = Formula(whole.tree, tuple(name for name in whole.names if name in ("n_params", "x")))
    except FitError:
        return
    rng = np.random.default_rng(seed)
    u = tuple(rng.uniform(-1, 1, 4) for _ in law.axes)
    theta, step = rng.uniform(0.3, 1.2, (1, len(law.params))), 1e-6
    with np.errstate(all="ignore"):
        values, slopes = law.value_jac(theta, u)
        moved = [law.value_jac(theta + s * step * np.eye(len(law.params)), u) for s in (1, -1)]
        finite = (moved[0][0] - moved[1][0]) / (2 * step)
        bend = max(float(np.abs(m[1] - slopes).max()) for m in moved)
    # Where a function jumps or bends within a step, differences say nothing.
    if _smooth(values) and _smooth(slopes) and bend < 1e-3:
        np.testing.assert_allclose(slopes[0], finite, atol=1e-2, rtol=1e-2)


@needs_reference
def test_a_formula_equal_to_a_bundled_form_has_its_optimum():
    x, y = chinchilla_rows()
    own, bundled = fit_law(CHINCHILLA, x, y), fit_law("chinchilla", x, y)
    assert own.objective == pytest.approx(bundled.objective, rel=1e-9)
    assert own.irreducible == own.params["E"]
    for name, value in bundled.params.items():
        assert own.params[name] == pytest.approx(value, rel=1e-6)


def test_units_do_not_matter():
    rng = np.random.default_rng(0)
    n, k = 10 ** rng.uniform(6, 10, 60), 2.0 ** rng.integers(0, 9, 60)
    y = (1.5 + 300 * n**-0.35 * k**-0.1) * np.exp(0.01 * rng.normal(size=60))
    text = "E + A*n^-a*k^-b"
    one, other = fit_law(text, {"n": n, "k": k}, y), fit_law(text, {"n": n / 1e9, "k": k * 1e5}, 1000 * y)
    assert other.params["a"] == pytest.approx(one.params["a"], rel=1e-6)
    assert other.params["E"] == pytest.approx(1000 * one.params["E"], rel=1e-6)
    scale = 1000 * 1e9 ** -one.params["a"] * 1e5 ** one.params["b"]
    assert other.params["A"] == pytest.approx(one.params["A"] * scale, rel=1e-5)


def test_an_exponent_under_a_minus_is_not_negative_and_a_coefficient_is_positive():
    x = np.geomspace(1e5, 1e9, 30)
    rising = 1.0 + 0.1 * x**0.1
    free, held = fit_law("E + A*x^a", x, rising), fit_law("E + B*x^a - A*x^-b", x, rising)
    assert free.params["a"] == pytest.approx(0.1, abs=1e-3)
    assert min(held.params["A"], held.params["B"], held.params["b"]) >= 0
    with pytest.raises(FitError, match="does not fall along the axes"):
        fit_law("E + A*x^-a", x, rising)


def test_outcomes_may_be_negative_where_the_form_allows_it():
    x = np.geomspace(1e5, 1e9, 30)
    fit = fit_law("E + A*x^-a", x, -5.0 + 200 * x**-0.35, estimator="mse")
    assert fit.params["E"] == pytest.approx(-5.0, rel=1e-6)
    assert fit.predict([1e10], 0.9).lower[0] < -4.9
    with pytest.raises(FitError, match="always positive, and row 0 has a loss of -1"):
        fit_law("A*x^-a", x, -1.0 - np.arange(30))


def test_columns_that_a_formula_does_not_name_are_refused():
    x = {"n_params": np.geomspace(1e6, 1e9, 9), "n_examples": np.geomspace(1e6, 1e9, 9)[::-1]}
    with pytest.raises(FitError, match="does not mention the axis 'n_examples'"):
        fit_law("E + A*n_params^-a", x, 1 + x["n_params"] ** -0.1)
    with pytest.raises(FitError, match="does not mention the axis 'n_params'"):
        fit_law("E + A*size^-a", x, 1 + x["n_params"] ** -0.1)


def test_the_example_of_a_formula_runs():
    (found,) = doctest.DocTestFinder(recurse=False).find(Formula, "formula", globs={})
    assert found.examples
    assert doctest.DocTestRunner().run(found).failed == 0


def test_a_law_that_is_negative_at_positive_losses_is_refused():
    x = np.geomspace(1e5, 1e9, 30)
    with pytest.raises(FitError, match="falls to zero or below within these rows"):
        fit_law("-E - x", x, 1 + 40 * x**-0.3)


@pytest.mark.parametrize("text", ["x + 0^E", "E*(1e99*x)^9 + A*x^-a", "A*log(x - K) + E", "E + A*x^-(9^9^9)"])
def test_what_overflows_or_has_no_value_ends_in_a_fit_or_one_line(text):
    x = np.geomspace(1e5, 1e9, 30)
    try:
        said = fit_law(text, x, 1 + 40 * x**-0.3).to_json()
    except FitError as error:
        said = str(error)
    assert said
