"""Intervals by each method, predictions with noise, quantities quantities, the link to a metric."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scalelab.analysis.fits.chain import chain
from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference import quantities
from scalelab.analysis.inference.intervals import uneven_noise
from scalelab.analysis.inference.noise import noise
from scalelab.analysis.laws import get_law
from scalelab.errors import FitError, InputError

TRUTH = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}


def grid(k: int = 6):
    n, d = np.meshgrid(np.geomspace(1e7, 1e9, k), np.geomspace(2e8, 2e10, k))
    return {"n_params": n.ravel(), "n_examples": d.ravel()}


@pytest.fixture(scope="module")
def line():
    rng = np.random.default_rng(0)
    x = np.geomspace(1e6, 1e9, 25)
    return fit_law("power", x, 30 * x**-0.2 * np.exp(rng.normal(0, 0.02, 25)), estimator="log-mse")


@pytest.fixture(scope="module")
def surface():
    x = grid()
    y = get_law("chinchilla").predict(TRUTH, x) * np.exp(np.random.default_rng(2).normal(0, 0.005, 36))
    return fit_law("chinchilla", x, y)


@pytest.mark.parametrize("method", ["profile", "residuals", "covariance", "pairs", "bca"])
def test_methods_agree_where_the_law_is_a_straight_line(line, method):
    from scipy import stats

    u = np.log(line.table.columns[0])
    sigma = np.sqrt((line.residuals**2).sum() / 23)
    exact = sigma / np.sqrt(((u - u.mean()) ** 2).sum()) * stats.t.ppf(0.95, 23)
    low, high = line.interval("alpha", 0.9, method=method)
    tolerance = 1e-6 if method == "covariance" else 0.15 if method in ("profile", "residuals") else 0.4
    assert high - low == pytest.approx(2 * exact, rel=tolerance)
    assert (low + high) / 2 == pytest.approx(line.params["alpha"], abs=0.4 * exact)


def test_a_wider_level_gives_a_wider_interval(surface):
    narrow, wide = surface.interval("alpha", 0.5), surface.interval("alpha", 0.95)
    assert wide[0] < narrow[0] < surface.params["alpha"] < narrow[1] < wide[1]


def test_prediction_intervals_widen_with_distance_and_with_noise(surface):
    near = surface.predict({"n_params": [1e8], "n_examples": [2e9]}, 0.9)
    far = surface.predict({"n_params": [1e11], "n_examples": [2e12]}, 0.9)
    run = surface.predict({"n_params": [1e8], "n_examples": [2e9]}, 0.9, noise=True)
    assert far.upper[0] / far.lower[0] > near.upper[0] / near.lower[0]
    assert run.lower[0] < near.lower[0] < near.mean[0] < near.upper[0] < run.upper[0]
    assert np.log(run.upper[0] / run.lower[0]) == pytest.approx(2 * 1.69 * 0.005, rel=0.4)


def test_many_scales_are_interpolated_between_a_few(line):
    x = np.geomspace(1e6, 1e10, 40)
    many, one = line.predict(x, 0.9), line.predict(x[[17]], 0.9)
    assert many.lower[17] == pytest.approx(one.lower[0], rel=1e-3)
    assert many.upper[17] == pytest.approx(one.upper[0], rel=1e-3)


def test_noise_that_depends_on_scale_is_seen_and_turns_to_pairs():
    rng = np.random.default_rng(4)
    x = np.geomspace(1e5, 1e9, 80)
    sizes = 0.002 * (1e9 / x) ** 0.4
    uneven = fit_law("power", x, 30 * x**-0.2 * np.exp(sizes * rng.normal(size=80)), estimator="log-mse")
    assert uneven_noise(uneven) < 0.01
    assert uneven.interval("alpha") == uneven.interval("alpha", method="pairs")


def test_noise_comes_from_repeats_where_there_are_some():
    rng = np.random.default_rng(7)
    x = np.repeat(np.geomspace(1e5, 1e9, 15), 4)
    # Smooth misfit that repeats do not have: a law that levels off, fitted by one that does not.
    y = (0.5 + 30 * x**-0.3) * np.exp(rng.normal(0, 0.01, x.size))
    repeats = noise(fit_law("power", x, y, estimator="log-mse"))
    assert repeats.source == "repeats"
    assert repeats.dof == 45
    assert repeats.sigma == pytest.approx(0.01, rel=0.3)
    assert repeats.lack_of_fit > 20
    alone = noise(fit_law("power-offset", x[::4], y[::4]))
    assert alone.source == "residuals"
    assert alone.lack_of_fit is None


def test_derived_quantities_are_those_of_the_formulas(surface):
    flops = 1e21
    p = surface.params
    n, d = (surface.estimate(f(flops)) for f in (quantities.optimal_params, quantities.optimal_examples))
    assert 6 * n * d == pytest.approx(flops)
    sizes = np.geomspace(n / 30, n * 30, 4001)
    losses = p["E"] + p["A"] * sizes ** -p["alpha"] + p["B"] * (flops / 6 / sizes) ** -p["beta"]
    assert sizes[losses.argmin()] == pytest.approx(n, rel=2e-3)
    best = surface.estimate(quantities.loss_at_budget(flops))
    assert best == pytest.approx(losses.min(), rel=1e-6)
    assert surface.estimate(quantities.flops_for_loss(best)) == pytest.approx(flops, rel=1e-6)
    assert surface.estimate(quantities.flops_for_loss(0.5 * p["E"])) == np.inf
    at = quantities.loss_at(surface, {"n_params": [n], "n_examples": [d]})
    assert surface.estimate(at) == pytest.approx(best)
    low, high = surface.interval(quantities.allocation_exponent, 0.9)
    assert low < p["beta"] / (p["alpha"] + p["beta"]) < high


def test_the_scale_that_reaches_a_target(line):
    quantity = quantities.scale_for_loss(line, 0.2)
    scale = line.estimate(quantity)
    assert line.predict([scale])[0] == pytest.approx(0.2)
    low, high = line.interval(quantity, 0.9)
    assert low < scale < high
    with pytest.raises(FitError, match="chinchilla"):
        line.estimate(quantities.allocation_exponent)


@pytest.mark.parametrize("exponent", [0.01, 0.3, 2.0, 10.0])
@pytest.mark.parametrize("log_scale", [-40.0, -1.7, 3.0, 55.0])
def test_falling_losses_are_inverted_to_the_last_digits(exponent, log_scale):
    def loss(z):
        return 0.7 + np.exp(-exponent * z)

    target = np.array([0.7 + np.exp(-exponent * log_scale), 0.7 - 1e-3])
    found = quantities.bisect(loss, target, 2, 0.0)
    reached = target[0] - 0.7
    if reached < 1e-6 or reached > 1e12:  # rounding leaves nothing of the scale
        return
    assert found[0] == pytest.approx(log_scale, abs=1e-9 / exponent)
    assert found[1] == np.inf


def test_a_law_of_loss_becomes_a_law_of_the_metric():
    rng = np.random.default_rng(8)
    x = np.geomspace(1e6, 1e9, 25)
    loss = 0.4 + 20 * x**-0.25
    metric = 0.1 + 0.9 / (1 + np.exp(4 * (loss - 0.7)))
    law = fit_law("power-offset", x, loss * np.exp(rng.normal(0, 0.003, 25)))
    link = fit_law("sigmoid", {"loss": loss}, metric + rng.normal(0, 0.003, 25))
    assert link.estimator.name == "huber"
    both = chain(law, link)
    far = both.predict([1e10], 0.9)
    truth = 0.1 + 0.9 / (1 + np.exp(4 * (0.4 + 20 * 1e10**-0.25 - 0.7)))
    assert far.lower[0] < truth < far.upper[0] <= 1.0
    assert both.predict([1e10])[0] == far.mean[0]
    with pytest.raises(FitError, match="in this order"):
        chain(link, law)


def test_any_law_of_one_axis_may_be_the_link_but_not_one_along_a_scale():
    rng = np.random.default_rng(3)
    x = np.geomspace(1e6, 1e9, 25)
    loss = 0.4 + 20 * x**-0.25
    law = fit_law("power-offset", {"n_params": x}, loss * np.exp(rng.normal(0, 0.003, 25)))
    error = 0.05 + 0.3 * loss**1.5
    link = fit_law("loglog", {"loss": loss}, error * np.exp(rng.normal(0, 0.01, 25)))
    far = chain(law, link).predict({"n_params": [3e9]}, 0.9, noise=True)
    assert far.lower[0] < far.mean[0] < far.upper[0]
    assert far.mean[0] == pytest.approx(float(link.predict({"loss": law.predict([3e9])})[0]))
    both = fit_law("loglog", {"loss": loss, "width": rng.permutation(x)}, error)
    for second in (law, both, fit_law("power", {"train_flops": x}, loss)):
        with pytest.raises(FitError, match="in this order"):
            chain(law, second)


def test_wrong_requests_are_refused(line):
    with pytest.raises(InputError, match="unknown interval 'percentile'"):
        line.interval("alpha", method="percentile")
    with pytest.raises(InputError, match="between 0 and 1"):
        line.predict([1e9], level=95)
    with pytest.raises(FitError, match="must be positive"):
        line.predict([-1.0])


@settings(max_examples=12, deadline=None)
@given(
    law=st.sampled_from(["power", "power-offset", "m4"]),
    n=st.integers(6, 12),
    sigma=st.sampled_from([0.0, 1e-6, 0.01, 0.2]),
    floor=st.sampled_from([0.0, 1.0]),
    seeds=st.integers(1, 3),
    level=st.sampled_from([0.5, 0.9, 0.99]),
    seed=st.integers(0, 99),
)
@example(law="auto", n=7, sigma=0.0, floor=0.0, seeds=1, level=0.9, seed=0)
@example(law="auto", n=6, sigma=0.2, floor=1.0, seeds=2, level=0.99, seed=1)
def test_an_estimate_lies_within_its_interval(law, n, sigma, floor, seeds, level, seed):
    x = np.repeat(np.geomspace(1e4, 1e8, n), seeds)
    noise = np.random.default_rng(seed).normal(0, sigma, x.size)
    fit = fit_law(law, x, (floor + 30 * x**-0.3) * np.exp(noise))
    for of_run in (False, True):
        found = fit.predict([1e3, 1e6, 1e11], level, noise=of_run)
        assert (found.lower <= found.mean).all()
        assert (found.mean <= found.upper).all()
    best = fit if law != "auto" else fit.best
    table = best.summary(level)
    assert (table["lower"] <= table["estimate"]).all()
    assert (table["estimate"] <= table["upper"]).all()
