"""Any column of numbers is an axis: which one a name means, which runs are one design, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scalelab import FitError, InputError, analyze, compare, predict, reach
from scalelab.analysis.estimate import Refusal
from scalelab.analysis.runs.axes import formed, numeric_columns, own_axes, with_axes
from scalelab.analysis.runs.designs import axes_of, designs, finished_runs

LAW = "E + A*n_params^-alpha*experts^-beta"
TRUTH = {"E": 1.5, "A": 40.0, "alpha": 0.3, "beta": 0.1}


def made_up(*, shift=0.0, noise=0.003):
    rng = np.random.default_rng(0)
    rows = [
        {
            "status": "done", "dataset": "d", "architecture": name, "optimizer": "o", "seed": seed,
            "n_params": n, "feature_experts": experts, "architecture_width": 8.0 * experts, "note": "text",
            "loss": (1.5 + 40 * n**-alpha * experts**-0.1) * np.exp(noise * rng.normal()) - shift,
        }
        for name, alpha in (("first", 0.3), ("second", 0.2))
        for n in np.geomspace(1e6, 1e9, 5)
        for experts in (1, 2, 4, 8, 16)
        for seed in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def runs():
    return made_up()


def test_an_axis_goes_by_its_column_or_by_that_without_the_prefix(runs):
    done = finished_runs(runs)
    assert set(numeric_columns(done)) == {"n_params", "feature_experts", "architecture_width"}
    for name in ("experts", "feature_experts"):
        table, axes = with_axes(done, None, [name, "n_params", "joint"])
        assert axes == (name,)
        assert set(table[name]) == {1, 2, 4, 8, 16}


def test_runs_that_differ_in_a_fact_are_designs_where_that_is_an_axis(runs):
    done = finished_runs(runs.drop(columns="architecture_width"))
    assert len(designs(done)) == 10
    table = designs(*with_axes(done, LAW))
    assert len(table) == 50
    assert axes_of(table)[-1] == "experts"
    assert (table["n_runs"] == 2).all()


def test_names_in_a_formula_that_are_columns_are_its_axes(runs):
    done, axes = with_axes(finished_runs(runs), LAW)
    assert axes == ("experts",)
    form = formed(LAW, axes_of(designs(done, axes)))
    assert own_axes(form) == ("n_params", "experts")
    assert form.params == ("E", "A", "alpha", "beta")


@pytest.mark.parametrize(
    ("law", "axes", "words"),
    [
        (None, ["exprts"], "unknown axis 'exprts'; did you mean 'experts'"),
        (None, ["note"], "column 'note' of the runs is no axis"),
        (None, ["loss"], "column 'loss' of the runs is no axis"),
        ("E + A*size^-a", (), "names no axis: its names are E, A, size, a, and the runs have n_params"),
        ("E + A*(", (), "expected a number"),
    ],
)
def test_what_is_no_axis_is_refused(runs, law, axes, words):
    with pytest.raises(InputError, match=words):
        with_axes(finished_runs(runs), law, axes)


def test_two_columns_of_one_short_name_are_asked_about(runs):
    both = finished_runs(runs.assign(training_experts=3))
    with pytest.raises(InputError, match="'experts' may be training_experts or feature_experts"):
        with_axes(both, None, ["experts"])


def test_a_formula_is_fitted_to_every_family(runs):
    found = analyze(runs, law=LAW, trees=False)
    for law, alpha in zip(found.fitted, (0.3, 0.2), strict=True):
        assert law.axes == ("n_params", "experts")
        assert len(law.points.rows) == 25
        assert law.params["alpha"].value == pytest.approx(alpha, abs=0.02)
        lower, upper = law.params["beta"].ends
        assert lower < 0.1 < upper


def test_a_formula_of_one_axis_goes_along_it():
    runs = made_up(noise=0.0003)
    for law in ("E + A*experts^-a", None):
        axes = None if law else ["experts"]
        found = analyze(runs, law=law, axes=axes, trees=False)
        assert [one.axis for one in found.fitted] == ["experts", "experts"]
        assert all(one.points.where == "at N = 1,000,000,000" for one in found.fitted)
    with pytest.raises(InputError, match="has the axes experts; use --axis experts"):
        analyze(runs, law="E + A*experts^-a", axes=["n_params"], trees=False)
    (group,) = compare(runs, law="A*experts^-a")
    assert group.axis == "experts"
    for one in reach(runs, 1.55, law="E + A*experts^-a"):
        assert one.axes == ("experts",)
    with pytest.raises(InputError, match="has the axes n_params, experts, the scale has n_params"):
        reach(runs, 1.55, law=LAW)


def test_scales_of_a_formula_are_those_of_its_axes(runs):
    at = {"experts": 64, "n_params": 1e10}
    one, other = predict(runs, at, law=LAW)
    assert one.loss.value == pytest.approx(1.5 + 40 * 1e10**-0.3 * 64**-0.1, rel=0.01)
    assert one.loss.ends[0] < one.loss.value < one.loss.ends[1]
    assert other.beyond == {"n_params": pytest.approx(10), "experts": 4}
    table = pd.DataFrame([at, {"experts": 1, "n_params": 1e6}]).assign(comment=1.0)
    several = predict(runs, table, law=LAW)
    assert [found.family.architecture for found in several] == ["first", "first", "second", "second"]
    assert several[0].loss.value == pytest.approx(one.loss.value)
    assert several[1].at == {"n_params": 1e6, "experts": 1}
    for wrong, words in (
        ({"n_params": 1e9}, "the law has the axes n_params, experts: give a number for each, got n_params"),
        ({"n_params": 1e9, "experts": 0}, "experts '0': must be a positive number"),
    ):
        with pytest.raises(InputError, match=words):
            predict(runs, wrong, law=LAW)
    with pytest.raises(InputError, match="lacks the column experts"):
        predict(runs, table.drop(columns="experts"), law=LAW)
    with pytest.raises(InputError, match=r"no law has the axes experts, n_params.*--law"):
        predict(runs, at)


def test_losses_of_zero_or_less_are_fitted_where_the_law_can_be_negative():
    runs = made_up(shift=2.0, noise=0.0)
    found = analyze(runs, law=LAW, trees=False, estimator="mse")
    for law in found.fitted:
        assert law.params["E"].value == pytest.approx(-0.5, abs=1e-3)
        assert law.r2 > 0.999
        assert not law.backtest.relative
    refused = analyze(runs, law="A*n_params^-alpha*experts^-beta", trees=False).laws
    assert all(isinstance(law, Refusal) and "always positive" in law.reason for law in refused)


def test_a_formula_that_is_wrong_is_refused_at_once(runs):
    with pytest.raises(FitError, match="A, n_parms, alpha apart"):
        analyze(runs, law="E + A*n_parms^-alpha*experts^-beta", trees=False)
