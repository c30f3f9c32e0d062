"""What is straight in the parameters of a law, and how a spring pulls at it."""

from __future__ import annotations

import numpy as np
import pytest

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.pinned import Pinned, Tangents
from scalelab.analysis.inference.quantities import compute_exponent, log_loss_at, log_of


@pytest.fixture(scope="module")
def fit():
    n, d = (column.ravel() for column in np.meshgrid(np.geomspace(1e5, 1e7, 4), np.geomspace(1e6, 1e8, 4)))
    loss = 1.0 + 30 * n**-0.3 + 40 * d**-0.3
    noise = np.exp(np.random.default_rng(0).normal(0.0, 0.01, n.size))
    return fit_law("chinchilla", {"n_params": n, "n_examples": d}, loss * noise)


def quantities(fit):
    far = log_loss_at(fit, {"n_params": [1e9], "n_examples": [1e9]})
    return ["E", log_of("A"), "beta", compute_exponent, far]


def test_parameters_of_sums_of_powers_are_straight_and_what_they_predict_is_not(fit):
    found = Tangents.of(fit, quantities(fit))
    assert found.straight.tolist() == [True, True, True, False, False]


def test_a_spring_has_the_value_and_the_derivatives_of_its_quantity(fit):
    tangents = Tangents.of(fit, quantities(fit))
    which = np.arange(5)
    problem = Pinned(
        **vars(fit.problem), frame=fit.frame, tangents=tangents, which=which, targets=np.zeros(5),
        units=np.ones(5),
    )  # fmt: skip
    theta = fit.theta + 0.1 * np.random.default_rng(1).normal(size=(5, fit.theta.size))
    r, jac = problem.residuals(theta)
    assert r[:, -1] == pytest.approx(tangents.evaluated(fit.draws(theta), which), rel=1e-12)
    for number, quantity in enumerate(quantities(fit)):
        step = 1e-4 * np.eye(fit.theta.size)
        ends = [Tangents.of(fit, [quantity]).evaluated(fit.draws(theta[number] + s), np.zeros(len(s), int))
                for s in (step, -step)]  # fmt: skip
        assert jac[number, :, -1] == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-5, abs=1e-8)
