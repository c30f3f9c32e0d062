"""A row of budgets: round numbers, and of each exactly what `advise` says of it alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_tables import grid_runs

from scalelab.analysis.analyze import analyze
from scalelab.analysis.estimate import Refusal
from scalelab.analysis.families.advice import Advice, advise
from scalelab.analysis.families.bought import round_budgets
from scalelab.analysis.runs.designs import designs, finished_runs
from scalelab.report.sections.advise import advice_tables


@pytest.fixture(scope="module")
def runs():
    return grid_runs(optimizers=("adamw", "sgd"), seeds=(0, 1), noise=0.004)


@pytest.fixture(scope="module")
def analysis(runs):
    return analyze(runs, trees=False)


def test_each_answer_is_that_of_the_budget_alone(runs, analysis):
    table = designs(finished_runs(runs))
    (bought,) = analysis.bought.values()
    assert len(bought) > 10
    for one in bought[::4]:
        alone = advise(table, one.budget)
        assert isinstance(one, Advice)
        assert [found.loss for found in one.families] == [found.loss for found in alone.families]
        assert [found.n_params for found in one.families] == [found.n_params for found in alone.families]
        assert advice_tables(one) == advice_tables(alone)


def test_budgets_reach_from_the_smallest_run_to_ten_times_the_largest(runs, analysis):
    (one,), (bought,) = analysis.ahead, analysis.bought.values()
    budgets = [each.budget for each in bought]
    assert budgets == sorted(set(budgets))
    assert runs["train_flops"].min() <= budgets[0]
    assert budgets[-1] == one.budget == 10 * runs["train_flops"].max()
    assert all(later / earlier > 1.02 for earlier, later in pairwise(budgets))


def test_where_ten_times_cannot_be_said_budgets_end_at_the_largest_run():
    noisy = grid_runs(optimizers=("adamw",), seeds=(0,), noise=0.3)
    analysis = analyze(noisy, trees=False)
    (one,), (bought,) = analysis.ahead, analysis.bought.values()
    assert isinstance(one.prediction, Refusal)
    assert all(each.budget <= noisy["train_flops"].max() for each in bought)


@given(st.floats(1e3, 1e30), st.floats(1.0, 1e4))
def test_budgets_are_round_and_rising(low, span):
    found = round_budgets(low, low * span)
    assert len(found) <= 20
    assert len(found) >= 10 or span < 100
    assert list(found) == sorted(set(found))
    for budget in found:
        assert low <= budget <= low * span
        assert float(f"{budget:.6e}".partition("e")[0]) in (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
        assert float(f"{budget:g}") == budget
