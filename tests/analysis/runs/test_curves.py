"""Whole learning curves: what the schedule did to them is told apart from what the data did."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.laws import get_law
from scalelab.analysis.runs.curves import annealing_axes, curve_axes, fit_curves
from scalelab.errors import FitError, InputError
from scalelab.records import TrainingOptions
from scalelab.schedules import lr_factor

TRUTH = {"L0": 1.5, "A": 0.3, "alpha": 0.5, "C": 0.15}
SCHEDULES = ("cosine", "constant", "linear-cooldown", "cosine", "linear-cooldown", "constant")


def table(n_runs=6, n_points=10):
    """Runs of three lengths under several schedules, and their points without noise."""
    runs, curves = [], []
    for number in range(n_runs):
        n = (300, 600, 1200)[number % 3]
        options = TrainingOptions(schedule=SCHEDULES[number % 6], warmup=0.1, final_lr=0.0)
        rates = 0.01 * np.array([lr_factor(step, n, options) for step in range(1, n + 1)])
        s1, s2 = annealing_axes(rates)
        steps = np.linspace(n / n_points, n, n_points).round().astype(int)
        loss = get_law("annealing").predict(TRUTH, {"S1": s1[steps - 1], "S2": s2[steps - 1]})
        own = {"trial_id": f"t{number}", "step": steps, "lr": rates[steps - 1], "loss": loss}
        curves.append(pd.DataFrame(own | {"S1": s1[steps - 1], "S2": s2[steps - 1]}))
        known = {
            f"training_{name}": getattr(options, name)
            for name in ("schedule", "warmup", "cooldown", "final_lr")
        }
        runs.append({"trial_id": f"t{number}", "n_steps": n, "n_params": 1e6, **known})
    return pd.DataFrame(runs), pd.concat(curves, ignore_index=True)


@settings(max_examples=25, deadline=None)
@given(
    rates=st.lists(st.floats(0, 1), min_size=1, max_size=30).map(lambda rest: [1.0, *rest]),
    decay=st.floats(0, 0.999),
)
def test_the_axes_are_the_sums_of_the_paper(rates, decay):
    s1, s2 = annealing_axes(rates, decay=decay)
    falls = -np.diff(rates, prepend=rates[0])
    expected = [
        sum(falls[k] * decay ** (i - k) for i in range(step + 1) for k in range(i + 1))
        for step in range(len(rates))
    ]
    np.testing.assert_allclose(s1, np.cumsum(rates))
    np.testing.assert_allclose(s2, expected, atol=1e-9)


def test_a_warm_up_counts_as_the_rate_it_leads_to():
    s1, s2 = annealing_axes([0.0, 0.5, 1.0, 1.0, 0.5], decay=0.9)
    np.testing.assert_allclose(s1, [1, 2, 3, 4, 4.5])
    np.testing.assert_allclose(s2, [0, 0, 0, 0, 0.5])


def test_the_axes_of_stored_curves_follow_from_their_schedules():
    runs, curves = table()
    found = curve_axes(runs, curves.drop(columns=["S1", "S2"]))
    np.testing.assert_allclose(found["S1"], curves["S1"], rtol=1e-9)
    np.testing.assert_allclose(found["S2"], curves["S2"], rtol=1e-9, atol=1e-12)
    fit = fit_curves(runs, curves)
    assert fit.params == pytest.approx(TRUTH, rel=1e-5)
    assert fit.table.groups.max() == 5


def test_points_measured_on_other_examples_than_most_are_left_out():
    runs, curves = table()
    last = curves.groupby("trial_id")["step"].transform("max") == curves["step"]
    mixed = curves.assign(n_validated=np.where(last, 4000, 500), loss=curves["loss"] * np.where(last, 1.3, 1))
    found = curve_axes(runs, mixed)
    assert len(found) == (~last).sum()
    assert (found["n_validated"] == 500).all()
    assert len(curve_axes(runs, curves.assign(n_validated=np.nan))) == len(curves)


def test_a_curve_that_decays_is_not_read_as_a_steeper_law():
    _, curves = table(1, 30)
    plain = fit_law("power-offset", {"S1": curves["S1"]}, curves["loss"])
    whole = fit_law("annealing", curves[["S1", "S2"]], curves["loss"])
    assert whole.params["alpha"] == pytest.approx(TRUTH["alpha"], rel=1e-4)
    assert abs(plain.params["alpha"] - TRUTH["alpha"]) > 0.1
    # A constant rate from there on: the law knows what the decay was worth, the power law does not.
    there = {"S1": [2 * curves["S1"].max()], "S2": [0.0]}
    truth = get_law("annealing").predict(TRUTH, {name: np.array(at) for name, at in there.items()})[0]
    assert whole.predict(there)[0] == pytest.approx(truth, rel=1e-5)
    assert plain.predict({"S1": there["S1"]})[0] < truth - 0.01


def test_90_percent_intervals_cover():
    rng = np.random.default_rng(0)
    runs, curves = table(12)
    inside = []
    for _ in range(60):
        noisy = curves.assign(loss=curves["loss"] * np.exp(0.003 * rng.standard_normal(len(curves))))
        low, high = fit_curves(runs, noisy).bootstrap(100).interval("alpha")
        inside.append(low <= TRUTH["alpha"] <= high)
    # At 90%, fewer than 47 of 60 have a chance of about 1 in 500.
    assert sum(inside) >= 47


def test_what_the_curves_cannot_say_is_refused():
    runs, curves = table()
    with pytest.raises(FitError, match="differ in n_params"):
        fit_curves(runs.assign(n_params=range(6)), curves)
    with pytest.raises(FitError, match="5 runs at least, got 4"):
        fit_curves(runs[:4], curves)
    constant = runs.assign(training_schedule="constant")
    with pytest.raises(FitError, match="'S2' has a single value"):
        fit_curves(constant, curves.assign(lr=0.01))
    with pytest.raises(InputError, match="runs lacks the columns training_warmup"):
        fit_curves(runs.drop(columns="training_warmup"), curves)
    with pytest.raises(InputError, match="run t0 does not say its schedule"):
        fit_curves(runs.assign(training_schedule=None), curves)
    with pytest.raises(FitError, match="none of these runs has a learning curve"):
        fit_curves(runs.assign(trial_id="other"), curves)
    with pytest.raises(FitError, match="S1 must be positive, row 2 is not"):
        fit_law(
            "annealing",
            {"S1": [2, 1, 0, 3, 4, 5], "S2": [0, 0, 0.1, 0.2, 0.3, 0.5]},
            [3, 2.9, 4, 2, 1.9, 1.8],
        )
    for rates in ([], [-1.0], [np.nan], [0.0, 0.0]):
        with pytest.raises(InputError, match="learning rates"):
            annealing_axes(rates)
    with pytest.raises(InputError, match="decay must lie"):
        annealing_axes([1.0], decay=1.0)
