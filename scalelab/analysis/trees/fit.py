"""One tree model, or a model of every task: the design in, scores and importances out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.cores import Progress, each
from scalelab.analysis.estimate import Refusal, attempt
from scalelab.analysis.runs.designs import split
from scalelab.analysis.trees.design import MIN_DESIGNS, Design, count_designs, design_of
from scalelab.analysis.trees.importances import BLOCKS, REFITS, importance_table, refit_importances
from scalelab.analysis.trees.leakage import refuse_leaks
from scalelab.analysis.trees.learners import FOREST, Learner, threads_for
from scalelab.analysis.trees.result import ALL, MEASURES, TreeModel
from scalelab.analysis.trees.scores import mean_rmse, score_table
from scalelab.analysis.trees.validation import cross_validate
from scalelab.errors import FitError

if TYPE_CHECKING:
    import pandas as pd

MAX_RUNS = 20_000
_HEAVY = 2000
"""Of more runs a model takes seconds."""


def tree_models(
    done: pd.DataFrame, *, level: float = 0.9, seed: int = 0, progress: Progress | None = None
) -> tuple[TreeModel | Refusal, ...]:
    """Fits a forest for every dataset and metric: over all runs, and for each of several optimizers.

    Args:
        done: Finished runs, as `scalelab.analysis.runs.designs.finished_runs` returns them.
        level: Coverage of the intervals.
        seed: Seed of everything random.
        progress: Is told how many models are done.

    Returns:
        One model a dataset and scope, with permutation importances; refusals are among them.
    """
    short = partial(tree_model, measures=("permutation",), blocks=4, refits=4, level=level, seed=seed)
    asked = list(tasks(done))
    heavy = max((len(rows) for *_, rows in asked), default=0) > _HEAVY
    return each(partial(_asked, short), asked, "tree models", progress, heavy=heavy)


def _asked(
    short: Callable[..., TreeModel | Refusal], task: tuple[str, str, str, pd.DataFrame]
) -> TreeModel | Refusal:
    dataset, metric, scope, rows = task
    return short(rows, dataset, scope, metric)


def tasks(done: pd.DataFrame) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Yields dataset, metric, scope and runs of everything that has a model of its own."""
    for (dataset, metric), task in split(done, ["space_label", "metric"]):
        optimizers = sorted(task["optimizer"].unique())
        for scope in [ALL, *(optimizers if len(optimizers) > 1 else [])]:
            rows = task if scope == ALL else task[task["optimizer"] == scope]
            yield str(dataset), str(metric), str(scope), rows.reset_index(drop=True)


def tree_model(
    done: pd.DataFrame, dataset: str, scope: str, metric: str, *, learner: Learner = FOREST,
    choices: Sequence[str] | None = None, folds: NDArray[np.int64] | None = None,
    measures: tuple[str, ...] = MEASURES, blocks: int = BLOCKS, refits: int = REFITS, level: float = 0.9,
    seed: int = 0,
) -> TreeModel | Refusal:  # fmt: skip
    """Fits one model, to 20,000 runs drawn at random where there are more.

    Args:
        done: Finished runs.
        dataset: The dataset's label.
        scope: An optimizer's name, or `ALL`.
        metric: Name of the objective.
        learner: The kind of model, one of `scalelab.analysis.trees.learners.LEARNERS`.
        choices: The columns to predict from; by default those of components, training and data size.
        folds: The fold of each run, shape (runs,); by default drawn three times.
        measures: Which importances to take, where the kind of model has them.
        blocks: How often the shadows are drawn, see `refit_importances`.
        refits: How many bootstrap samples are fitted with the same shadows.
        level: Coverage of the intervals.
        seed: Seed of everything random.

    Returns:
        The model; a refusal where the runs cannot support one.

    Raises:
        FitError: A column of `choices` leaks the objective, or `folds` part the runs of a design.
    """
    import pandas as pd

    kept = _usable(done, seed)
    own_folds = None if folds is None else np.asarray(folds)[kept]
    done = done.iloc[kept].reset_index(drop=True)
    y = done["objective"].to_numpy(dtype=float)
    direction = str(done["direction"].iloc[0]) if len(done) else "minimize"
    names: dict[str, Any] = {
        "dataset": dataset, "scope": scope, "metric": metric, "direction": direction,
        "n_designs": count_designs(done, choices), "n_runs": len(done),
    }  # fmt: skip
    if choices is not None:
        refuse_leaks(done, choices)
    design = attempt(names, _design, done, choices, y)
    if isinstance(design, Refusal):
        return design
    with threads_for(len(done)):
        held = cross_validate(learner, design, y, seed=seed, own_folds=own_folds)
        found = refit_importances(
            learner, design, y, held.setting, seed=seed, measures=measures, blocks=blocks, refits=refits
        )
    return TreeModel(
        **names,
        n_units=design.n_units,
        learner=learner.name,
        scores=score_table(y, held, design.units, level, seed),
        mean_rmse=mean_rmse(y, held),
        importances=importance_table(design, y, found, level),
        predictions=pd.DataFrame({"observed": y, "predicted": held.predicted.mean(axis=0)}),
        settings=tuple(setting for setting, _ in Counter(held.settings).most_common()),
    )


def usable_runs(done: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Returns the runs that a model is fitted to, at most `MAX_RUNS`, in a clean index."""
    return done.iloc[_usable(done, seed)].reset_index(drop=True)


def _usable(done: pd.DataFrame, seed: int) -> NDArray[np.int64]:
    """Returns the rows with a finite objective, at most `MAX_RUNS` of them drawn at random, in order."""
    rows = np.flatnonzero(np.isfinite(done["objective"].to_numpy(dtype=float)))
    if rows.size > MAX_RUNS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_RUNS, replace=False))
    return rows


def _design(done: pd.DataFrame, choices: Sequence[str] | None, y: NDArray[np.float64]) -> Design:
    design = design_of(done, choices)
    if design.n_designs < MIN_DESIGNS:
        raise FitError(
            f"a tree model needs {MIN_DESIGNS} designs, there are {design.n_designs}; add trials to the study"
        )
    if not design.columns:
        raise FitError("no choice of the design varies; there is nothing to predict from")
    if np.ptp(y) <= 1e-12 * max(np.abs(y).max(), 1e-300):
        raise FitError(f"the objective is {y[0]:g} in every run; there is nothing to predict")
    return design
