import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_tables import grid_runs

from scalelab.analysis.runs.designs import designs, finished_runs
from scalelab.analysis.runs.frontier import pareto_fronts, pareto_mask

numbers = st.integers(0, 8).map(float) | st.just(float("nan"))


def dominated(i, costs, values):
    """The definition, word by word."""
    for j in range(len(costs)):
        if costs[j] <= costs[i] and values[j] <= values[i]:
            if costs[j] < costs[i] or values[j] < values[i]:
                return True
            if j < i:
                return True
    return not (np.isfinite(costs[i]) and np.isfinite(values[i]))


@given(st.lists(st.tuples(numbers, numbers), max_size=30))
def test_mask_is_the_definition_of_dominance(points):
    costs, values = [p[0] for p in points], [p[1] for p in points]
    expected = [not dominated(i, costs, values) for i in range(len(points))]
    assert pareto_mask(costs, values, "minimize").tolist() == expected
    assert pareto_mask(costs, [-v for v in values], "maximize").tolist() == expected


def test_mask_of_a_rising_metric():
    cost = [1, 2, 3, 4, 5, 2]
    accuracy = [0.5, 0.7, 0.6, 0.9, 0.9, np.nan]
    assert pareto_mask(cost, accuracy, "maximize").tolist() == [True, True, False, True, False, False]


@pytest.fixture(scope="module")
def fronts():
    table = designs(finished_runs(grid_runs(optimizers=("adamw", "sgd"), noise=0.0)))
    return pareto_fronts(table)


def test_there_is_a_front_for_each_cost_and_optimizer(fronts):
    assert [(f.cost, f.optimizer) for f in fronts] == [
        ("forward_flops", "adamw"),
        ("forward_flops", "sgd"),
        ("train_flops", "adamw"),
        ("train_flops", "sgd"),
    ]
    assert {f.direction for f in fronts} == {"maximize"}


def test_front_against_forward_flops_is_each_size_at_the_largest_data(fronts):
    front = fronts[0]
    assert front.points["n_params"].tolist() == [3_000, 12_000, 48_000, 190_000, 760_000]
    assert set(front.points["n_examples"]) == {40_000}
    assert set(front.points["n_runs"]) == {3}
    assert len(front.points) + len(front.others) == 25


def test_front_rises_with_cost(fronts):
    for front in fronts:
        assert front.points[front.cost].is_monotonic_increasing
        assert front.points["objective"].is_monotonic_increasing
        assert front.points["objective"].max() >= front.others["objective"].max()


def test_steps_hold_the_best_so_far(fronts):
    x, y = fronts[0].steps(1e12)
    assert x.size == y.size == 2 * len(fronts[0].points)
    assert x[-1] == 1e12
    assert np.all(np.diff(x) >= 0)
    assert y[0] == y[1] == fronts[0].points["objective"].iloc[0]


def test_a_lucky_seed_does_not_make_a_front():
    runs = grid_runs(sizes=(3_000, 12_000), data_sizes=(500,), noise=0.0)
    runs.loc[0, "objective"] = 0.99
    front = pareto_fronts(designs(finished_runs(runs)), costs=("forward_flops",))[0]
    lucky = front.points["objective"].iloc[0]
    assert lucky == pytest.approx(runs["objective"].iloc[:3].mean())


def test_without_costs_there_is_no_front():
    table = designs(finished_runs(grid_runs().assign(forward_flops=np.nan, train_flops=None)))
    assert pareto_fronts(table) == ()
