"""Budgets of runs, and plans that leave nothing to find an optimum in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.analysis.fits.compute_optimal import envelope
from scalelab.analysis.fits.isoflops import improving, means, varied
from scalelab.errors import FitError


@given(st.floats(0.1, 0.9), st.floats(1.0, 1e3))
def test_a_size_that_follows_from_compute_is_not_varied(exponent, factor):
    flops = np.geomspace(1e15, 1e20, 8)
    assert not varied(flops, factor * flops**exponent)
    assert varied(np.repeat(flops, 2), np.repeat(flops**exponent, 2) * np.tile([1.0, 2.0], 8))


def test_a_plan_of_one_ratio_says_nothing_of_the_best_split():
    n = np.geomspace(1e7, 1e10, 8)
    loss = (1.7 + 400 * n**-0.34 + 2000 * (20 * n) ** -0.37) * np.exp(
        0.002 * np.random.default_rng(0).standard_normal(8)
    )
    with pytest.raises(FitError, match="the plan of whoever made them"):
        envelope(120 * n**2, n, loss)


def test_means_are_of_equal_scales_in_their_first_order():
    scales, mean, first = means((np.array([3.0, 1.0, 3.0]),), np.array([1.0, 5.0, 3.0]))
    assert list(scales[0]) == [3.0, 1.0]
    assert list(mean) == [2.0, 5.0]
    assert list(first) == [0, 1]
    assert mean.sum() == pytest.approx(7.0)


def test_an_envelope_that_no_resample_changes_has_no_exponent() -> None:
    sizes, flops = np.array([1e6, 4e6, 2e6]), np.array([1e12, 1e13, 1e14])
    loss = np.array([3.0, 2.5, 2.2])
    with pytest.raises(FitError, match="3 optima are the same in every resample"):
        envelope(flops, sizes, loss)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=30))
def test_what_improves_is_the_best_of_its_bin_and_below_all_before(runs: list[tuple[int, int]]) -> None:
    bins, loss = (np.array(column) for column in zip(*runs, strict=True))
    expected: list[int] = []
    for label in np.unique(bins):
        inside = np.flatnonzero(bins == label)
        first = int(inside[np.argmin(loss[inside])])
        if not expected or loss[first] < loss[expected].min():
            expected.append(first)
    assert improving(np.lexsort((loss, bins)), bins, loss).tolist() == expected
