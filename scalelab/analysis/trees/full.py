"""Every kind of model of every task, with all importances, interactions and partial dependence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scalelab.analysis.cores import Progress
from scalelab.analysis.estimate import Refusal
from scalelab.analysis.trees.design import design_of
from scalelab.analysis.trees.effects import effects_of
from scalelab.analysis.trees.fit import tasks, tree_model, usable_runs
from scalelab.analysis.trees.learners import LEARNERS, XGBOOST
from scalelab.analysis.trees.result import Effects, TreeModel

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class FullTrees:
    """Tree models of a table of runs.

    Attributes:
        results: By dataset, metric and scope: a model of each kind, or one refusal.
        effects: By dataset, metric and scope that was not refused: interactions and partial dependence.
    """

    results: tuple[TreeModel | Refusal, ...]
    effects: tuple[Effects, ...]

    @property
    def models(self) -> tuple[TreeModel, ...]:
        """The models that were not refused."""
        return tuple(tree for tree in self.results if isinstance(tree, TreeModel))

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """The tasks that were."""
        return tuple(tree for tree in self.results if isinstance(tree, Refusal))


def full_trees(
    done: pd.DataFrame,
    *,
    choices: Sequence[str] | None = None,
    level: float = 0.9,
    seed: int = 0,
    progress: Progress | None = None,
) -> FullTrees:
    """Fits a forest, a boosted model and XGBoost to every dataset and metric: over all runs and by optimizer.

    Args:
        done: Finished runs, as `scalelab.analysis.runs.designs.finished_runs` returns them.
        choices: The columns to predict from; by default those of components, training and data size.
        level: Coverage of the intervals.
        seed: Seed of everything random.
        progress: Is told how many models are done.

    Raises:
        FitError: A column of `choices` leaks the objective.
    """
    results: list[TreeModel | Refusal] = []
    effects: list[Effects] = []
    asked = list(tasks(done))
    for number, (dataset, metric, scope, rows) in enumerate(asked):
        for kind, learner in enumerate(LEARNERS):
            if progress:
                progress("tree models", len(LEARNERS) * number + kind, len(LEARNERS) * len(asked))
            result = tree_model(
                rows, dataset, scope, metric, learner=learner, choices=choices, level=level, seed=seed
            )
            results.append(result)
            if isinstance(result, Refusal):
                break
            if learner is XGBOOST:
                used = usable_runs(rows, seed)
                table, partial = effects_of(
                    design_of(used, choices),
                    used["objective"].to_numpy(dtype=float),
                    result.settings[0],
                    list(result.ranking("shap")["choice"]),
                    level=level,
                    seed=seed,
                )
                effects.append(Effects(dataset, scope, metric, table, partial))
    return FullTrees(tuple(results), tuple(effects))
