"""Four folds of 30, 30, 30 and 10 %, stratified by labels and source; identical signals always together.

Source of the stratification: Sechidis, Tsoumakas & Vlahavas, "On the Stratification of Multi-Label Data",
ECML PKDD 2011, as the library iterative-stratification implements it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FRACTIONS = (0.3, 0.3, 0.3, 0.1)
TEST_FOLD = 3
N_FOLDS = len(FRACTIONS)


def assign_folds(
    targets: np.ndarray, sources: Sequence[str], signals: Sequence[str], seed: int
) -> np.ndarray:
    """Returns the fold, 0 to 3, of each record.

    Records with the same signal count as one with the labels and sources of all of them. The result depends
    on the arguments alone, not on the machine.

    Args:
        targets: Labels of the records, (n, classes) of 0 and 1.
        sources: Source of each record.
        signals: A digest of the samples of each record.
        seed: Breaks ties.
    """
    # The function behind the library's splitters, which by themselves offer folds of one size only.
    from iterstrat.ml_stratifiers import IterativeStratification

    group = _group_of(signals)
    names = np.unique(np.asarray(sources))
    wanted = np.concatenate([targets == 1, np.asarray(sources)[:, None] == names], axis=1)
    merged = np.zeros((group.max() + 1, wanted.shape[1]), dtype=bool)
    np.logical_or.at(merged, group, wanted)
    folds: np.ndarray = IterativeStratification(
        labels=merged, r=np.array(FRACTIONS), random_state=_random_state(seed)
    )
    of_records: np.ndarray = folds[group]
    return of_records


def shuffled_within_folds(folds: np.ndarray, signals: Sequence[str], seed: int) -> np.ndarray:
    """Returns the records in the order of their folds, in each fold in a seeded random order.

    Records with the same signal stand side by side, so that a fold can be cut in two anywhere.
    """
    group = _group_of(signals)
    place = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,))).permutation(group.max() + 1)
    return np.lexsort((np.arange(len(folds)), place[group], folds))


def _group_of(signals: Sequence[str]) -> np.ndarray:
    """Numbers the different signals in the order in which they come up first."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(signal, len(numbers)) for signal in signals], dtype=np.int64)


def _random_state(seed: int) -> np.random.RandomState:
    """The legacy generator that the library asks for; it takes seeds up to 2^32 only, ours reach further."""
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
