"""The three approaches agree where they should, and say so where they should not."""

from __future__ import annotations

import numpy as np
import pytest
from reference_tables import isoflop_rows, needs_reference

from scalelab.analysis.fits.budget import budget_table
from scalelab.analysis.fits.compute_optimal import compute_optimal, parabola
from scalelab.analysis.fits.fit import fit_law
from scalelab.analysis.fits.isoflops import budgets_of
from scalelab.analysis.laws import get_law
from scalelab.errors import FitError, InputError

TRUTH = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
EXPONENT = 0.37 / 0.72
BUDGETS = np.geomspace(1e18, 1e21, 7)


def optimum(flops):
    g = (TRUTH["alpha"] * TRUTH["A"] / TRUTH["beta"] / TRUTH["B"]) ** (1 / 0.72)
    return g * (flops / 6) ** EXPONENT


def runs(low=1 / 6, high=6.0, sigma=0.002, k=9):
    sizes = np.concatenate([optimum(c) * np.geomspace(low, high, k) for c in BUDGETS])
    flops = np.repeat(BUDGETS, k)
    data = flops / 6 / sizes
    loss = get_law("chinchilla").predict(TRUTH, {"n_params": sizes, "n_examples": data})
    return sizes, data, loss * np.exp(np.random.default_rng(0).normal(0, sigma, loss.size))


@pytest.fixture(scope="module")
def centered():
    return compute_optimal(*runs())


def test_all_three_find_the_exponent(centered):
    assert set(centered.approaches) == {"envelope", "parabola", "parametric"}
    for one in centered.approaches.values():
        assert one.lower - 0.03 <= EXPONENT <= one.upper + 0.03
    found = centered.approaches["parametric"]
    assert found.exponent == pytest.approx(EXPONENT, abs=0.03)
    assert found.coefficient * 1e20**found.exponent == pytest.approx(optimum(1e20), rel=0.25)
    assert centered.agree
    assert abs(centered.parabola_bias) < 0.01
    table = centered.summary()
    assert list(table.index) == ["envelope", "parabola", "parametric"]
    assert (table.a + table.b).to_numpy() == pytest.approx(np.ones(3), abs=1e-6)


def test_sizes_that_are_not_centered_are_named():
    found = compute_optimal(*runs(low=1 / 20, high=2.0))
    assert any("not centered on the minimum" in line for line in found.warnings())


def test_a_minimum_outside_of_the_sizes_is_refused():
    found = compute_optimal(*runs(low=1.5, high=12.0))
    assert "parabola" in found.missing
    assert "minimum inside" in found.missing["parabola"]


def test_the_bias_of_parabolas_is_measured_where_the_offset_drifts_with_compute():
    # Sizes from one fixed list for all budgets: small budgets see mostly too large models and large ones
    # too small.
    sizes = np.tile(np.geomspace(optimum(1e18) / 4, optimum(1e21) * 4, 14), len(BUDGETS))
    flops = np.repeat(BUDGETS, 14)
    data = flops / 6 / sizes
    loss = get_law("chinchilla").predict(TRUTH, {"n_params": sizes, "n_examples": data})
    found = compute_optimal(sizes, data, loss)
    assert abs(found.approaches["parabola"].exponent - EXPONENT) > 0.01
    assert found.parabola_bias == pytest.approx(found.approaches["parabola"].exponent - EXPONENT, abs=1e-4)
    assert any("even without noise" in line for line in found.warnings())


def test_budgets_are_found_by_gaps_in_compute():
    flops = np.array([1e18, 3.1e18, 1.05e18, 3e18, 1e19])
    assert list(budgets_of(flops)) == [0, 1, 0, 1, 2]


def test_malformed_runs_are_refused():
    with pytest.raises(FitError, match="same length"):
        compute_optimal([1.0], [1.0, 2.0], [1.0])
    with pytest.raises(FitError, match="positive and finite"):
        compute_optimal([1.0], [1.0], [np.nan])
    with pytest.raises(FitError, match="no approach"):
        compute_optimal([1e6, 2e6], [1e8, 2e8], [3.0, 2.9])
    with pytest.raises(FitError, match="at least 2 budgets"):
        parabola(
            np.full(5, 1e18), np.geomspace(1e6, 1e7, 5), np.array([3.0, 2.5, 2.4, 2.6, 3.0]), np.zeros(5)
        )


def test_what_to_train_at_a_budget():
    n, d, loss = runs(sigma=0.0)
    fit = fit_law("chinchilla", {"n_params": n, "n_examples": d}, loss)
    table = budget_table(fit, [1e20, 1e22])
    assert table.n_params[1e20] == pytest.approx(optimum(1e20), rel=1e-5)
    assert (table.n_params * table.n_examples * 6).to_numpy() == pytest.approx([1e20, 1e22])
    assert table.gain_per_doubling[1e20] > table.gain_per_doubling[1e22] > 0
    with pytest.raises(InputError, match="positive"):
        budget_table(fit, 0.0)
    limited = budget_table(fit, 1e22, max_examples=1e10)
    assert limited.limited_by_data.all()
    assert limited.n_examples[1e22] == 1e10
    assert limited.loss[1e22] > table.loss[1e22]


@needs_reference
def test_public_isoflop_runs_give_exponents_near_a_half():
    rows = isoflop_rows()
    rows = rows[(rows.experiment == "epochai_chinchilla__massivetext__chinchilla") & ~rows.outlier]
    found = compute_optimal(rows.params, rows.tokens, rows.loss, budget=rows.budget)
    assert {"parabola", "parametric"} <= set(found.approaches)
    for name in ("parabola", "parametric"):
        assert 0.4 < found.approaches[name].exponent < 0.6
