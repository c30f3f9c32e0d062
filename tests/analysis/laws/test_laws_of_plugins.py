"""A law of a plugin gets everything that a bundled one gets."""

from __future__ import annotations

import numpy as np
import pytest

import scalelab
from scalelab.analysis.fits.budget import budget_table
from scalelab.analysis.fits.chain import chain
from scalelab.analysis.fits.compute_optimal import compute_optimal
from scalelab.analysis.inference.quantities import allocation_exponent, loss_at_budget
from scalelab.analysis.laws import get_law
from scalelab.testing import LawContract

TRUTH = {"A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}


class TwoPowers(scalelab.Law):
    """`L = A * N^-alpha + B * D^-beta`, with all that a law may say of itself."""

    name = "two-powers"
    equation = "L = A * N^-alpha + B * D^-beta"
    paper = "made for a test"
    axes = ("n_params", "n_examples")
    params = ("A", "B", "alpha", "beta")
    exponents = ("alpha", "beta")
    coefficients = ("A", "B")
    estimator = "log-mse"
    irreducible = None

    def value_jac(self, theta, u):
        size = np.exp(theta[:, 0:1] - theta[:, 2:3] * u[0])
        data = np.exp(theta[:, 1:2] - theta[:, 3:4] * u[1])
        return size + data, np.stack([size, data, -u[0] * size, -u[1] * data], axis=1)

    def bounds(self, u, y):
        return np.array([-50.0, -50.0, 0.01, 0.01]), np.array([50.0, 50.0, 10.0, 10.0])

    def starts(self, u, y):
        a, b = (grid.ravel() for grid in np.meshgrid(np.geomspace(0.05, 2, 7), np.geomspace(0.05, 2, 7)))
        half = np.full(a.size, np.log(0.5 * y.mean()))
        return np.column_stack([half, half, a, b])

    def public(self, theta, frame):
        powers = [theta[..., i] + theta[..., i + 2] * frame.centers[i] for i in (0, 1)]
        return np.stack(
            [*(frame.y_scale * np.exp(power) for power in powers), theta[..., 2], theta[..., 3]], axis=-1
        )

    def internal(self, params):
        return np.concatenate([np.log(params[..., :2]), params[..., 2:]], axis=-1)

    def covariance(self, u, y):
        return np.diag([0.01, 0.04, 0.09, 0.16])

    def optimal_split(self, theta, frame):
        alpha, beta = theta[:, 2], theta[:, 3]
        log_a, log_b = (theta[:, i] + theta[:, i + 2] * frame.centers[i] for i in (0, 1))
        return beta / (alpha + beta), (np.log(alpha) + log_a - np.log(beta) - log_b) / (alpha + beta)


class Line(scalelab.Law):
    """`metric = a - b * loss`: a link."""

    name = "line"
    equation = "metric = a - b * loss"
    paper = "made for a test"
    axes = ("x",)
    params = ("a", "b")
    log_axes = False
    positive = False
    link = True

    def value_jac(self, theta, u):
        value = theta[:, :1] - theta[:, 1:2] * u[0]
        return value, np.stack(np.broadcast_arrays(np.ones_like(value), -u[0]), axis=1)

    def bounds(self, u, y):
        return np.array([-100.0, -100.0]), np.array([100.0, 100.0])

    def starts(self, u, y):
        return np.array([[y.mean(), y.std()]])

    def public(self, theta, frame):
        slope = theta[..., 1] / frame.units[0]
        return np.stack([theta[..., 0] + slope * frame.centers[0], slope], axis=-1)

    def internal(self, params):
        return np.array(params)


class TestTwoPowers(LawContract):
    @pytest.fixture
    def law(self):
        return TwoPowers()

    @pytest.fixture
    def truth(self):
        return TRUTH


@pytest.fixture(scope="module")
def runs():
    n, d = (g.ravel() for g in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6)))
    clean = TwoPowers().predict(TRUTH, {"n_params": n, "n_examples": d})
    return n, d, clean * np.exp(np.random.default_rng(0).normal(0, 0.005, n.size))


@pytest.fixture(scope="module")
def fit(runs):
    n, d, loss = runs
    return scalelab.fit_law(TwoPowers(), {"n_examples": d, "n_params": n}, loss)


def test_its_estimator_is_taken(fit):
    assert fit.estimator.name == "log-mse"


def test_its_own_covariance_is_taken_where_rows_are_independent(fit, runs):
    n, d, loss = runs
    assert fit.summary(method="covariance").stderr["beta"] == pytest.approx(0.4)
    x = {"n_params": n, "n_examples": d}
    grouped = scalelab.fit_law(TwoPowers(), x, loss, groups=np.arange(n.size) // 2)
    assert grouped.summary(method="covariance").stderr["beta"] < 0.1


def test_its_split_of_a_budget_is_taken(fit, runs):
    n, d, loss = runs
    a = fit.estimate(allocation_exponent)
    assert a == pytest.approx(fit.params["beta"] / (fit.params["alpha"] + fit.params["beta"]))
    lower, upper = fit.interval(loss_at_budget(1e22), 0.9, method="pairs")
    table = budget_table(fit, 1e22)
    assert lower < table.loss[1e22] < upper
    assert table.n_params[1e22] * table.n_examples[1e22] == pytest.approx(1e22 / 6)
    assert compute_optimal(n, d, loss, law=TwoPowers()).approaches["parametric"].exponent == a


def test_what_it_does_not_say_is_refused(runs):
    n, d, loss = runs
    turning = scalelab.fit_law("interaction", {"n_params": n, "n_examples": d}, loss)
    with pytest.raises(scalelab.FitError, match="'interaction' does not say how to split a budget"):
        turning.estimate(allocation_exponent)
    assert get_law("power").irreducible is None


def test_its_link_is_chained():
    x = np.geomspace(1e5, 1e9, 20)
    loss = (1.2 + 300 * x**-0.4) * np.exp(np.random.default_rng(1).normal(0, 0.01, x.size))
    law = scalelab.fit_law("power-offset", {"n_params": x}, loss)
    link = scalelab.fit_law(Line(), {"loss": loss}, 0.9 - 0.2 * loss)
    found = chain(law, link).predict({"n_params": [1e10]}, 0.9)
    assert found.lower[0] < 0.9 - 0.2 * 1.23 < found.upper[0]
    with pytest.raises(scalelab.FitError, match="in this order"):
        chain(link, law)


def test_its_irreducible_loss_is_told():
    law = scalelab.load_plugins().law("mmf")
    x = np.geomspace(1e3, 1e9, 20)
    fit = scalelab.fit_law(law, x, 0.1 + 0.8 / (1 + (x / 1e5) ** 0.5))
    assert fit.irreducible == fit.params["E"] == pytest.approx(0.1)
