"""How far the design explains the objective, and which choices matter: a cross-validated random forest.

Predicts the objective from what a trial fixes: the options of architecture, optimizer and training, the
optimizer, the architecture and the data size. What is only known after a design was built (parameters, FLOPs,
recorded features) stays outside, and so does everything that did not vary.

Runs of one design differ by their seeds only, so a design is in one fold with all its runs: otherwise the
forest would recognise it. Importance is permutation importance on held-out designs (Breiman 2001): how much
larger the squared error becomes, as a share of the objective's variance, when a choice is shuffled. Its
expectation for a choice that does nothing is zero, unlike that of impurity. Intervals are a bootstrap over
designs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.points import design_ids, hashable, option_columns, split
from scalelab.errors import FitError

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

MIN_DESIGNS = 20
FOLDS = 5
REPEATS = 3
SHUFFLES = 5
N_TREES = 64
N_BOOTSTRAP = 500
ALL = "all"

_DESIGN = ("architecture", "optimizer", "n_examples")
_PREFIXES = ("architecture_", "optimizer_", "training_")
_MAX_RUNS = 20_000
_PARALLEL_ROWS = 2000
_ROWS_A_PREDICTION = 50_000
_MAX_LEVELS = 32


@dataclass(frozen=True, eq=False, kw_only=True)
class TreeResult:
    """A random forest of the design of one dataset's runs: a `TreeModel` or a `RefusedTree`.

    Attributes:
        dataset: The dataset's label.
        scope: An optimizer's name, or `ALL`.
        metric: Name of the objective that is predicted.
        n_designs: Designs, that is groups of runs that differ by their seeds only.
        n_runs: Runs.
    """

    dataset: str
    scope: str
    metric: str
    n_designs: int
    n_runs: int


@dataclass(frozen=True, eq=False, kw_only=True)
class RefusedTree(TreeResult):
    """A forest that these runs cannot support.

    Attributes:
        refusal: Why, and what to do about it.
    """

    refusal: str


@dataclass(frozen=True, eq=False, kw_only=True)
class TreeModel(TreeResult):
    """What a forest makes of the design.

    Attributes:
        scores: ``score`` (``pearson``, ``spearman``, ``r2``, ``rmse``), ``value``, ``low``, ``high``: of
            predictions for held-out designs.
        importances: ``choice``, ``importance``, ``low``, ``high``, ``spearman`` (of the choice with the
            objective; NaN for a choice without order), ``matters`` (the interval is above zero), most
            important first.
        predictions: ``observed`` and ``predicted`` (held out, mean over the repeats) of every run.
    """

    scores: pd.DataFrame
    importances: pd.DataFrame
    predictions: pd.DataFrame

    def score(self, name: str) -> tuple[float, float, float]:
        """Returns a score by its name: value, low, high."""
        row = self.scores[self.scores["score"] == name]
        return float(row["value"].iloc[0]), float(row["low"].iloc[0]), float(row["high"].iloc[0])


class Design(NamedTuple):
    """A design matrix that a forest can read.

    Attributes:
        matrix: Shape (runs, columns); NaN where a choice does not apply.
        columns: For every choice the indices of its columns, so that they are shuffled together.
        ordered: For every choice its values where they have an order, shape (runs,), else ``None``.
    """

    matrix: Array
    columns: dict[str, list[int]]
    ordered: dict[str, Array | None]


def tree_models(done: pd.DataFrame, *, level: float = 0.9, seed: int = 0) -> tuple[TreeResult, ...]:
    """Fits a forest for every dataset and metric: over all runs, and for each of several optimizers.

    Args:
        done: Finished runs, as `scalelab.analysis.points.finished_runs` returns them.
        level: Coverage of the intervals.
        seed: Seed of folds, forests, shuffles and bootstrap.

    Returns:
        One model a dataset and scope; refusals are among them.
    """
    models = []
    for (dataset, metric), task in split(done, ["dataset_label", "metric"]):
        optimizers = sorted(task["optimizer"].unique())
        for scope in [ALL, *(optimizers if len(optimizers) > 1 else [])]:
            rows = task if scope == ALL else task[task["optimizer"] == scope]
            models.append(
                tree_model(rows.reset_index(drop=True), dataset, scope, metric, level=level, seed=seed)
            )
    return tuple(models)


def tree_model(
    done: pd.DataFrame, dataset: str, scope: str, metric: str, *, level: float = 0.9, seed: int = 0
) -> TreeResult:
    """Fits one forest, to 20,000 runs drawn at random where there are more; a refusal where it cannot."""
    done = done[np.isfinite(done["objective"])]
    done = done.sample(min(len(done), _MAX_RUNS), random_state=seed).sort_index().reset_index(drop=True)
    groups = design_ids(done)
    names: dict[str, Any] = {
        "dataset": dataset,
        "scope": scope,
        "metric": metric,
        "n_designs": int(groups.max()) + 1 if len(done) else 0,
        "n_runs": len(done),
    }
    y = done["objective"].to_numpy(dtype=float)
    try:
        design = design_matrix(done)
        _check(names["n_designs"], design, y)
    except FitError as refusal:
        return RefusedTree(**names, refusal=str(refusal))
    held_out = _cross_validate(design, y, groups, seed)
    samples = _resamples(groups, seed)
    return TreeModel(
        **names,
        scores=_scores(y, held_out.predicted, samples, level),
        importances=_importances(design, y, held_out.rises, samples, level),
        predictions=_frame({"observed": y, "predicted": held_out.predicted.mean(axis=0)}),
    )


def _check(n_designs: int, design: Design, y: Array) -> None:
    if n_designs < MIN_DESIGNS:
        raise FitError(
            f"a tree model needs {MIN_DESIGNS} designs, there are {n_designs}; add trials to the study"
        )
    if not design.columns:
        raise FitError("no choice of the design varies; there is nothing to predict from")
    if np.ptp(y) <= 1e-12 * max(np.abs(y).max(), 1e-300):
        raise FitError(f"the objective is {y[0]:g} in every run; there is nothing to predict")


def design_matrix(done: pd.DataFrame) -> Design:
    """Turns the choices that vary into numbers.

    Numbers stay as they are; lists of numbers become a column a place (0 beyond a list's end); everything
    else becomes a column for each of its values.

    Args:
        done: Finished runs, n rows.

    Returns:
        The design, with n rows.
    """
    blocks: list[Array] = []
    columns: dict[str, list[int]] = {}
    ordered: dict[str, Array | None] = {}
    for name in [*_DESIGN, *option_columns(done, _PREFIXES)]:
        if name in columns or hashable(done[name]).nunique(dropna=False) < 2:
            continue
        block, order = _encode(done[name])
        if block.shape[1] == 0:
            continue
        start = sum(existing.shape[1] for existing in blocks)
        columns[name] = list(range(start, start + block.shape[1]))
        ordered[name] = order
        blocks.append(block)
    matrix = np.concatenate(blocks, axis=1) if blocks else np.empty((len(done), 0))
    return Design(matrix, columns, ordered)


def _encode(column: pd.Series) -> tuple[Array, Array | None]:
    """Returns the columns of one choice, shape (n, columns), and its order, shape (n,), where it has one."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        numbers = column.to_numpy(dtype=float, na_value=np.nan)
        return numbers[:, None], numbers
    places = _places(column)
    if places is not None:
        return places, places.sum(axis=1)
    numeric = pd.to_numeric(column, errors="coerce")
    if (numeric.notna() | column.isna()).all():
        numbers = numeric.to_numpy(dtype=float, na_value=np.nan)
        return numbers[:, None], numbers
    values = hashable(column).astype("object").where(column.notna(), None)
    frequent = values.value_counts().index[:_MAX_LEVELS]
    return np.column_stack([(values == value).to_numpy(dtype=float) for value in frequent]), None


def _places(column: pd.Series) -> Array | None:
    """Returns lists of numbers as an array (n, longest list), ``None`` where there is something else."""
    import json

    rows: list[list[float]] = []
    for value in column:
        if isinstance(value, str) and value.startswith("["):
            value = json.loads(value)
        if value is None or (isinstance(value, float) and np.isnan(value)):
            rows.append([])
            continue
        if not isinstance(value, (list, tuple, np.ndarray)) or not all(isinstance(v, Real) for v in value):
            return None
        rows.append([float(v) for v in value])
    places = np.zeros((len(rows), max(map(len, rows), default=0)))
    for i, row in enumerate(rows):
        places[i, : len(row)] = row
    return places


class _HeldOut(NamedTuple):
    """Predictions for runs outside of the folds that were learned from.

    Attributes:
        predicted: Shape (repeats, runs).
        rises: By choice, how much a run's squared error rises when the choice is shuffled, mean over repeats
            and shuffles, shape (runs,).
    """

    predicted: Array
    rises: dict[str, Array]


def _cross_validate(design: Design, y: Array, groups: NDArray[np.int64], seed: int) -> _HeldOut:
    rng = np.random.default_rng(seed)
    predicted = np.empty((REPEATS, y.size))
    rises = {choice: np.zeros(y.size) for choice in design.columns}
    for repeat in range(REPEATS):
        for fold, test in enumerate(_folds(groups, rng)):
            forest = _forest(y.size, seed + repeat * FOLDS + fold)
            forest.fit(design.matrix[~test], y[~test])
            held = design.matrix[test].astype(np.float32)
            predicted[repeat, test] = _predict(forest, held)
            error = (predicted[repeat, test] - y[test]) ** 2
            for choice, columns in design.columns.items():
                shuffled = _predict_shuffled(forest, held, columns, rng)
                rises[choice][test] += ((shuffled - y[test]) ** 2).mean(axis=0) - error
    return _HeldOut(predicted, {choice: rise / REPEATS for choice, rise in rises.items()})


def _forest(n_runs: int, seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(
        n_estimators=N_TREES,
        max_features=0.5,
        random_state=seed,
        n_jobs=-1 if n_runs > _PARALLEL_ROWS else None,
    )


def _folds(groups: NDArray[np.int64], rng: np.random.Generator) -> Iterator[NDArray[np.bool_]]:
    """Yields for each fold which runs are held out; the runs of a design stay together."""
    fold_of = rng.permutation(int(groups.max()) + 1) % FOLDS
    for fold in range(FOLDS):
        yield fold_of[groups] == fold


def _predict_shuffled(forest: Any, held: Any, columns: list[int], rng: np.random.Generator) -> Array:
    """Predicts with one choice shuffled among the held-out runs, shape (shuffles, runs)."""
    shuffles = max(1, min(SHUFFLES, _ROWS_A_PREDICTION // len(held)))
    stacked = np.tile(held, (shuffles, 1, 1))
    for shuffle in stacked:
        shuffle[:, columns] = shuffle[rng.permutation(len(held))][:, columns]
    return _predict(forest, stacked.reshape(-1, held.shape[1])).reshape(shuffles, -1)


def _predict(forest: Any, rows: Any) -> Array:
    """Predicts for float32 rows; for few of them much faster than the forest's own way, with its threads."""
    return np.asarray(np.mean([tree.predict(rows, check_input=False) for tree in forest.estimators_], axis=0))


def _resamples(groups: NDArray[np.int64], seed: int) -> Array:
    """Returns how often each run is drawn in each bootstrap sample of designs, shape (samples, runs)."""
    n = int(groups.max()) + 1
    rng = np.random.default_rng([seed, n])
    counts = rng.multinomial(n, np.full(n, 1.0 / n), size=N_BOOTSTRAP)
    return counts[:, groups].astype(float)


def _scores(y: Array, predicted: Array, samples: Array, level: float) -> pd.DataFrame:
    """Scores each repeat, means over the repeats, with percentiles over resampled designs."""
    from scipy.stats import rankdata

    ones = np.ones((1, y.size))
    ranks = rankdata(y)
    rows = []
    for name, score in (
        ("pearson", lambda w: [_correlation(y, p, w) for p in predicted]),
        ("spearman", lambda w: [_correlation(ranks, rankdata(p), w) for p in predicted]),
        ("r2", lambda w: [1.0 - _mean((p - y) ** 2, w) / _variance(y, w) for p in predicted]),
        ("rmse", lambda w: [np.sqrt(_mean((p - y) ** 2, w)) for p in predicted]),
    ):
        drawn = np.mean(score(samples), axis=0)
        low, high = _interval(drawn, level)
        rows.append({"score": name, "value": float(np.mean(score(ones))), "low": low, "high": high})
    return _frame(rows)


def _importances(
    design: Design, y: Array, rises: dict[str, Array], samples: Array, level: float
) -> pd.DataFrame:
    variance = float(np.var(y))
    rows = []
    for choice, rise in rises.items():
        low, high = _interval(_mean(rise, samples) / variance, level)
        rows.append(
            {
                "choice": choice,
                "importance": float(rise.mean() / variance),
                "low": low,
                "high": high,
                "spearman": _spearman(design.ordered[choice], y),
                "matters": low > 0,
            }
        )
    return _frame(rows).sort_values("importance", ascending=False, ignore_index=True)


def _spearman(values: Array | None, y: Array) -> float:
    from scipy.stats import spearmanr

    if values is None:
        return float("nan")
    known = np.isfinite(values)
    if known.sum() < 3 or np.ptp(values[known]) == 0:
        return float("nan")
    return float(spearmanr(values[known], y[known]).statistic)


def _mean(values: Array, weights: Array) -> Array:
    """Weighted means of values (n,) for every row of weights (samples, n)."""
    return np.asarray(weights @ values / weights.sum(axis=1))


def _variance(values: Array, weights: Array) -> Array:
    centred = values - values.mean()
    return _mean(centred**2, weights) - _mean(centred, weights) ** 2


def _correlation(a: Array, b: Array, weights: Array) -> Array:
    a, b = a - a.mean(), b - b.mean()
    covariance = _mean(a * b, weights) - _mean(a, weights) * _mean(b, weights)
    scale = np.sqrt(_variance(a, weights) * _variance(b, weights))
    return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)


def _interval(draws: Array, level: float) -> tuple[float, float]:
    low, high = np.quantile(draws[np.isfinite(draws)], [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def _frame(content: Any) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(content)
