"""Which runs tell most: priors, what a law misses, the criterion, and the choice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.analysis.estimate import Estimate
from scalelab.analysis.fitting.data import Table
from scalelab.analysis.laws import get_law
from scalelab.analysis.next.belief import NOISE, Belief, weighed
from scalelab.analysis.next.choose import opening, picks, refuse_together
from scalelab.analysis.next.design import Aim, Design, widened
from scalelab.errors import FitError

AXES = ("n_params", "n_examples")
LAW = get_law("chinchilla")
N, D = (np.repeat(np.geomspace(1e6, 1e8, 5), 5), np.tile(np.geomspace(1e6, 1e8, 5), 5))
FAR = (np.array([1e9]), np.array([1e9]))
AROUND = tuple(np.concatenate(pair) for pair in zip((N, D), FAR, strict=True))
TRUTH = 1.8 + 90 * N**-0.35 + 120 * D**-0.37


def rows(chosen, noise=0.0, seed=0):
    y = TRUTH[chosen] * np.exp(noise * np.random.default_rng(seed).standard_normal(len(chosen)))
    return Table(AXES, (N[chosen], D[chosen]), y, np.ones(len(chosen)))


def design(table, pool=(N, D), **others):
    return Design.of(Belief.of(LAW, table, AROUND), table, pool, Aim(FAR), others)


def test_without_runs_the_priors_are_what_is_believed():
    belief = Belief.of(LAW, rows([]), AROUND)
    assert np.array_equal(belief.theta, belief.center)
    assert belief.noise == NOISE
    assert design(rows([])).error > 0.01


def test_many_exact_runs_are_believed_more_than_the_priors():
    belief = Belief.of(LAW, rows(np.arange(25)), AROUND)
    expected = 1.8 + 90 * 1e9**-0.35 + 120 * 1e9**-0.37
    assert belief.values_at(FAR)[0] == pytest.approx(expected, rel=0.02)
    assert belief.noise < NOISE


def test_outcomes_below_zero_have_a_belief_too():
    law = get_law("E + A*n_params^-a").suited(("n_params",), np.array([-1.0, 1.0]))
    x = np.geomspace(1e6, 1e9, 12)
    y = -2.0 + 900 * x**-0.4
    belief = Belief.of(law, Table(("n_params",), (x,), y, np.ones(12)), (x,))
    assert np.abs(belief.values_at((x,)) - y).max() < 0.1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(8, 20))
def test_a_run_that_is_added_gives_the_error_that_was_foreseen(seed, n):
    rng = np.random.default_rng(seed)
    own = design(rows(rng.choice(25, n, replace=False), 0.02, seed))
    foreseen = own.errors_with(np.arange(25))
    own.add(7)
    assert own.error == pytest.approx(float(foreseen[7]), rel=1e-6)
    assert own.error > 0


def test_without_misfit_the_criterion_is_that_of_v_optimal_designs(monkeypatch):
    from scalelab.analysis.next import misfit

    monkeypatch.setattr(misfit, "SHARES", (0.0,))
    table = rows(np.arange(0, 25, 2), 0.02)
    belief = Belief.of(LAW, table, AROUND)
    own = Design.of(belief, table, (N, D), Aim(FAR), {})
    precision = belief.slopes.T @ belief.slopes / belief.noise**2 + np.diag(belief.width**-2.0)
    target = belief.slopes_at(FAR)
    assert own.share == pytest.approx(0.0, abs=1e-9)
    assert own.error == pytest.approx(float((target @ np.linalg.inv(precision) @ target.T)[0, 0]), rel=1e-6)
    assert (own.errors_with(np.arange(25)) < own.error).all(), "more runs never hurt a law that is right"


def test_what_neighbors_share_is_misfit_and_noise_is_not():
    everywhere = np.tile(np.arange(25), 3)
    waves = 0.05 * np.sin(3 * np.log(N) / np.log(10)) * np.cos(2 * np.log(D) / np.log(10))
    bent = Table(AXES, (N, D), TRUTH * np.exp(waves), np.ones(25))
    assert design(bent).share > 0.6
    assert design(rows(everywhere, 0.05)).share < 0.4


def test_forms_that_disagree_at_the_target_make_it_less_sure():
    table = rows(np.arange(0, 12), 0.01)
    first = Belief.of(LAW, table, AROUND)
    other = Belief.of(get_law("saturating"), table, AROUND)
    beside = weighed(first, [other], len(table))
    assert 0 < sum(beside.values()) < 1
    apart = float((other.scores_at(FAR) - first.scores_at(FAR))[0])
    alone = Design.of(first, table, (N, D), Aim(FAR), {})
    both = Design.of(first, table, (N, D), Aim(FAR), beside)
    if abs(apart) > 0.02:
        assert both.error != pytest.approx(alone.error, rel=1e-3)


def test_the_budget_is_kept_and_each_candidate_is_taken_once():
    cost = 6 * N * D
    own = design(rows(np.arange(10), 0.02))
    budget = float(np.sort(cost)[:12].sum())
    found = picks([own], [cost], budget, free=[np.ones(25, dtype=bool)], most=25)
    taken = [one.candidate for one in found]
    assert len(set(taken)) == len(taken)
    assert cost[taken].sum() <= budget * (1 + 1e-9)
    assert [one.own for one in found] == sorted((one.own for one in found), reverse=True)


def test_it_ends_once_the_error_is_low_enough():
    cost = 6 * N * D
    many = picks([design(rows(np.arange(10), 0.02))], [cost], np.inf, free=[np.ones(25, dtype=bool)], most=25)
    enough = many[2].own
    few = picks(
        [design(rows(np.arange(10), 0.02))],
        [cost],
        np.inf,
        free=[np.ones(25, dtype=bool)],
        most=25,
        enough=enough,
    )
    assert len(few) == 3


def test_a_study_opens_with_cheap_runs_of_several_values_of_each_axis():
    cost = 6 * N**3 * D
    table = rows([])
    found = opening(design(table), table, (N, D), cost)
    assert len(found) >= 12
    assert len(set(N[found])) >= 3
    assert len(set(D[found])) >= 3
    assert opening(design(rows(np.arange(20))), rows(np.arange(20)), (N, D), cost) == []


def test_axes_that_move_together_are_refused():
    refuse_together({"n_params": N, "n_examples": D})
    with pytest.raises(FitError, match=r"move together.*vary one without the other"):
        refuse_together({"n_params": N, "n_examples": 20 * N})
    with pytest.raises(FitError, match="same n_examples"):
        refuse_together({"n_params": N, "n_examples": np.full(25, 3.0)})


def test_an_interval_is_never_narrower_than_its_design_allows():
    own = design(rows(np.arange(10), 0.02))
    wide = widened(Estimate(2.0, 1.999, 2.001), own, 0.9, of_run=True)
    assert wide.lower < 1.999 < 2.001 < wide.upper
    assert widened(Estimate(2.0, None, 9.0), own, 0.9, of_run=True) == Estimate(2.0, None, 9.0)
