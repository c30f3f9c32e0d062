"""Importances that do not rank noise: every choice against shuffled copies of all of them.

A model is fitted again to bootstrap samples of the units, with a *shadow* of every choice beside it: its
values shuffled, so that it has the same distribution and decides nothing (Kursa and Rudnicki 2010, *Feature
selection with the Boruta package*; for impurity Sandri and Zuccolotto 2008). What the best of the shadows
reaches is what chance reaches, in the same models, by the same measure. A choice matters where its whole
interval lies above that.

Permutation importance (Breiman 2001) and SHAP values are taken on the units that a bootstrap sample left out.
Shadows are redrawn for every block of refits. A choice of the network is shuffled among networks, so that
a network that several optimizers trained keeps one value; everything else among designs, so that the seeds of
a design keep one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.trees.design import Design
from scalelab.analysis.trees.learners import FittedForest, FittedXGBoost, Learner, Setting
from scalelab.analysis.trees.scores import interval, resamples
from scalelab.arrays import Array

if TYPE_CHECKING:
    import pandas as pd


BLOCKS = 4
REFITS = 6
"""Blocks of refits, and refits a block."""
MANY_RUNS = 2000
"""With more runs than this half as many refits tell the same."""
SHUFFLES = 2
_ROWS_HELD_OUT = 1000
_ROWS_EXPLAINED = 250


class Importance(NamedTuple):
    """One measure of importance.

    Attributes:
        value: Of every choice, shape (choices,).
        draws: Bootstrap draws of it, shape (draws, choices).
        shadows: Of the shadows of the same choices, mean of a block, shape (blocks, choices).
    """

    value: Array
    draws: Array
    shadows: Array


def bootstrap_rows(
    units: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draws as many units as there are; returns the rows drawn, with repeats, and those left out."""
    n = int(units.max()) + 1
    counts = rng.multinomial(n, np.full(n, 1.0 / n))[units]
    rows = np.arange(units.size)
    return np.repeat(rows, counts), rows[counts == 0]


def shadow_matrix(design: Design, rng: np.random.Generator) -> Array:
    """Returns the design with every choice shuffled separately, shape (runs, columns)."""
    shadow = np.empty_like(design.matrix)
    for choice, columns in design.columns.items():
        ids = design.units if choice in design.of_network else design.groups
        first = np.unique(ids, return_index=True)[1]
        values = design.matrix[first][:, columns]
        shadow[:, columns] = values[rng.permutation(len(first))][ids]
    return shadow


def refit_importances(
    learner: Learner, design: Design, y: Array, setting: Setting | None, *, seed: int,
    measures: tuple[str, ...], blocks: int = BLOCKS, refits: int = REFITS,
) -> dict[str, Importance]:  # fmt: skip
    """Measures the importance of every choice and its shadow in models of bootstrap samples.

    Args:
        learner: The kind of model.
        design: The design, n rows.
        y: Outcomes, shape (n,).
        setting: What the models are fitted with.
        seed: Seed of everything random.
        measures: What to take where the kind of model has it: a forest has no SHAP values, only a forest has
            an impurity.
        blocks: How often the shadows are drawn.
        refits: How many bootstrap samples are fitted with the same shadows; half as many with more than
            `MANY_RUNS` runs.

    Returns:
        By measure. Gini is a share of the drop in squared error, permutation a share of the variance of y,
        SHAP the mean absolute contribution in standard deviations of y.
    """
    if y.size > MANY_RUNS:
        refits = -(-refits // 2)
    rises = _Rises(len(design.columns), y.size)
    whole: dict[str, list[Array]] = {}
    width = design.matrix.shape[1]
    groups = [*design.columns.values()]
    groups += [[width + column for column in columns] for columns in design.columns.values()]
    for block in range(blocks):
        rng = np.random.default_rng([seed, 2, block])
        x = np.concatenate([design.matrix, shadow_matrix(design, rng)], axis=1)
        for refit in range(refits):
            drawn, left_out = bootstrap_rows(design.units, rng)
            fitted = learner.fit(x[drawn], y[drawn], setting, seed + refits * block + refit)
            held = rng.permutation(left_out)[:_ROWS_HELD_OUT]
            if "permutation" in measures:
                rises.add(held, _rises(fitted, x[held], y[held], groups, rng))
            if "gini" in measures and isinstance(fitted, FittedForest):
                shares = [fitted.impurity[columns].sum() for columns in groups]
                whole.setdefault("gini", []).append(np.array(shares))
            if "shap" in measures and isinstance(fitted, FittedXGBoost):
                sizes = _sizes(fitted, x[held[:_ROWS_EXPLAINED]], groups) / y.std()
                whole.setdefault("shap", []).append(sizes)
        rises.end_block()
    found = {measure: _spread(np.array(rows), refits) for measure, rows in whole.items()}
    if "permutation" in measures:
        found["permutation"] = rises.importance(design.units, float(y.var()), seed)
    return found


class _Rises:
    """Collects how much each run's squared error rises when a choice is shuffled."""

    def __init__(self, n_choices: int, n_runs: int) -> None:
        self._n = n_choices
        self._sum, self._count = np.zeros((n_choices, n_runs)), np.zeros(n_runs)
        self._block_sum, self._block_count = np.zeros(n_choices), 0
        self._shadows: list[Array] = []

    def add(self, held: NDArray[np.int64], rises: Array) -> None:
        """Adds the rises of choices and shadows for some runs, shape (2 * choices, runs)."""
        self._sum[:, held] += rises[: self._n]
        self._count[held] += 1
        self._block_sum += rises[self._n :].sum(axis=1)
        self._block_count += held.size

    def end_block(self) -> None:
        """Closes the refits of one draw of shadows."""
        self._shadows.append(self._block_sum / max(self._block_count, 1))
        self._block_sum, self._block_count = np.zeros(self._n), 0

    def importance(self, units: NDArray[np.int64], variance: float, seed: int) -> Importance:
        """Returns mean rises over the variance, with draws that resample units."""
        known = self._count > 0
        mean = self._sum[:, known] / self._count[known]
        weights = resamples(units, seed)[:, known]
        draws = weights @ mean.T / weights.sum(axis=1, keepdims=True)
        return Importance(mean.mean(axis=1) / variance, draws / variance, np.array(self._shadows) / variance)


def _rises(fitted: Any, held: Array, y: Array, groups: list[list[int]], rng: np.random.Generator) -> Array:
    """Returns how much each squared error rises when a group of columns is shuffled, (groups, runs)."""
    n = len(held)
    error = (fitted.predict(held) - y) ** 2
    stacked = np.tile(held, (len(groups) * SHUFFLES, 1, 1))
    for i, columns in enumerate(groups):
        for shuffle in stacked[i * SHUFFLES : (i + 1) * SHUFFLES]:
            shuffle[:, columns] = held[rng.permutation(n)][:, columns]
    predicted = fitted.predict(stacked.reshape(-1, held.shape[1])).reshape(len(groups), SHUFFLES, n)
    return np.asarray(((predicted - y) ** 2).mean(axis=1) - error)


def _sizes(fitted: FittedXGBoost, held: Array, groups: list[list[int]]) -> Array:
    """Returns the mean absolute SHAP value of each group of columns, shape (groups,)."""
    contributions = fitted.shap(held)
    return np.array([np.abs(contributions[:, columns].sum(axis=1)).mean() for columns in groups])


def _spread(rows: Array, refits: int) -> Importance:
    """Returns the importance by values of choices and shadows in each refit, shape (refits, 2 * choices)."""
    choices, shadows = np.split(rows, 2, axis=1)
    return Importance(
        choices.mean(axis=0), choices, shadows.reshape(-1, refits, shadows.shape[1]).mean(axis=1)
    )


def importance_table(design: Design, y: Array, found: dict[str, Importance], level: float) -> pd.DataFrame:
    """Returns the importances by every measure, see `scalelab.analysis.trees.result.TreeModel`."""
    import pandas as pd

    trends = [_spearman(design.ordered[choice], y) for choice in design.columns]
    tables = []
    for measure, values in found.items():
        lower, upper = interval(values.draws, level)
        noise = float(values.shadows.max())
        table = pd.DataFrame({
            "measure": measure, "choice": list(design.columns), "importance": values.value, "lower": lower,
            "upper": upper, "noise": noise, "spearman": trends, "matters": lower > noise,
        })  # fmt: skip
        tables.append(table.sort_values("importance", ascending=False, kind="stable"))
    return pd.concat(tables, ignore_index=True)


def _spearman(values: Array | None, y: Array) -> float:
    from scipy.stats import spearmanr

    if values is None:
        return float("nan")
    known = np.isfinite(values)
    if known.sum() < 3 or np.ptp(values[known]) == 0:
        return float("nan")
    return float(spearmanr(values[known], y[known]).statistic)
