"""What the interval of a prediction is made of, and what it does not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.backtest import Backtest, averaged, fall
from scalelab.analysis.inference.intervals import run_reach
from scalelab.analysis.inference.spread import quantile

X = np.geomspace(1e6, 1e9, 20)
FAR = {"n_params": np.array([1e10])}


def rows(seed: int = 0, sigma: float = 0.01, x: np.ndarray = X) -> tuple[dict[str, np.ndarray], np.ndarray]:
    noise = np.random.default_rng(seed).normal(0, sigma, x.size)
    return {"n_params": x}, (1.5 + 280 * x**-0.35) * np.exp(noise)


def test_the_interval_of_an_average_is_students_t_of_its_spread():
    auto = fit_law("auto", *rows())
    for level in (0.5, 0.9, 0.99):
        found = auto.predict(FAR, level)
        half = quantile(level) * auto.spread(FAR).total
        assert np.log(found.upper / found.mean) == pytest.approx(half)
        assert np.log(found.mean / found.lower) == pytest.approx(half)
        assert sum(auto.spread(FAR).parts(half[0], level)) == pytest.approx(1)


def test_reach_is_nothing_within_the_rows_and_grows_beyond_them():
    auto = fit_law("auto", *rows())
    reach = auto.spread({"n_params": np.array([1e6, 1e8, 1e9, 1e10, 1e11])}).reach
    assert (reach[:3] == 0).all()
    assert 0 < reach[3] < reach[4]


def test_the_way_back_to_the_rows_goes_along_the_diagonal():
    n, d = (column.ravel() for column in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e10, 5)))
    fit = fit_law("chinchilla", {"n_params": n, "n_examples": d}, 1.5 + 400 * n**-0.35 + 900 * d**-0.3)
    scales = [np.array([1e10, 1e7]), np.array([1e11, 1e9])]
    start = fit.predict({"n_params": [1e9], "n_examples": [1e10]})
    end = fit.predict({"n_params": [1e10], "n_examples": [1e11]})
    assert fall(fit, scales, 1e19) == pytest.approx([np.log(start / end)[0], 0.0])


@pytest.mark.parametrize("law", ["auto", "chinchilla"])
def test_one_axis_beyond_all_rows_is_beyond_them_where_the_product_is_not(law):
    """Eight times the data for a small network: less compute than the largest network on what there was."""
    rng = np.random.default_rng(0)
    n, d = (column.ravel() for column in np.meshgrid(np.geomspace(3e3, 6e5, 6), np.geomspace(500, 8000, 5)))
    loss = 0.02 + 20 * n**-0.8 + 5 * d**-0.55
    fit = fit_law(law, {"n_params": n, "n_examples": d}, loss * np.exp(0.08 * rng.normal(size=n.size)))
    near, far = (fit.predict({"n_params": [6e4], "n_examples": [at]}, 0.9) for at in (8000, 64_000))
    assert (n * d).max() > 6e4 * 64_000
    wide = np.log(far.upper / far.lower) / np.log(near.upper / near.lower)
    assert wide > 1.5
    assert far.lower < 0.02 + 20 * 6e4**-0.8 + 5 * 64_000**-0.55 < far.upper


def test_a_law_that_is_true_keeps_its_interval_and_a_wrong_one_does_not():
    def wider(fit):
        plain, tested = (fit.predict(FAR, 0.9, method=method) for method in ("profile", "auto"))
        return ((tested.upper - tested.lower) / (plain.upper - plain.lower))[0]

    assert np.median([wider(fit_law("power-offset", *rows(seed))) for seed in range(5)]) < 1.2
    x, y = rows(sigma=0.002)
    y += 1.0 / (1 + (x["n_params"] / 3e8) ** 1.5)
    assert wider(fit_law("power-offset", x, y)) > 1.5


@pytest.mark.parametrize("law", ["power-offset", "auto"])
def test_one_diverged_run_does_not_widen_the_interval(law):
    x, y = rows(5, 0.005, np.geomspace(1e6, 1e9, 12))
    before = fit_law(law, x, y).predict(FAR, 0.9, noise=True)
    y[5] = 11.0
    after = fit_law(law, x, y).predict(FAR, 0.9, noise=True)
    assert after.upper[0] - after.lower[0] < 2.0 * (before.upper[0] - before.lower[0])
    assert after.lower[0] < before.mean[0] < after.upper[0]


def test_the_noise_of_a_run_is_that_at_its_scale():
    x = np.geomspace(1e6, 1e9, 80)
    noise = np.random.default_rng(1).normal(0, 1, 80)
    places = {"n_params": np.array([1e6, 1e9, 1e10])}
    even, growing = (
        fit_law("power-offset", {"n_params": x}, (1.5 + 280 * x**-0.35) * np.exp(sigma * noise))
        for sigma in (0.01, np.geomspace(0.002, 0.05, 80))
    )
    assert np.ptp(run_reach(even, places, 0.9)) == 0
    small, large, beyond = run_reach(growing, places, 0.9)
    assert 8 < large / small < 60, "the truth is 25"
    assert beyond == pytest.approx(large)


def test_the_noise_of_means_is_that_of_one_run():
    x, y = rows(3, 0.01 / 3, np.geomspace(1e6, 1e9, 30))
    of_nine = fit_law("power-offset", x, y, weights=np.full(30, 9.0))
    of_one = fit_law("power-offset", x, y)
    assert run_reach(of_nine, FAR, 0.9) == pytest.approx(3 * run_reach(of_one, FAR, 0.9), rel=0.01)


def test_the_backtest_of_an_average_is_that_of_its_mean():
    misses = np.array([[np.nan, 0.2, 0.2]])
    tests = {
        name: Backtest(name, (1.0,), (3.0,), (0.2,), (), misses=sign * misses)
        for name, sign in (("above", 1), ("below", -1))
    }
    assert averaged(tests, {"above": 0.5, "below": 0.5}) == (0.0,)
    assert averaged(tests, {"above": 0.75, "below": 0.25}) == pytest.approx((0.1,))
