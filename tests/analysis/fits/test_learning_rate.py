"""The best learning rate and batch at a scale, with their intervals, or the reason why there are none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.fits.learning_rate import fit_learning_rate, optimal_settings
from scalelab.analysis.inference.quantities import log_of
from scalelab.analysis.laws.step_law import StepLaw
from scalelab.errors import FitError

# The optima are those that the paper reports (Li et al. 2025, eq. 1).
TRUTH = {"E": 1.8, "A": 500.0, "B": 2000.0, "alpha": 0.35, "beta": 0.37}
TRUTH |= {"c": 1.79, "a": -0.713, "b": 0.307, "h": 0.02}
BATCH = TRUTH | {"d": 0.58, "e": 0.571, "g": 0.01}
SIZES, EXAMPLES = (1e8, 3e8, 1e9), (2e9, 1e10, 5e10)
RATES = 2.0 ** np.arange(-12, -6.4, 0.75)
FAR = {"n_params": 4e9, "n_examples": 1e11}


def design(batches=(1.0,)):
    rows = itertools.product(SIZES, EXAMPLES, RATES, batches)
    names = ("n_params", "n_examples", "lr", "batch_size")
    return dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))


def losses(x, params=TRUTH):
    axes = tuple(name for name in x if np.ptp(x[name]) > 0)
    return StepLaw(axes).predict(params, {name: x[name] for name in axes})


def test_the_papers_optima_come_back_with_learning_rate_and_batch():
    x = design(1e5 * 2.0 ** np.arange(0, 7))
    fit = fit_learning_rate(x, losses(x, BATCH))
    assert fit.params == pytest.approx(BATCH, rel=1e-5)
    best = optimal_settings(fit, FAR)
    assert best["lr"].value == pytest.approx(1.79 * 4e9**-0.713 * 1e11**0.307, rel=1e-4)
    assert best["batch_size"].value == pytest.approx(0.58 * 1e11**0.571, rel=1e-4)


def test_90_percent_intervals_of_the_optimum_cover_beyond_the_runs():
    rng = np.random.default_rng(0)
    x = design()
    clean, truth = losses(x), np.log(1.79 * 4e9**-0.713 * 1e11**0.307)
    inside = []
    for _ in range(60):
        fit = fit_learning_rate(x, clean * np.exp(0.002 * rng.standard_normal(clean.size)))

        def optimum(draws):
            params = draws.params
            return params["c"] * FAR["n_params"] ** params["a"] * FAR["n_examples"] ** params["b"]

        low, high = fit.bootstrap(100, kind="residuals").interval(log_of(optimum))
        inside.append(low <= truth <= high)
    # At 90%, fewer than 47 of 60 have a chance of about 1 in 500.
    assert sum(inside) >= 47


def test_the_optimum_has_an_interval_from_the_shared_machinery():
    rng = np.random.default_rng(1)
    x = design()
    clean = losses(x)
    fit = fit_learning_rate(x, clean * np.exp(0.002 * rng.standard_normal(clean.size)))
    (best,) = optimal_settings(fit, FAR).values()
    assert 0.8 * best.value < best.lower < best.value < best.upper < 1.25 * best.value


def test_an_axis_that_the_runs_do_not_vary_is_left_out():
    x = {name: column[design()["n_params"] == 3e8] for name, column in design().items()}
    truth = {name: TRUTH[name] for name in ("E", "B", "beta", "c", "b", "h")}
    y = StepLaw(("n_examples", "lr")).predict(truth | {"c": 2e-6}, {k: x[k] for k in ("n_examples", "lr")})
    fit = fit_learning_rate(x, y)
    assert fit.params == pytest.approx(truth | {"c": 2e-6}, rel=1e-5)
    assert fit.table.axes == ("n_examples", "lr")


def test_runs_far_from_the_best_of_their_scale_do_not_count():
    x = design()
    y = losses(x)
    far = np.abs(np.log(x["lr"] / (1.79 * x["n_params"] ** -0.713 * x["n_examples"] ** 0.307))) > 2
    fit = fit_learning_rate(x, np.where(far, 5 * y, y), within=0.5, weights=np.ones(y.size))
    assert len(fit.table) == (~far).sum()
    assert fit.params["a"] == pytest.approx(-0.713, rel=1e-5)


def test_what_the_runs_cannot_say_is_refused():
    x = design()
    y = losses(x)
    low = x["lr"] < 2.0**-10
    with pytest.raises(FitError, match=r"the best lr is the smallest or largest that was tried"):
        fit_learning_rate({name: column[low] for name, column in x.items()}, y[low])
    two = np.isin(x["lr"], RATES[3:5])
    with pytest.raises(FitError, match=r"0 scales have runs of 3 values of lr"):
        fit_learning_rate({name: column[two] for name, column in x.items()}, y[two])
    with pytest.raises(FitError, match="one scale or one learning rate"):
        fit_learning_rate({name: x[name][:7] for name in x}, y[:7])
    with pytest.raises(FitError, match="give lr"):
        fit_learning_rate({"width": x["lr"]}, y)
    with pytest.raises(FitError, match="drop diverged runs"):
        fit_learning_rate(x, np.where(low, np.nan, y))
    with pytest.raises(FitError, match="no learning rate"):
        optimal_settings(fit_law("power", [1, 2, 3, 4], [4, 3, 2.5, 2.2]), FAR)
    with pytest.raises(FitError, match="needs exactly the axes n_params, n_examples"):
        optimal_settings(fit_learning_rate(x, y), {"n_params": 1e9})
    with pytest.raises(FitError, match="then lr, and batch_size"):
        StepLaw(("lr",))
