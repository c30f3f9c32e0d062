"""Weak priors: exponents of few rows are drawn to the usual ones, those of many are not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.backtest import backtest
from scalelab.analysis.inference.prior import CENTER, drawn, shrunk


def rows(n: int, sigma: float, alpha: float = 1.6, seed: int = 0):
    """Rows of a law whose exponent is not a usual one."""
    x = np.geomspace(1e5, 1e7, n)
    noise = np.random.default_rng(seed).normal(0, sigma, n)
    return x, (1.0 + 2.0 * (x / 1e5) ** -alpha) * np.exp(noise)


def test_a_prior_is_as_weak_as_the_rows_are_sure() -> None:
    fit = fit_law("power-offset", *rows(8, 0.01))
    moved = [
        abs(shrunk(fit, noise).params["alpha"] - fit.params["alpha"]) for noise in (1e-6, 0.01, 0.1, 1.0)
    ]
    assert moved == sorted(moved)
    assert moved[0] < 1e-4
    assert moved[-1] > 0.3


def test_a_prior_alone_is_the_usual_exponent() -> None:
    x = np.geomspace(1e5, 1.5e5, 8)
    fit = fit_law("power-offset", x, 1.0 + 1e-4 * (x / 1e5) ** -0.4)
    assert shrunk(fit, 10.0).params["alpha"] == pytest.approx(CENTER, abs=0.05)


def test_many_rows_are_hardly_moved() -> None:
    fit = fit_law("power-offset", *rows(200, 0.01))
    assert shrunk(fit, 0.01).params["alpha"] == pytest.approx(fit.params["alpha"], rel=0.02)


def test_derivatives_of_the_prior_are_its_own() -> None:
    x = {"n_params": [1e5, 1e6, 1e7] * 3, "n_examples": np.repeat([1e4, 1e5, 1e6], 3)}
    fit = fit_law("chinchilla", x, 2.0 + 9 * np.arange(1, 10) ** -0.5)
    problem = drawn(fit.problem, 0.05)
    _, jac = problem.residuals(fit.theta[None])
    step = 1e-6 * np.eye(fit.theta.size)
    above, below = (problem.residuals(fit.theta + sign * step)[0] for sign in (1, -1))
    assert jac[0][:, -2:] == pytest.approx((above - below)[:, -2:] / 2e-6, abs=1e-6)


def test_a_backtest_with_a_prior_is_better_where_rows_are_few() -> None:
    plain, weak = [], []
    for seed in range(30):
        fit = fit_law("power-offset", *rows(8, 0.02, alpha=0.4, seed=seed))
        plain.append(backtest(fit).rmse)
        weak.append(backtest(fit, prior=0.02).rmse)
    assert np.mean(weak) < 0.9 * np.mean(plain)


def test_the_prior_is_part_of_the_result() -> None:
    auto = fit_law("auto", *rows(9, 0.02))
    found = json.loads(auto.to_json())
    assert found["prior"] == {"exponent": 0.4, "deviation": 0.3}
    assert found["predicting"]["power-offset"]["alpha"] < found["fits"]["power-offset"]["params"]["alpha"]
    assert auto.predict([1e8])[0] != auto.fits["power-offset"].predict([1e8])[0]
