"""Repeated cross-validation that keeps designs together, tuned on inner folds where anything is tuned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.trees.design import Design
from scalelab.analysis.trees.leakage import refuse_straddling
from scalelab.analysis.trees.learners import ROUNDS, Learner, Setting
from scalelab.arrays import Array

Ids = NDArray[np.int64]

FOLDS = 5
REPEATS = 3
INNER_FOLDS = 3
MANY_UNITS = 2000
"""With more units than this one repeat is enough: redrawn folds change next to nothing."""


class HeldOut(NamedTuple):
    """Predictions for runs outside of the folds that were learned from.

    Attributes:
        predicted: Shape (repeats, runs).
        mean: What the mean of the runs that were learned from predicts, shape (repeats, runs).
        settings: What was chosen for each outer fold; empty where nothing is tuned.
    """

    predicted: Array
    mean: Array
    settings: tuple[Setting, ...]

    @property
    def setting(self) -> Setting | None:
        """The setting that was chosen most often; `None` where nothing is tuned."""
        return Counter(self.settings).most_common(1)[0][0] if self.settings else None


def folds(units: Ids, n: int, rng: np.random.Generator) -> Ids:
    """Assigns each run to one of n folds, shape (runs,); all runs of a unit to the same."""
    return np.asarray((rng.permutation(int(units.max()) + 1) % n)[units], dtype=np.int64)


def cross_validate(
    learner: Learner, design: Design, y: Array, *, seed: int, own_folds: Ids | None = None
) -> HeldOut:
    """Predicts every run by models that saw no run of its design.

    Args:
        learner: The kind of model.
        design: The design, n rows.
        y: Outcomes, shape (n,).
        seed: Seed of folds and models.
        own_folds: The fold of each run, shape (n,), for one repeat; by default drawn `REPEATS` times.

    Raises:
        FitError: Runs of one design are in two of the folds given.
    """
    predicted, means, settings = [], [], []
    for repeat, fold_of in enumerate(_repeats(design, seed, own_folds)):
        refuse_straddling(fold_of, design.groups)
        held, mean = np.empty(y.size), np.empty(y.size)
        for fold in np.unique(fold_of):
            test = fold_of == fold
            x, known, units = design.matrix[~test], y[~test], design.units[~test]
            own_seed = seed + 1000 * repeat + int(fold)
            setting = tune(learner, x, known, units, own_seed)
            held[test] = learner.fit(x, known, setting, own_seed).predict(design.matrix[test])
            mean[test] = known.mean()
            settings += [setting] if setting else []
        predicted.append(held)
        means.append(mean)
    return HeldOut(np.array(predicted), np.array(means), tuple(settings))


def _repeats(design: Design, seed: int, own_folds: Ids | None) -> Iterator[Ids]:
    if own_folds is not None:
        yield own_folds
        return
    rng = np.random.default_rng(seed)
    for _ in range(REPEATS if design.n_units <= MANY_UNITS else 1):
        yield folds(design.units, FOLDS, rng)


def tune(learner: Learner, x: Array, y: Array, units: Ids, seed: int) -> Setting | None:
    """Chooses a setting by the squared error on inner folds that keep units together.

    Args:
        learner: The kind of model.
        x: Rows to learn from, shape (n, columns).
        y: Their outcomes, shape (n,).
        units: What stays together, shape (n,).
        seed: Seed of the folds and models.

    Returns:
        The setting; `None` where nothing is tuned.
    """
    if not learner.settings:
        return None
    fold_of = folds(units, INNER_FOLDS, np.random.default_rng([seed, 1]))
    depths = list(dict.fromkeys(setting.depth for setting in learner.settings))
    error = np.zeros((len(depths), len(ROUNDS)))
    for fold in range(INNER_FOLDS):
        test = fold_of == fold
        for i, depth in enumerate(depths):
            fitted = learner.fit(x[~test], y[~test], Setting(depth, ROUNDS[-1]), seed)
            error[i] += ((learner.staged(fitted, x[test]) - y[test]) ** 2).sum(axis=1)
    best = np.unravel_index(int(error.argmin()), error.shape)
    return Setting(depths[int(best[0])], ROUNDS[int(best[1])])
