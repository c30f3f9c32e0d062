"""Pareto fronts with what resampling the designs makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scalelab.analysis.designspace.spaces import MIN_DESIGNS, tasks
from scalelab.analysis.inference.bootstrap import tails
from scalelab.analysis.runs.designs import split
from scalelab.analysis.runs.frontier import COSTS
from scalelab.analysis.trees.scores import resamples
from scalelab.arrays import Array

if TYPE_CHECKING:
    import pandas as pd


MAX_BUDGETS = 60


@dataclass(frozen=True, eq=False)
class FrontBand:
    """The least error that each budget buys, for the designs of one optimizer.

    The best of the designs at hand is never worse than the best of a resample, so the band lies on the far
    side of the front: it says how much the front owes to single designs.

    Attributes:
        dataset: The dataset's label.
        metric: Name of the objective.
        error: What the error is, as in `scalelab.analysis.designspace.spaces.Space`.
        optimizer: The optimizer's name.
        cost: The column that costs.
        band: The cost, `error` (best of the designs at hand), `lower`, `upper`; NaN where the budget is
            below every design that was drawn.
        members: The designs on the front: the cost, `error`, `architecture`, `n_params` and
            `without` (the best error for the same budget if the design had not been drawn).
        others: Cost and `error` of the designs that are not.
    """

    dataset: str
    metric: str
    error: str
    optimizer: str
    cost: str
    band: pd.DataFrame
    members: pd.DataFrame
    others: pd.DataFrame

    json_fields: ClassVar = ("dataset", "metric", "error", "optimizer", "cost", "band", "designs=members")


def front_bands(table: pd.DataFrame, *, level: float, seed: int) -> tuple[FrontBand, ...]:
    """Returns the fronts of error against each cost for every dataset, metric and optimizer.

    Args:
        table: Designs, as `scalelab.analysis.designspace.spaces.design_table` makes them.
        level: Coverage of the bands.
        seed: Seed of the bootstrap over designs.
    """
    bands = []
    for dataset, metric, error, task in tasks(table):
        for cost in COSTS:
            known = task[np.isfinite(task[cost].to_numpy(dtype=float))]
            for (optimizer,), rows in split(known, ["optimizer"]):
                if len(rows) >= MIN_DESIGNS:
                    numbers = _band(rows.sort_values([cost, "error"], kind="stable"), cost, level, seed)
                    bands.append(FrontBand(dataset, metric, error, str(optimizer), cost, *numbers))
    return tuple(bands)


def _band(
    rows: pd.DataFrame, cost: str, level: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    import pandas as pd

    costs, errors = rows[cost].to_numpy(dtype=float), rows["error"].to_numpy(dtype=float)
    drawn = resamples(np.arange(len(rows)), seed) > 0
    known = np.where(drawn, errors, np.inf)
    best = np.minimum.accumulate(known, axis=1)
    last = np.flatnonzero(np.append(np.diff(costs) > 0, True))
    last = last[np.unique(np.linspace(0, len(last) - 1, min(len(last), MAX_BUDGETS)).round().astype(int))]
    lower, upper = (_quantile(best[:, last], end) for end in tails(level))
    all_best = np.minimum.accumulate(errors)
    band = pd.DataFrame({cost: costs[last], "error": all_best[last], "lower": lower, "upper": upper})
    mine = errors < np.append(np.inf, all_best[:-1])
    without = np.append(np.nan, all_best[:-1])
    shown = [cost, "error", "architecture", "n_params"]
    members = rows.assign(without=without).loc[mine, [*shown, "without"]].reset_index(drop=True)
    return band, members, rows.loc[~mine, [cost, "error"]].reset_index(drop=True)


def _quantile(values: Array, share: float) -> Array:
    """Returns the quantile of each column; infinities are the largest values, and a result among them NaN."""
    found = np.sort(values, axis=0)[int(np.ceil(share * (len(values) - 1)))]
    return np.where(np.isfinite(found), found, np.nan)
