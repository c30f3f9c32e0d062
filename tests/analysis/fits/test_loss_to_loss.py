"""From one loss to another, with the errors of both."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scalelab.analysis.fits.chain import chain
from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.fits.loss_to_loss import loss_to_loss, pair_losses
from scalelab.analysis.inference.quantities import loss_at
from scalelab.errors import FitError, InputError

LOSS = np.geomspace(2.1, 4.5, 30)


def other(loss):
    return 0.9 * (loss - 1.6) ** 1.3 + 1.1


def pairs(rng, noise, n=30):
    x = np.geomspace(2.1, 4.5, n)
    return x * np.exp(noise * rng.standard_normal(n)), other(x) * np.exp(noise * rng.standard_normal(n))


def slope(fit):
    """How much the second loss falls while the first does from 3.6 to 2.4, in logarithms."""
    high, low = fit.predict({"loss": [3.6, 2.4]})
    return np.log(high / low)


def test_the_errors_of_both_losses_take_the_bias_of_one_away():
    rng = np.random.default_rng(0)
    truth, both, one = np.log(other(3.6) / other(2.4)), [], []
    for _ in range(10):
        x = np.geomspace(2.1, 4.5, 300)
        first = x * np.exp(0.06 * rng.standard_normal(300))
        second = other(x) * np.exp(0.02 * rng.standard_normal(300))
        both.append(slope(loss_to_loss(first, second, error_ratio=3.0)) - truth)
        one.append(slope(fit_law("loss-to-loss", {"loss": first}, second)) - truth)
    error = np.hypot(np.std(both), np.std(one)) / np.sqrt(10)
    assert np.mean(one) < -3 * error
    assert abs(np.mean(both)) < 0.5 * abs(np.mean(one))


def test_90_percent_intervals_cover_below_the_losses_seen():
    rng = np.random.default_rng(2)
    inside = []
    for _ in range(60):
        fit = loss_to_loss(*pairs(rng, 0.01, 20))
        found = fit.bootstrap(100, kind="residuals").interval(loss_at(fit, {"loss": [2.0]}))
        inside.append(found[0] <= other(2.0) <= found[1])
    # At 90%, fewer than 47 of 60 have a chance of about 1 in 500.
    assert sum(inside) >= 47


def test_without_errors_it_is_the_plain_fit_and_the_ratio_is_said():
    plain = loss_to_loss(LOSS, other(LOSS), error_ratio=0.0)
    assert plain.params == pytest.approx({"E0": 1.6, "E1": 1.1, "K": 0.9, "kappa": 1.3}, rel=1e-5)
    both = loss_to_loss(LOSS, other(LOSS))
    assert both.params == pytest.approx(plain.params, rel=1e-5)
    assert both.provenance()["fixed"] == {"axis_error": 1.0}


@pytest.mark.parametrize("ratio", [0.3, 2.0])
def test_the_residual_is_the_distance_to_a_line_and_has_its_derivatives(ratio):
    rng = np.random.default_rng(4)
    first, second = pairs(rng, 0.02)
    fit = loss_to_loss(first, second, error_ratio=ratio)
    problem, step = fit.problem, 1e-6
    around = np.concatenate([fit.theta + step * np.eye(4), fit.theta - step * np.eye(4)])
    r, _ = problem.residuals(around)
    np.testing.assert_allclose(
        problem.residuals(fit.theta[None])[1][0], (r[:4] - r[4:]) / (2 * step), rtol=1e-3, atol=1e-4
    )
    near = first * np.exp(1e-5), first * np.exp(-1e-5)
    local = np.log(fit.value({"loss": near[0]}) / fit.value({"loss": near[1]})) / 2e-5
    plain = np.log(fit.value({"loss": first}) / second)
    np.testing.assert_allclose(fit.residuals, plain / np.sqrt(1 + (ratio * local) ** 2), rtol=1e-4)


def test_a_new_run_scatters_by_both_errors():
    rng = np.random.default_rng(5)
    fit = loss_to_loss(*pairs(rng, 0.02))
    law = fit.predict({"loss": [3.0]}, 0.9, method="covariance")
    run = fit.predict({"loss": [3.0]}, 0.9, noise=True, method="covariance")
    assert run.upper[0] - run.lower[0] > 1.5 * (law.upper[0] - law.lower[0])
    scatter = other(3.0) * 0.02 * np.hypot(1, 3.0 * 0.9 * 1.3 * 1.4**0.3 / other(3.0))
    assert (run.upper[0] - run.lower[0]) / 2 == pytest.approx(1.7 * scatter, rel=0.4)


def test_it_is_a_link():
    n = np.geomspace(1e6, 1e9, 20)
    law = fit_law("power-offset", {"n_params": n}, 1.7 + 30 * n**-0.3)
    both = chain(law, loss_to_loss(LOSS, other(LOSS)))
    assert both.predict({"n_params": [1e8]})[0] == pytest.approx(other(1.7 + 30 * 1e8**-0.3), rel=1e-4)


def test_wrong_requests_are_refused():
    with pytest.raises(FitError, match="cannot count the error of the axis"):
        loss_to_loss(LOSS, other(LOSS), estimator="mse")
    with pytest.raises(FitError, match="number from zero"):
        loss_to_loss(LOSS, other(LOSS), error_ratio=-1.0)
    with pytest.raises(FitError, match="does not fall where the first does"):
        loss_to_loss(LOSS, other(LOSS)[::-1])
    with pytest.raises(FitError, match="at least 5 rows"):
        loss_to_loss(LOSS[:4], other(LOSS[:4]))


def test_runs_are_paired_by_what_they_agree_in():
    runs = pd.DataFrame(
        {
            "dataset": ["one", "one", "one", "two", "two", "three"],
            "n_params_body": [10, 10, 20, 10, 20, 10],
            "seed": [0, 1, 0, 0, 0, 0],
            "loss": [3.0, 2.0, 1.0, 5.0, 4.0, 9.0],
        }
    )
    found = pair_losses(runs, "one", "two", on=["n_params_body"])
    assert found.to_dict("list") == {"n_params_body": [10, 20], "first": [2.5, 1.0], "second": [5.0, 4.0]}
    assert len(pair_losses(runs, "one", "two", on=["n_params_body", "seed"])) == 2
    with pytest.raises(FitError, match=r"no run on 'one' agrees with one on 'four'"):
        pair_losses(runs, "one", "four", on=["n_params_body"])
    with pytest.raises(InputError, match="lacks the columns architecture"):
        pair_losses(runs, "one", "two")
