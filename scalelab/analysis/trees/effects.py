"""How choices act, alone and together: partial dependence and SHAP interactions, in refitted XGBoost models.

An additive truth shows interactions too, because trees split on one choice after another. So each pair is
compared with what it reaches where nothing interacts: outcomes of an additive model (trees of depth one) plus
its residuals in random order (Friedman and Popescu 2008, section 8.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.trees.design import Design
from scalelab.analysis.trees.importances import bootstrap_rows
from scalelab.analysis.trees.learners import ROUNDS, XGBOOST, FittedXGBoost, Setting
from scalelab.analysis.trees.result import Effect
from scalelab.analysis.trees.scores import interval
from scalelab.arrays import Array

if TYPE_CHECKING:
    import pandas as pd


REFITS = 20
MAX_VALUES = 12
MAX_CHOICES = 12
_BACKGROUND = 100
_ROWS_EXPLAINED = 32


def effects_of(
    design: Design, y: Array, setting: Setting, order: list[str], *, level: float, seed: int
) -> tuple[pd.DataFrame, tuple[Effect, ...]]:
    """Returns interactions of all pairs of choices, and the partial dependence on each.

    Args:
        design: The design, n rows.
        y: Outcomes, shape (n,).
        setting: Depth and rounds of the models.
        order: The choices, most important first.
        level: Coverage of the intervals.
        seed: Seed of everything random.

    Returns:
        Interactions and partial dependence as in `scalelab.analysis.trees.result.Effects`.
    """
    additive = XGBOOST.fit(design.matrix, y, Setting(1, ROUNDS[-1]), seed).predict(design.matrix)
    rng = np.random.default_rng([seed, 3])
    curves = [_Curve(choice, design, rng) for choice in order[:MAX_CHOICES]]
    observed, null = [], []
    for refit in range(REFITS):
        fitted, pairs = _refit(design, y, setting, rng, seed + refit)
        observed.append(pairs)
        for curve in curves:
            curve.add(fitted)
        null.append(_refit(design, additive + rng.permutation(y - additive), setting, rng, seed + refit)[1])
    scale = float(y.std())
    table = _interaction_table(design, np.array(observed) / scale, np.array(null) / scale, level)
    return table, tuple(curve.effect(level) for curve in curves)


def _refit(
    design: Design, y: Array, setting: Setting, rng: np.random.Generator, seed: int
) -> tuple[FittedXGBoost, Array]:
    """Fits a bootstrap sample; returns the model and the strength of each pair, (choices, choices)."""
    drawn, left_out = bootstrap_rows(design.units, rng)
    fitted = XGBOOST.fit(design.matrix[drawn], y[drawn], setting, seed)
    values = fitted.interactions(design.matrix[rng.permutation(left_out)[:_ROWS_EXPLAINED]])
    groups = list(design.columns.values())
    pairs = np.zeros((len(groups), len(groups)))
    for i, first in enumerate(groups):
        for j, second in enumerate(groups[:i]):
            # each of the two mirrored values is half of the pair's interaction
            pairs[i, j] = 2.0 * np.abs(values[:, first][:, :, second].sum(axis=(1, 2))).mean()
    return fitted, pairs


def _interaction_table(design: Design, observed: Array, null: Array, level: float) -> pd.DataFrame:
    import pandas as pd

    later, earlier = np.tril_indices(len(design.columns), -1)
    choices = np.array(list(design.columns), dtype=object)
    lower, upper = interval(observed[:, later, earlier], level)
    noise = np.quantile(null[:, later, earlier], 0.5 + level / 2, axis=0)
    table = pd.DataFrame({
        "first": choices[earlier], "second": choices[later],
        "strength": observed[:, later, earlier].mean(axis=0), "lower": lower, "upper": upper, "noise": noise,
        "matters": lower > noise,
    })  # fmt: skip
    return table.sort_values("strength", ascending=False, kind="stable", ignore_index=True)


class _Curve:
    """Collects the partial dependence on one choice over refits."""

    def __init__(self, choice: str, design: Design, rng: np.random.Generator) -> None:
        self._choice, self._columns = choice, design.columns[choice]
        applies = np.flatnonzero(design.applies[choice])
        chosen = _representatives(design, choice, applies)
        order = design.ordered[choice]
        numeric = order is not None and bool(np.isfinite(order[chosen]).all()) and len(self._columns) == 1
        self._values: tuple[float | str, ...] = tuple(
            float(order[row]) if numeric and order is not None else str(design.names[choice][row])
            for row in chosen
        )
        background = np.sort(rng.permutation(applies)[:_BACKGROUND])
        rows = np.tile(design.matrix[background], (len(chosen), 1, 1))
        rows[:, :, self._columns] = design.matrix[chosen][:, None, self._columns]
        self._rows = rows
        self._predicted: list[Array] = []

    def add(self, fitted: FittedXGBoost) -> None:
        """Adds the predictions of a refit, shape (values, background)."""
        predicted = fitted.predict(self._rows.reshape(-1, self._rows.shape[2]))
        self._predicted.append(predicted.reshape(self._rows.shape[:2]))

    def effect(self, level: float) -> Effect:
        """Returns the curve with its interval over refits and the spread of single runs around it."""
        predicted = np.array(self._predicted)
        curves = predicted.mean(axis=2)
        lower, upper = interval(curves, level)
        mean = curves.mean(axis=0)
        single = predicted.mean(axis=0)
        around = single - single.mean(axis=0) + single.mean()
        ice_lower, ice_upper = np.quantile(around, [0.1, 0.9], axis=1)
        ends = (tuple(map(float, numbers)) for numbers in (mean, lower, upper, ice_lower, ice_upper))
        return Effect(self._choice, self._values, *ends)


def _representatives(design: Design, choice: str, rows: NDArray[np.int64]) -> list[int]:
    """Returns rows with the values to show: all of them, quantiles of many numbers, else the commonest."""
    names, order = design.names[choice][rows], design.ordered[choice]
    found, first, counts = np.unique(names, return_index=True, return_counts=True)
    if order is None or len(design.columns[choice]) > 1:
        commonest = np.argsort(-counts, kind="stable")[:MAX_VALUES]
        return [int(rows[first[i]]) for i in sorted(commonest, key=lambda i: found[i])]
    values = order[rows[first]]
    by_value = rows[first[np.argsort(values, kind="stable")]]
    picks = np.unique(np.linspace(0, len(by_value) - 1, min(len(by_value), MAX_VALUES)).round().astype(int))
    return [int(by_value[pick]) for pick in picks]
