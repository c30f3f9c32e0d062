"""Penalties and the minimizer: derivatives, bounds, batches, held parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.fitting.estimators import ESTIMATORS, Estimator
from scalelab.analysis.fitting.solver import minimize, stages
from scalelab.analysis.laws import get_law

residuals = st.lists(st.floats(-1, 1), min_size=1, max_size=20).map(np.array)


@pytest.mark.parametrize("name", ESTIMATORS)
@settings(max_examples=30, deadline=None)
@given(r=residuals, delta=st.floats(1e-4, 0.5))
def test_a_penalty_has_the_derivatives_that_it_says(name, r, delta):
    penalty = Estimator.named(name, delta)
    if penalty.kind == "absolute":
        penalty = penalty.smoothed(delta)
    step = 1e-7
    smooth = (np.abs(np.abs(r) - delta) > 1e-5) & (np.abs(r) > 1e-5)
    first, second, majorant = penalty.derivatives(r)
    numeric = (penalty.value(r + step) - penalty.value(r - step)) / (2 * step)
    np.testing.assert_allclose(first[smooth], numeric[smooth], rtol=1e-4, atol=1e-6)
    assert (penalty.value(r) >= 0).all()
    assert (majorant >= second - 1e-12).all()
    # The majorizing parabola touches the penalty at r and lies above it everywhere.
    other = np.linspace(-1, 1, 41)[:, None]
    if penalty.kind != "asymmetric":
        above = penalty.value(r) + 0.5 * majorant * (other**2 - r**2)
        assert (above >= penalty.value(other + 0 * r) - 1e-9).all()


@pytest.fixture(scope="module")
def fit():
    x = np.geomspace(1e5, 1e9, 30)
    y = (1.5 + 300 * x**-0.4) * np.exp(np.random.default_rng(0).normal(0, 0.01, 30))
    return fit_law("power-offset", x, y)


def test_a_batch_ends_where_single_minimizations_end(fit):
    starts = get_law("power-offset").starts(fit.problem.u, fit.problem.y)[5:12]
    weights = np.random.default_rng(1).uniform(0.5, 2, (7, 30))
    together = minimize(fit.problem, starts, weights)
    for i in range(7):
        alone = minimize(fit.problem, starts[i : i + 1], weights[i])
        np.testing.assert_allclose(together.theta[i], alone.theta[0], rtol=1e-9)
    assert together.converged.all()


@pytest.mark.parametrize("name", ESTIMATORS)
@settings(max_examples=20, deadline=None)
@given(r=residuals, share=st.floats(0, 1))
def test_a_step_bends_between_newtons_and_the_majorizing_one(name, r, share):
    penalty = Estimator.named(name, 0.1)
    first, second, majorant = penalty.derivatives(r)
    with np.errstate(invalid="ignore"):  # as `minimize` does
        slope, curvature = penalty.bend(r, np.array(share))
    np.testing.assert_allclose(slope, first, rtol=1e-12)
    np.testing.assert_allclose(curvature, second + share * (majorant - second), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("estimator", ["log-huber", "huber", "log-mse"])
@pytest.mark.parametrize("batched", ["nothing", "weights", "outcomes"])
def test_rows_at_the_same_scales_are_minimized_as_if_they_were_not(estimator, batched):
    rng = np.random.default_rng(4)
    n = rng.permutation(np.repeat(np.geomspace(1e5, 1e8, 8), rng.integers(2, 9, 8)))
    y = (1.0 + 30 * n**-0.3) * np.exp(rng.normal(0.0, 0.02, n.size))
    fit = fit_law("power-offset", {"n_params": n}, y, estimator=estimator)
    problem, weights = fit.problem, rng.uniform(0.5, 2.0, n.size)
    assert problem.repeats is not None
    if batched == "weights":
        weights = rng.uniform(0.0, 2.0, (5, n.size))
    if batched == "outcomes":
        problem = replace(problem, y=problem.y * np.exp(rng.normal(0.0, 0.02, (5, n.size))))
    start = np.broadcast_to(fit.theta, (5, 3)) + 0.1
    alike, apart = minimize(problem, start, weights), minimize(replace(problem, repeats=None), start, weights)
    np.testing.assert_allclose(alike.objective, apart.objective, rtol=1e-9)
    np.testing.assert_allclose(alike.theta, apart.theta, rtol=1e-5)
    assert problem.objective(alike.theta, weights) == pytest.approx(alike.objective, rel=1e-9)
    # Rows that were changed since are not taken for repeats.
    other = replace(problem, u=tuple(column + 0.01 * rng.normal(size=n.size) for column in problem.u))
    expected = replace(other, repeats=None).objective(start, weights)
    assert other.objective(start, weights) == pytest.approx(expected, rel=1e-12)


def test_the_optimum_is_stationary_and_no_start_does_better(fit):
    starts = get_law("power-offset").starts(fit.problem.u, fit.problem.y)
    everywhere = minimize(fit.problem, starts, fit.table.weights, max_iter=500)
    assert everywhere.objective.min() >= fit.objective * (1 - 1e-9)
    r, jac = fit.problem.residuals(fit.theta[None])
    gradient = jac[0] @ fit.estimator.derivatives(r[0])[0]
    scale = np.abs(jac[0]).sum(axis=1) * fit.estimator.delta
    assert (np.abs(gradient) < 1e-6 * scale).all()


def test_parameters_stay_in_the_box_and_held_ones_where_they_are(fit):
    tight = replace(fit.problem, upper=np.array([0.5, 50.0, 10.0]))
    bounded = minimize(tight, fit.theta[None], fit.table.weights)
    assert bounded.theta[0, 0] == 0.5
    assert bounded.objective[0] > fit.objective
    held = replace(fit.problem, held=np.array([False, False, True]))
    start = fit.theta.copy()
    start[2] *= 1.1
    kept = minimize(held, start[None], fit.table.weights)
    assert kept.theta[0, 2] == start[2]
    assert fit.objective < kept.objective[0] < fit.problem.objective(start[None], fit.table.weights)[0]


def test_starts_that_cannot_be_evaluated_do_not_disturb_the_others(fit):
    starts = np.stack([fit.theta, np.full(3, np.nan)])
    found = minimize(fit.problem, starts, fit.table.weights)
    assert found.objective[0] == pytest.approx(fit.objective)
    assert found.objective[1] == np.inf


def test_stages_narrow_down_to_the_penalty_that_was_asked_for():
    wide = stages(Estimator.named("log-huber", 1e-3), np.array([0.5, 1.0, 2.0]))
    assert [one.delta for one in wide] == sorted((one.delta for one in wide), reverse=True)
    assert wide[-1].delta == 1e-3
    assert len(stages(Estimator.named("mse"), np.ones(3))) == 1
    assert stages(Estimator.named("lad"), np.ones(3))[-1].delta == 1e-8


@pytest.mark.parametrize("name", ["m4", "loss-to-loss", "power-offset"])
def test_a_noisy_fit_ends_within_half_a_percent_of_its_optimum(name):
    params = {
        "m4": {"E": 0.4, "E0": 3.0, "beta": 60.0, "c": 0.5, "alpha": 0.8},
        "loss-to-loss": {"E0": 1.0, "E1": 0.6, "K": 0.8, "kappa": 1.2},
        "power-offset": {"E": 0.5, "A": 30.0, "alpha": 0.4},
    }[name]
    law = get_law(name)
    x = {law.axes[0]: np.geomspace(1.2, 4, 12) if name == "loss-to-loss" else np.geomspace(1e2, 1e6, 12)}
    for seed in range(6):
        rng = np.random.default_rng(seed)
        y = law.predict(params, x) * np.exp(0.05 * rng.standard_t(3, 12))
        fit = fit_law(law, x, y)
        problem, weights = fit.problem, fit.table.weights

        def reached(theta, problem=problem, weights=weights):
            inside = np.clip(theta, problem.lower, problem.upper)
            return float(problem.objective(inside[None], weights)[0])

        options = {"maxfev": 4000, "xatol": 1e-9, "fatol": 1e-12}
        further = optimize.minimize(reached, fit.theta, method="Nelder-Mead", options=options).fun
        assert further >= fit.objective * (1 - 0.005)


def test_starts_that_are_left_far_behind_have_no_singular_matrix():
    n_params = [
        1581422.66,
        6383095.67,
        17636601.9,
        58703114.2,
        224540608.3,
        1760208998.2,
        4777654892.5,
        16671303210.5,
    ]
    n_examples = [
        30660.119,
        828.235880,
        247546.662,
        2321.99959,
        7863.05987,
        681587.080,
        201.134965,
        2421325.65,
    ]
    loss = [152.064680, 33.5761582, 9.33772172, 4.36145050, 1.71093314, 0.576195717, 8.24009735, 0.508103387]
    fit = fit_law("outer-exponent", {"n_params": n_params, "n_examples": n_examples}, loss, estimator="mse")
    assert np.isfinite(fit.objective)
