"""The three kinds of tree model, behind one small interface.

- **forest**: scikit-learn's random forest (Breiman 2001), untuned; impurity (Gini) importance.
- **boosting**: scikit-learn's `HistGradientBoostingRegressor` (after LightGBM, Ke et al. 2017). Unlike
  `GradientBoostingRegressor` it takes missing values (an option that is none) and is ten times faster on ten
  thousand runs.
- **xgboost**: XGBoost (Chen and Guestrin 2016); SHAP values and their interactions by its exact TreeSHAP
  (Lundberg et al. 2020).

Both boosted models have a depth and a number of rounds to tune; a `Setting` is one of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from scalelab.arrays import Array

N_TREES = 50
MAX_ROWS_A_TREE = 2000
DEPTHS = (2, 4)
ROUNDS = (4, 8, 16, 32, 56)
LEARNING_RATE = 0.3
_MAX_FEATURES = 0.5
_PARALLEL_ROWS = 2000


@contextmanager
def threads_for(n_runs: int) -> Iterator[None]:
    """A context in which models of few runs use one thread: for them more threads only wait.

    Nor does scikit-learn check there, for each of hundreds of trees, options that never change.
    """
    from sklearn import config_context
    from threadpoolctl import threadpool_limits

    threads = 1 if n_runs <= _PARALLEL_ROWS else None
    with threadpool_limits(threads, user_api="openmp"), config_context(skip_parameter_validation=True):
        yield


class Setting(NamedTuple):
    """What is tuned of a boosted model.

    Attributes:
        depth: Of its trees.
        rounds: How many trees.
    """

    depth: int
    rounds: int


class Fitted(Protocol):
    """A fitted model."""

    def predict(self, rows: Array) -> Array:
        """Predicts for rows of shape (n, columns); shape (n,)."""
        ...


class Learner(Protocol):
    """A kind of model.

    Attributes:
        name: As it is shown.
        settings: What to choose from; none where nothing is tuned.
    """

    name: str
    settings: tuple[Setting, ...]

    def fit(self, x: Array, y: Array, setting: Setting | None, seed: int) -> Fitted:
        """Fits the model to rows x (n, columns) and outcomes y (n,)."""
        ...

    def staged(self, fitted: Any, rows: Array) -> Array:
        """Predicts after each number of `ROUNDS`, shape (len(ROUNDS), n)."""
        ...


class FittedForest:
    """A random forest.

    Args:
        trees: Its trees, as scikit-learn's `tree_`.
    """

    def __init__(self, trees: Sequence[Any]) -> None:
        self._trees = trees

    @cached_property
    def impurity(self) -> Array:
        """How much each column lowers the squared error in training, as a share; shape (columns,)."""
        shares = [tree.compute_feature_importances() for tree in self._trees if tree.node_count > 1]
        if not shares:
            return np.zeros(self._trees[0].n_features)
        mean: Array = np.mean(shares, axis=0)
        return mean / max(float(mean.sum()), 1e-300)

    def predict(self, rows: Array) -> Array:
        """Predicts; for few rows much faster than the forest's own way, with its threads."""
        narrow = rows.astype(np.float32)
        total = np.zeros(len(rows))
        for tree in self._trees:
            total += tree.predict(narrow)[:, 0]
        return total / len(self._trees)


class Forest:
    """Random forests of `N_TREES` trees, each grown on `MAX_ROWS_A_TREE` runs at most."""

    name = "forest"
    settings: tuple[Setting, ...] = ()

    def fit(self, x: Array, y: Array, setting: Setting | None, seed: int) -> FittedForest:  # noqa: ARG002
        """Fits the forest."""
        return FittedForest(_grown(x.astype(np.float32), y, seed))

    def staged(self, fitted: Any, rows: Array) -> Array:
        """A forest has no stages: its prediction, repeated."""
        return np.tile(fitted.predict(rows), (len(ROUNDS), 1))


def _grown(x: Any, y: Array, seed: int) -> list[Any]:
    """Returns the trees of a forest, of many runs grown on all cores.

    They are those of scikit-learn's own forest, which spends much of its time on handing small trees to
    threads, on making generators and on sorting out the runs that a tree does not see.
    """
    state = np.random.RandomState(seed)
    seeds = [state.randint(np.iinfo(np.int32).max) for _ in range(N_TREES)]
    column = np.ascontiguousarray(y[:, None], dtype=float)
    if len(y) <= _PARALLEL_ROWS:
        return _trees(x, column, seeds)
    from joblib import Parallel, delayed, effective_n_jobs

    parts = np.array_split(seeds, effective_n_jobs(-1))
    grown = Parallel(n_jobs=-1, prefer="threads")(delayed(_trees)(x, column, part) for part in parts)
    return [tree for part in grown for tree in part]


def _trees(x: Any, y: Array, seeds: Sequence[int]) -> list[Any]:
    """Returns a tree for each of some seeds, grown on the runs that a bootstrap sample of its own draws.

    Args:
        x: The runs, shape (n, columns), of single precision.
        y: Their outcomes, shape (n, 1).
        seeds: Of the samples and of the columns that a split looks at.
    """
    from sklearn.tree import DecisionTreeRegressor

    n, state = len(y), np.random.RandomState()
    tree = DecisionTreeRegressor(max_features=_MAX_FEATURES, random_state=state)
    # Unchecked rows may have no missing values.
    checked = bool(np.isnan(x).any())
    trees = []
    for own in seeds:
        state.seed(own)
        drawn = np.bincount(state.randint(0, n, min(n, MAX_ROWS_A_TREE)), minlength=n)
        rows = np.flatnonzero(drawn)
        state.seed(own)
        trees.append(tree.fit(x[rows], y[rows], drawn[rows].astype(float), check_input=checked).tree_)
    return trees


class Boosting:
    """Histogram gradient boosting of scikit-learn."""

    name = "boosting"
    settings = tuple(Setting(depth, rounds) for depth in DEPTHS for rounds in ROUNDS)

    def fit(self, x: Array, y: Array, setting: Setting | None, seed: int) -> Any:
        """Fits the model."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        assert setting is not None
        model = HistGradientBoostingRegressor(
            learning_rate=LEARNING_RATE,
            max_iter=setting.rounds,
            max_depth=setting.depth,
            max_bins=63,
            min_samples_leaf=max(3, min(20, len(y) // 30)),
            early_stopping=False,
            random_state=seed,
        )
        return model.fit(x, y)

    def staged(self, fitted: Any, rows: Array) -> Array:
        """Predicts after each number of rounds."""
        stages = {round_ + 1: rows_ for round_, rows_ in enumerate(fitted.staged_predict(rows))}
        return np.array([stages[rounds] for rounds in ROUNDS])


class FittedXGBoost:
    """A booster of XGBoost."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster

    def predict(self, rows: Array, rounds: int = 0) -> Array:
        """Predicts with the first rounds, or all."""
        predicted = self._booster.inplace_predict(rows, iteration_range=(0, rounds))
        return np.asarray(predicted, dtype=float)

    def shap(self, rows: Array) -> Array:
        """Returns the contribution of each column to each prediction (exact TreeSHAP), (n, columns)."""
        contributions = self._booster.predict(self._matrix(rows), pred_contribs=True)
        return np.asarray(contributions, dtype=float)[:, :-1]

    def interactions(self, rows: Array) -> Array:
        """Returns the SHAP interaction values of each prediction, (n, columns, columns)."""
        values = self._booster.predict(self._matrix(rows), pred_interactions=True)
        return np.asarray(values, dtype=float)[:, :-1, :-1]

    def _matrix(self, rows: Array) -> Any:
        import xgboost

        return xgboost.DMatrix(rows, nthread=1)


class XGBoost:
    """XGBoost with histograms."""

    name = "xgboost"
    settings = Boosting.settings

    def fit(self, x: Array, y: Array, setting: Setting | None, seed: int) -> FittedXGBoost:
        """Fits the model."""
        import xgboost

        assert setting is not None
        threads = 0 if len(y) > _PARALLEL_ROWS else 1
        options = {
            "tree_method": "hist", "max_bin": 64, "max_depth": setting.depth, "eta": LEARNING_RATE,
            "subsample": 0.8, "min_child_weight": 2.0, "seed": seed, "nthread": threads, "verbosity": 0,
        }  # fmt: skip
        data = xgboost.QuantileDMatrix(x, y, max_bin=64, nthread=threads)
        return FittedXGBoost(xgboost.train(options, data, setting.rounds))

    def staged(self, fitted: Any, rows: Array) -> Array:
        """Predicts after each number of rounds."""
        return np.array([fitted.predict(rows, rounds) for rounds in ROUNDS])


FOREST, BOOSTING, XGBOOST = Forest(), Boosting(), XGBoost()
LEARNERS: tuple[Learner, ...] = (FOREST, BOOSTING, XGBOOST)
