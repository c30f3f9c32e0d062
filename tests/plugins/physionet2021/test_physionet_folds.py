"""Four folds: their sizes, their strata, identical signals together, the same everywhere."""

import numpy as np
import pytest
from scalelab_plugins.physionet2021.folds import FRACTIONS, assign_folds, shuffled_within_folds


def example(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    chances = np.geomspace(0.3, 0.005, 26)
    targets = (rng.random((n, 26)) < chances).astype(np.uint8)
    sources = rng.choice(["georgia", "ptb", "ningbo"], p=[0.6, 0.1, 0.3], size=n).tolist()
    return targets, sources, [f"signal {i}" for i in range(n)]


def test_sizes_labels_and_sources_have_their_share():
    targets, sources, signals = example()
    folds = assign_folds(targets, sources, signals, 0)
    assert np.abs(np.bincount(folds) / 4000 - FRACTIONS).max() < 0.01
    strata = [*(targets[:, k] == 1 for k in range(26)), *(np.array(sources) == name for name in set(sources))]
    for stratum in strata:
        found = np.bincount(folds[stratum], minlength=4)
        # Ideal to within a few records, which no random split of rare classes is.
        assert np.abs(found - np.array(FRACTIONS) * stratum.sum()).max() <= max(3, 0.02 * stratum.sum())


def test_better_than_chance_for_rare_classes():
    targets, sources, signals = example()
    rare = targets[:, 20:] == 1
    ours = assign_folds(targets, sources, signals, 0)
    chance = np.random.default_rng(0).choice(4, p=FRACTIONS, size=4000)

    def error(folds):
        found = np.stack([rare[folds == fold].sum(axis=0) for fold in range(4)])
        return np.abs(found - np.outer(FRACTIONS, rare.sum(axis=0))).mean()

    assert error(ours) < error(chance) / 3


def test_identical_signals_are_together_and_side_by_side():
    targets, sources, signals = example(300)
    signals[7] = signals[150] = signals[299]
    for seed in range(5):
        folds = assign_folds(targets, sources, signals, seed)
        assert folds[7] == folds[150] == folds[299]
        order = shuffled_within_folds(folds, signals, seed).tolist()
        assert sorted(order.index(i) for i in (7, 150, 299)) == list(
            range(order.index(7), order.index(7) + 3)
        )
        assert (np.diff(folds[order]) >= 0).all()
        assert sorted(order) == list(range(300))


def test_all_records_with_one_signal_are_one_group():
    folds = assign_folds(np.ones((6, 26)), ["a"] * 3 + ["b"] * 3, ["same"] * 6, 0)
    assert len(set(folds)) == 1


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_a_seed_says_it_all(seed):
    targets, sources, signals = example(200)
    np.random.seed(seed % 1000)  # noqa: NPY002 - the global generator must not matter
    first = assign_folds(targets, sources, signals, seed)
    np.testing.assert_array_equal(first, assign_folds(targets, sources, signals, seed))
    assert (first != assign_folds(targets, sources, signals, 5)).any()
    renamed = assign_folds(targets, sources, [signal[::-1] for signal in signals], seed)
    np.testing.assert_array_equal(first, renamed)
