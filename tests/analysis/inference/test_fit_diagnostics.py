"""Diagnostics notice what they are for, and keep quiet otherwise; the checklist is filled."""

from __future__ import annotations

import numpy as np
import pytest

from scalelab.analysis.fits.checklist import checklist
from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.inference.diagnostics import diagnose
from scalelab.analysis.inference.intervals import stderr
from scalelab.analysis.inference.noise import noise
from scalelab.errors import FitError
from scalelab.jsonable import jsonable

X = np.geomspace(1e5, 1e9, 40)


def noisy(clean, sigma=0.01, seed=0):
    return clean * np.exp(np.random.default_rng(seed).normal(0, sigma, clean.size))


def warned(fit, words: str) -> bool:
    return any(words in warning for warning in diagnose(fit).warnings())


def test_a_sound_fit_has_nothing_to_report():
    fit = fit_law("power", X, noisy(30 * X**-0.2))
    found = diagnose(fit)
    assert found.warnings() == []
    assert found.leverage.sum() == pytest.approx(2)
    assert found.span_decades == {"x": pytest.approx(4.0)}
    assert jsonable(found)["warnings"] == []


def test_the_wrong_shape_shows_in_the_residuals():
    assert warned(fit_law("power", X, noisy(1.0 + 300 * X**-0.4)), "wrong shape")


def test_bounds_narrow_axes_and_trade_offs_are_named():
    bent = np.exp(-0.3 * np.log(X) - 0.01 * (np.log(X) - np.log(1e7)) ** 2)
    assert warned(fit_law("power-offset", X, bent), "E stopped at a bound")
    narrow = np.geomspace(1e6, 4e6, 30)
    assert warned(fit_law("power", narrow, noisy(30 * narrow**-0.2, 0.001)), "spans only 0.6 decades")
    assert warned(fit_law("power-offset", narrow, noisy(1 + 30 * narrow**-0.1, 0.0001)), "trade off")


def test_one_row_that_decides_alone_is_named():
    x = np.append(np.geomspace(1e6, 3e6, 15), 1e10)
    y = noisy(30 * x**-0.2, 0.01)
    fit = fit_law("power", x, y, estimator="log-mse")
    assert warned(fit, f"the row at x {x[15]:,.6g} has leverage")
    influential = y.copy()
    influential[15] *= 1.3
    found = diagnose(fit_law("power", x, influential, estimator="log-mse"))
    assert found.influence is not None
    assert np.argmax(found.influence) == 15


def test_near_duplicates_are_counted_and_repeats_are_not():
    x = np.append(X, X[3] * 1.0001)
    assert diagnose(fit_law("power", x, noisy(30 * x**-0.2))).near_duplicates == 1
    twice = np.tile(X, 2)
    assert diagnose(fit_law("power", twice, noisy(30 * twice**-0.2))).near_duplicates == 0


def test_repeats_reveal_what_the_law_misses():
    x = np.repeat(np.geomspace(1e5, 1e9, 12), 4)
    assert warned(fit_law("power", x, noisy(0.5 + 30 * x**-0.3)), "times the variance of repeats")


def test_the_checklist_is_filled_from_the_fit_and_asks_for_the_rest():
    fit = fit_law("power", {"n_params": X}, noisy(30 * X**-0.2), groups=np.arange(40) // 4)
    question = "which runs were excluded, and why"
    table = checklist(fit, {question: "none"}).set_index("question")
    assert table.answer["power law and its variables"] == fit.law.equation
    assert table.answer["how many runs"] == "40"
    assert table.answer[question] == "none"
    assert "10 groups" in table.answer["whether checkpoints of one run are used, and after what schedule"]
    assert "alpha [" in table.answer["uncertainty (90% intervals)"]
    assert fit.data_hash[:16] in table.answer["seed and data"]
    asked = table[~table.filled]
    assert len(asked) == 6
    assert (asked.answer == "not known to the fit; state it in your report").all()


def test_copies_of_rows_are_told_and_change_no_noise():
    x = X[::4]
    y = noisy(1.7 + 400 * x**-0.34, sigma=0.005, seed=5)
    once = noise(fit_law("power-offset", x, y))
    for copies in (2, 3, 50):
        fit = fit_law("power-offset", np.repeat(x, copies), np.repeat(y, copies))
        assert noise(fit).source == "residuals"
        assert noise(fit).dof == once.dof == 7
        assert noise(fit).sigma == pytest.approx(once.sigma, rel=1e-3)
        assert warned(fit, f"{10 * (copies - 1)} rows are copies of others")
    some = fit_law("power-offset", np.append(x, x[:6]), np.append(y, y[:6]))
    assert noise(some).dof == once.dof
    assert warned(some, "6 rows are copies")


def test_repeats_that_agree_by_chance_are_no_copies():
    x = np.repeat(X[::4], 4)
    coarse = np.round(noisy(1.7 + 400 * x**-0.34), 2)
    found = noise(fit_law("power-offset", x, coarse))
    assert (found.source, found.dof) == ("repeats", 30)
    assert found.sigma == pytest.approx(0.01, rel=0.4)


def test_one_group_has_no_interval_and_few_groups_are_told():
    x, y = X, noisy(1.7 + 400 * X**-0.34)
    one = fit_law("power-offset", x, y, groups=["run"] * 40)
    assert one.params == fit_law("power-offset", x, y).params
    for method in ("auto", "clusters", "bca", "covariance"):
        with pytest.raises(FitError, match="all 40 rows are in one group"):
            one.interval("alpha", method=method)
    with pytest.raises(FitError, match="in one group"):
        one.predict({"x": [1e10]}, 0.9)
    assert warned(one, "there are only 1 groups")
    assert warned(fit_law("power-offset", x, y, groups=np.arange(40) % 5), "there are only 5 groups")
    assert not warned(fit_law("power-offset", x, y, groups=np.arange(40) % 10), "groups")


def test_an_interval_by_covariance_counts_groups_and_not_rows():
    x = np.repeat(X[::4], 20)
    y = noisy(1.7 + 400 * x**-0.34)
    few = fit_law("power-offset", x, y, groups=np.arange(200) % 3)
    lower, upper = few.interval("alpha", 0.9, method="covariance")
    error = stderr(few, "alpha")
    # Student's t of two degrees of freedom at 95%.
    assert (upper - lower) / (2 * error) == pytest.approx(2.92, abs=0.01)


def test_a_run_that_diverged_is_named_with_its_scale():
    y = noisy(1 + 300 * X**-0.4, 0.005)
    y[17] *= 1.4
    found = diagnose(fit_law("power-offset", X, y))
    assert list(found.unlike) == [17]
    assert warned(fit_law("power-offset", X, y), f"the row at x {X[17]:,.6g} is not like the others")
    assert not diagnose(fit_law("power-offset", X, noisy(1 + 300 * X**-0.4, 0.005))).unlike


def test_a_curve_that_rises_before_it_falls_is_named():
    x = np.geomspace(1e3, 1e7, 16)
    rising = 0.4 + 2.0 / (1 + (x / 1e5) ** 0.7) - 0.8 / (1 + x / 3e3)
    found = diagnose(fit_law("power-offset", x, noisy(rising, 0.002)))
    assert set(found.rises) == {"x"}
    assert x[0] < found.rises["x"] < 1e5
    assert not diagnose(fit_law("power-offset", x, noisy(0.4 + 20 * x**-0.4, 0.02))).rises


def test_a_rise_along_one_side_of_a_grid_is_named():
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e4, 1e7, 6), np.geomspace(1e3, 1e6, 6)))
    clean = 1.0 + 30 * n**-0.3 + 80 * d**-0.4 + 1e-4 * n**0.6 / d**0.6
    x = {"n_params": n, "n_examples": d}
    rises = diagnose(fit_law("chinchilla", x, noisy(clean, 0.001))).rises
    assert "n_examples" not in rises


def test_an_average_of_forms_is_diagnosed_by_its_heaviest():
    fit = fit_law("auto", X, noisy(0.3 + 30 * X**-0.3))
    assert diagnose(fit).warnings() == diagnose(fit.best).warnings()
    with pytest.raises(FitError, match=r"an average; take one, such as fit\.best"):
        checklist(fit)


def test_many_rows_that_are_unlike_the_others_are_one_sentence():
    loss = noisy(30 * X**-0.2, 0.002)
    loss[[3, 9, 15, 21, 27]] *= [1.1, 1.4, 1.2, 1.1, 1.15]
    said = [line for line in diagnose(fit_law("power", X, loss)).warnings() if "not like the others" in line]
    assert len(said) == 1
    assert said[0].startswith("5 of 40 rows are not like the others")
    assert "a pattern rather than runs that diverged" in said[0]
    assert said[0].index(f"the row at x {X[9]:,.6g};") < said[0].index(f"the row at x {X[15]:,.6g}")
