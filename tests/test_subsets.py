"""Which examples a trial trains on, and which rows those are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scalelab import Split
from scalelab.subsets import averaged, rows_of_examples, windows_per_example

COUNTS = st.lists(st.integers(1, 7), min_size=1, max_size=30)


def split_of(counts):
    n = sum(counts)
    return Split(np.arange(n * 2).reshape(n, 2), np.zeros(len(counts), dtype=int), np.array(counts))


@given(COUNTS, st.randoms(use_true_random=False))
def test_rows_are_those_of_the_examples_in_their_order(counts, random):
    owners = np.repeat(np.arange(len(counts)), counts)
    chosen = np.array(random.sample(range(len(counts)), random.randint(1, len(counts))))
    rows, windows = rows_of_examples(split_of(counts), chosen)
    expected = np.concatenate([np.flatnonzero(owners == one) for one in chosen])
    np.testing.assert_array_equal(rows, expected)
    assert windows is not None
    assert windows.tolist() == [counts[one] for one in chosen]


@given(COUNTS, st.integers(0, 2**31))
def test_averages_are_means_of_each_example(counts, seed):
    outputs = np.random.default_rng(seed).normal(size=(sum(counts), 3)).astype(np.float32)
    found = averaged(outputs, np.array(counts))
    assert found.dtype == np.float32
    ends = np.cumsum(counts)
    parts = [outputs[end - n : end] for end, n in zip(ends, counts, strict=True)]
    expected = [np.mean(part, axis=0, dtype=np.float64) for part in parts]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_without_windows_every_example_is_a_row():
    split = Split(np.zeros((4, 2)), np.zeros(4))
    chosen = np.array([2, 0])
    rows, windows = rows_of_examples(split, chosen)
    assert rows is chosen
    assert windows is None
    outputs = np.ones((2, 3))
    assert averaged(outputs, None) is outputs
    assert windows_per_example(split) == 1.0


def test_length_counts_examples():
    split = split_of([3, 1, 2])
    assert len(split) == 3
    assert windows_per_example(split) == 2.0
