"""Pareto fronts: the designs that no other design beats in both cost and outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scalelab.analysis.runs.designs import split
from scalelab.records import Direction

if TYPE_CHECKING:
    import pandas as pd

COSTS = ("forward_flops", "train_flops")
_SHOWN = (
    "objective",
    "objective_std",
    "n_runs",
    "architecture",
    "n_params",
    "n_examples",
    "uncounted",
    "first_run",
)


def pareto_mask(cost: ArrayLike, outcome: ArrayLike, direction: Direction = "minimize") -> NDArray[np.bool_]:
    """Marks the points that are not dominated.

    A point is dominated where another one costs no more and is no worse, and is better in one of the two. Of
    points that are equal in both, the first is kept. Points that are not finite are never on the front.

    Args:
        cost: What is to be small, n numbers.
        outcome: What is to be small or large, n numbers.
        direction: Whether a lower or a higher outcome is better.

    Returns:
        True for points on the front, shape (n,).
    """
    costs = np.asarray(cost, dtype=float)
    losses = np.asarray(outcome, dtype=float) * (1.0 if direction == "minimize" else -1.0)
    mask = np.zeros(costs.size, dtype=bool)
    known = np.flatnonzero(np.isfinite(costs) & np.isfinite(losses))
    if not known.size:
        return mask
    order = known[np.lexsort((known, losses[known], costs[known]))]
    sorted_losses = losses[order]
    best_before = np.concatenate([[np.inf], np.minimum.accumulate(sorted_losses)[:-1]])
    mask[order[sorted_losses < best_before]] = True
    return mask


@dataclass(frozen=True, eq=False)
class Front:
    """The best outcome that each budget buys.

    Attributes:
        dataset: The dataset's label.
        optimizer: The optimizer's name.
        metric: Name of the objective.
        direction: Whether a lower or a higher objective is better.
        cost: The column that costs, one of `COSTS`.
        points: The designs on the front, cheapest first: the cost, `objective`, `objective_std`,
            `n_runs`, `architecture`, `n_params`, `n_examples`, and `uncounted`, the operators that the cost
            leaves out, and `first_run`, the trial of its first run.
        others: Cost, `objective` and `first_run` of the designs that are not on it.
    """

    dataset: str
    optimizer: str
    metric: str
    direction: Direction
    cost: str
    points: pd.DataFrame
    others: pd.DataFrame

    json_fields: ClassVar = ("dataset", "optimizer", "metric", "direction", "cost", "points")

    def steps(self, up_to: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns the corners of the front as a staircase: the best objective for a budget.

        Args:
            up_to: The budget at which the staircase ends.

        Returns:
            Costs and objectives of the corners, both of shape (2 * points,).
        """
        costs = self.points[self.cost].to_numpy(dtype=float)
        values = self.points["objective"].to_numpy(dtype=float)
        ends = np.append(costs[1:], max(up_to, costs[-1]))
        return np.column_stack([costs, ends]).ravel(), np.repeat(values, 2)


def pareto_fronts(designs: pd.DataFrame, costs: Sequence[str] = COSTS) -> tuple[Front, ...]:
    """Returns the front of the objective against each cost, for every dataset, metric and optimizer.

    Args:
        designs: Means over seeds, as `scalelab.analysis.runs.designs.designs` makes them: a lucky
            seed does not make a front.
        costs: Columns that cost.

    Returns:
        By dataset, metric, cost and optimizer; where no design has a cost there is no front.
    """
    fronts = []
    for (dataset, metric, direction), task in split(designs, ["dataset", "metric", "direction"]):
        for cost in costs:
            for (optimizer,), rows in split(task, ["optimizer"]):
                mask = pareto_mask(rows[cost], rows["chosen_objective"], direction)
                if not mask.any():
                    continue
                points = rows.loc[mask, [cost, *_SHOWN]].sort_values(cost, ignore_index=True)
                others = rows.loc[~mask, [cost, "objective", "first_run"]].dropna().reset_index(drop=True)
                fronts.append(Front(dataset, str(optimizer), metric, direction, cost, points, others))
    return tuple(fronts)
