"""What the laws of size and data say beyond `chinchilla`, and where they become it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_draws import DRAWS, design

import scalelab
from scalelab.analysis.fitting.draws import Draws
from scalelab.analysis.inference.quantities import allocation_exponent, budget_losses, optimal_params
from scalelab.analysis.laws import LAWS, get_law
from scalelab.analysis.laws.saturating import Saturating
from scalelab.law import Frame
from scalelab.testing import LawContract

TRUTHS = {
    "shared-exponent": {"E": 1.8, "A": 210.0, "B": 340.0, "alpha": 0.3},
    "outer-exponent": {"E": 1.8, "A": 2200.0, "B": 9800.0, "alpha": 0.5, "beta": 0.5, "gamma": 0.6},
    "saturating": {"E": 0.1, "L0": 1.6, "a": 900.0, "b": 150.0, "alpha": 0.5, "beta": 0.4},
    "saturating with L0": {"E": 0.1, "a": 900.0, "b": 150.0, "alpha": 0.5, "beta": 0.4},
    "saturating-overfit": {"E": 0.1, "L0": 1.6, "a": 900.0, "b": 150.0, "c": 2.0, "alpha": 0.5, "beta": 0.4}
    | {"gamma": 0.4, "delta": 0.6},
    "kaplan-offset": {"E": 1.5, "N_c": 8e6, "D_c": 5e7, "alpha_N": 0.3, "alpha_D": 0.4},
    "interaction": {"E": 0.5, "A": 50.0, "B": 40.0, "alpha": 0.3, "beta": 0.5, "c": 0.4, "kappa": -0.015},
}
CHINCHILLA = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
GRID = design("chinchilla")


class TestContract(LawContract):
    @pytest.fixture(params=list(TRUTHS))
    def key(self, request):
        return request.param

    @pytest.fixture
    def law(self, key):
        name, _, given_l0 = key.partition(" with ")
        law = Saturating(1.6) if given_l0 else type(LAWS[name])()
        # As if a plugin had given it: the contract refuses the names of scalelab's own.
        law.name = f"{name}-of-a-plugin"
        return law

    @pytest.fixture
    def truth(self, key):
        return TRUTHS[key]


@settings(max_examples=20, deadline=None)
@given(params=DRAWS["shared-exponent"], eta=st.just(0.5))
def test_the_shared_exponent_is_the_law_of_compute_and_multiplier_of_its_paper(params, eta):
    n, d = GRID["n_params"], GRID["n_examples"]
    compute, ratio = 6 * n * d, d / n
    eta *= params["alpha"]
    a, b = params["A"] * 6**eta, params["B"] * 6**eta
    paper = params["E"] + (a * ratio**eta + b * ratio**-eta) * compute**-eta
    np.testing.assert_allclose(get_law("shared-exponent").predict(params, GRID), paper, rtol=1e-12)


def test_each_becomes_chinchilla_in_its_limit():
    plain = get_law("chinchilla").predict(CHINCHILLA, GRID)
    inner = {name: CHINCHILLA[name] for name in ("alpha", "beta")}
    high = 1e9
    limits = {
        "outer-exponent": CHINCHILLA | {"gamma": 1.0},
        "saturating": {"E": 1.8, "L0": 1.8 + high, "a": 480 / high, "b": 2100 / high, **inner},
        "interaction": CHINCHILLA | {"c": 0.0, "kappa": 0.0},
    }
    for name, params in limits.items():
        np.testing.assert_allclose(get_law(name).predict(params, GRID), plain, rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(params=DRAWS["kaplan-offset"])
def test_kaplan_with_an_irreducible_loss_is_an_outer_exponent_with_beta_one(params):
    by_n, by_d = params["alpha_N"], params["alpha_D"]
    outer = {"E": params["E"], "A": params["N_c"] ** (by_n / by_d), "B": params["D_c"]}
    outer |= {"alpha": by_n / by_d, "beta": 1.0, "gamma": by_d}
    np.testing.assert_allclose(
        get_law("kaplan-offset").predict(params, GRID),
        get_law("outer-exponent").predict(outer, GRID),
        rtol=1e-9,
    )
    inner = {name: params[name] for name in params if name != "E"}
    rest = get_law("kaplan").predict(inner, GRID) + params["E"]
    np.testing.assert_allclose(get_law("kaplan-offset").predict(params, GRID), rest, rtol=1e-12)


def test_a_saturating_law_stays_between_its_ends():
    law, ends = get_law("saturating"), TRUTHS["saturating"]
    tiny, huge = law.predict(ends, {"n_params": [1e-9, 1e40], "n_examples": [1e-9, 1e40]})
    assert tiny == pytest.approx(ends["L0"], rel=1e-6)
    assert huge == pytest.approx(ends["E"], rel=1e-6)
    loss = law.predict(ends, GRID)
    assert ((loss > ends["E"]) & (loss < ends["L0"])).all()


def test_the_over_fitting_term_makes_a_model_too_large_for_its_data_worse():
    law = get_law("saturating-overfit")
    sizes = np.geomspace(1e4, 1e12, 30)
    loss = law.predict(TRUTHS["saturating-overfit"], {"n_params": sizes, "n_examples": np.full(30, 1e6)})
    best = int(np.argmin(loss))
    assert 0 < best < 29
    assert (np.diff(loss[best:]) > 0).all()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_given_l0_is_kept_in_the_units_of_the_data(scale):
    truth = TRUTHS["saturating with L0"]
    law = scalelab.Saturating(1.6)
    loss = law.predict(truth, GRID) * scale
    fit = scalelab.fit_law(scalelab.Saturating(1.6 * scale), GRID, loss)
    assert fit.params == pytest.approx(truth | {"E": 0.1 * scale}, rel=1e-6)
    assert f"L0 = {1.6 * scale!r}" in fit.law.equation
    assert fit.irreducible == fit.params["E"]
    assert fit.summary(method="covariance").index.tolist() == list(truth)


def test_a_given_l0_saves_a_parameter_and_a_run():
    x = {
        name: column[[0, 7, 14, 21, 28, 35]] * f
        for (name, column), f in zip(GRID.items(), (1, 2), strict=True)
    }
    x["n_params"] = x["n_params"] * np.array([1, 3, 1, 5, 1, 2])
    loss = scalelab.Saturating(1.6).predict(TRUTHS["saturating with L0"], x)
    with pytest.raises(scalelab.FitError, match="at least 7 rows, got 6"):
        scalelab.fit_law("saturating", x, loss)
    np.testing.assert_allclose(
        scalelab.fit_law(scalelab.Saturating(1.6), x, loss).predict(x), loss, rtol=1e-6
    )


def test_an_l0_that_cannot_be_one_is_refused():
    loss = get_law("saturating").predict(TRUTHS["saturating"], GRID)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(scalelab.FitError, match="positive l0"):
            scalelab.Saturating(wrong)
    with pytest.raises(scalelab.FitError, match="no loss is below it"):
        scalelab.fit_law(scalelab.Saturating(float(loss.min()) / 2), GRID, loss)


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("outer-exponent", {"A": 2200.0, "B": 9800.0, "alpha": 0.5, "beta": 0.5}),
        ("saturating", {"A": 900.0, "B": 150.0, "alpha": 0.5, "beta": 0.4}),
        ("kaplan-offset", {"A": 8e6**0.75, "B": 5e7, "alpha": 0.75, "beta": 1.0}),
        ("shared-exponent", {"A": 210.0, "B": 340.0, "alpha": 0.3, "beta": 0.3}),
    ],
)
def test_the_optimum_of_a_budget_is_that_of_the_inner_sum(name, inner):
    fit = scalelab.fit_law(name, GRID, get_law(name).predict(TRUTHS[name], GRID))
    plain = scalelab.fit_law(
        "chinchilla", GRID, get_law("chinchilla").predict({"E": 1e-6, **inner}, GRID), estimator="log-mse"
    )
    for quantity in (allocation_exponent, optimal_params(1e15)):
        assert fit.estimate(quantity) == pytest.approx(plain.estimate(quantity), rel=1e-4)


def test_an_interaction_extrapolates_where_sums_of_powers_cannot():
    def loss(n, d):
        u, v = np.log(n / 1e7), np.log(d / 1e9)
        # The exponent of data falls with size: a law of two separate terms misses every larger run.
        return 0.5 + 0.8 * np.exp(-0.12 * u) + 0.3 * np.exp(-0.1 * u - 0.25 * np.exp(0.08 * u) * v)

    n, d = (part.ravel() for part in np.meshgrid(1e6 * 2.0 ** np.arange(7), 1e8 * 2.0 ** np.arange(9)))
    noisy = loss(n, d) * np.exp(np.random.default_rng(0).normal(0, 0.002, n.size))
    larger = {"n_params": np.array([2.5e8, 5e8, 1e9]), "n_examples": np.array([2.5e10, 1e11, 1e12])}
    truth = loss(*larger.values())
    x = {"n_params": n, "n_examples": d}
    error = {
        name: np.abs(scalelab.fit_law(name, x, noisy).predict(larger) / truth - 1).max()
        for name in ("chinchilla", "interaction")
    }
    assert error["interaction"] < 0.01 < 0.03 < error["chinchilla"]


def test_a_law_without_one_exponent_loses_nothing_at_its_optimum():
    """An exponent of zero leaves no size, or all of it: its term stays a constant, not 0 × infinity."""
    frame = Frame(centers=(10.0, 12.0), units=(1.0, 1.0), y_scale=1.0)
    theta = np.array([[0.1, -1.0, -2.0, 0.0, 0.4], [0.1, -1.0, -2.0, 0.3, 0.0], [0.1, -1.0, -2.0, 0.3, 0.4]])
    with np.errstate(all="raise", under="ignore"):
        losses = budget_losses(Draws(get_law("chinchilla"), frame, theta), 25.0)[:, 0]
    assert losses[:2] == pytest.approx([0.1 + np.exp(-1.0), 0.1 + np.exp(-2.0)])
    split = losses[2]
    assert 0.1 < split < 0.1 + np.exp(-1.0) + np.exp(-2.0)
