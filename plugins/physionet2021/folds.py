"""Four folds of 30, 30, 30 and 10 %, stratified by labels and source; a group is always in one of them.

Source of the stratification: Sechidis, Tsoumakas & Vlahavas, "On the Stratification of Multi-Label Data",
ECML PKDD 2011, as the library iterative-stratification implements it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

FRACTIONS = (0.3, 0.3, 0.3, 0.1)
TEST_FOLD = 3
N_FOLDS = len(FRACTIONS)


def assign_folds(
    targets: np.ndarray, sources: Sequence[str], groups: Sequence[Hashable], seed: int
) -> np.ndarray:
    """Returns the fold, 0 to 3, of each record.

    Records of a group, such as those of a patient, count as one with the labels and sources of all of them.
    The result depends on the arguments alone, not on the machine.

    Args:
        targets: Labels of the records, (n, classes) of 0 and 1.
        sources: Source of each record.
        groups: What each record's group is called.
        seed: Breaks ties.
    """
    # The function behind the library's splitters, which by themselves offer folds of one size only.
    from iterstrat.ml_stratifiers import IterativeStratification

    group = _numbers_of(groups)
    names = np.unique(np.asarray(sources))
    wanted = np.concatenate([targets == 1, np.asarray(sources)[:, None] == names], axis=1)
    merged = np.zeros((group.max() + 1, wanted.shape[1]), dtype=bool)
    np.logical_or.at(merged, group, wanted)
    folds: np.ndarray = IterativeStratification(
        labels=merged, r=np.array(FRACTIONS), random_state=_random_state(seed)
    )
    of_records: np.ndarray = folds[group]
    return of_records


def shuffled_within_folds(folds: np.ndarray, groups: Sequence[Hashable], seed: int) -> np.ndarray:
    """Returns the records in the order of their folds, in each fold in a seeded random order.

    Records of a group stand side by side, so that at most one is in both halves of a fold.
    """
    group = _numbers_of(groups)
    place = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,))).permutation(group.max() + 1)
    return np.lexsort((np.arange(len(folds)), place[group], folds))


def joined(keys: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """Returns the group of each record: records that share a key are in one, and so are their others.

    Args:
        keys: What each record is known by, such as a digest of its samples and the name of its patient.

    Returns:
        Numbers of groups, in the order in which they come up first: shape (n,).
    """
    parents = list(range(len(keys)))

    def root(record: int) -> int:
        while parents[record] != record:
            parents[record] = parents[parents[record]]
            record = parents[record]
        return record

    first: dict[Hashable, int] = {}
    for record, own in enumerate(keys):
        for key in own:
            one, other = root(first.setdefault(key, record)), root(record)
            parents[max(one, other)] = min(one, other)
    return _numbers_of([root(record) for record in range(len(keys))])


def _numbers_of(groups: Sequence[Hashable]) -> np.ndarray:
    """Numbers the different groups in the order in which they come up first."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)


def _random_state(seed: int) -> np.random.RandomState:
    """The legacy generator that the library asks for; it takes seeds up to 2^32 only, ours reach further."""
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
