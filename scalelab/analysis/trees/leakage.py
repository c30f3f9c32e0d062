"""What must not be predicted from: outcomes, what follows from the design, and names of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.runs.columns import OUTCOME_WORDS, hashable
from scalelab.analysis.runs.designs import CHOSEN
from scalelab.errors import FitError, suggest

if TYPE_CHECKING:
    import pandas as pd

DERIVED = frozenset({
    "n_params", "n_params_body", "forward_flops", "train_flops", "n_steps", "epochs", "peak_memory_bytes",
    "wall_seconds", "validation_seconds", "n_validated", "constant_loss", "n_seen",
    "n_tested", "n_windows", "n_available",
})  # fmt: skip
"""Columns of `runs` that follow from the design once it is built or trained."""
OUTCOMES = frozenset({
    "loss", "loss_last", "objective", "objective_last", "best_step", "metrics", "status", "attempt",
    "attempts", "error", "train_flops_best", "calibration",
    *CHOSEN.values(),
})  # fmt: skip
_FEATURE, _OF_TEST = "feature_", "test_"
_LEVELS = 10
_SAME_ORDER = 0.999


def refuse_leaks(done: pd.DataFrame, names: Sequence[str]) -> None:
    """Makes sure that no column gives the objective away.

    Refused are outcomes and derived columns by their names, columns that put the runs into the order of the
    objective or the loss (a rank correlation of 0.999 of the largest that ties allow) and, unless every run
    was made by scalelab (it has a fingerprint), numbers whose names say that they were measured and texts
    that name the runs.

    Args:
        done: Finished runs with the columns and `objective`.
        names: The columns that a model is to predict from.

    Raises:
        FitError: One of them leaks; the message names it and says why.
    """
    for name in names:
        if name not in done.columns:
            raise FitError(f"the table has no column {name!r}{suggest(name, map(str, done.columns))}")
        why = _reason(done, name)
        if why:
            raise FitError(f"leakage: {name!r} {why}; leave it out of the choices")


def _reason(done: pd.DataFrame, name: str) -> str | None:
    import pandas as pd

    if name in OUTCOMES or name.startswith(_OF_TEST):
        return "is an outcome of training"
    if name in DERIVED or name.startswith(_FEATURE):
        return "follows from the design and is known only once it was built"
    column = hashable(done[name])
    foreign = "fingerprint" not in done.columns or bool(done["fingerprint"].isna().any())
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        names_runs = foreign and len(done) > _LEVELS and column.nunique(dropna=False) == len(done)
        return "has a different value in every run: it identifies the runs" if names_runs else None
    words = set(name.lower().replace("-", "_").split("_"))
    if foreign and name != "n_examples" and OUTCOME_WORDS & words:
        return "is measured, as its name says"
    values = column.to_numpy(dtype=float, na_value=np.nan)
    for outcome in ("objective", "loss"):
        if outcome in done.columns:
            shared = order_shared(values, done[outcome].to_numpy(dtype=float))
            if shared >= _SAME_ORDER:
                return f"puts the runs into the order of the {outcome} (rank correlation {shared:.4f})"
    return None


def order_shared(values: NDArray[np.float64], outcome: NDArray[np.float64]) -> float:
    """Returns how much of the outcome's order a column has, from 0 to 1.

    That is its absolute rank correlation over the largest one that its ties allow; 0 where it has fewer than
    ten values.
    """
    from scipy.stats import rankdata

    known = np.isfinite(values) & np.isfinite(outcome)
    values, outcome = values[known], outcome[known]
    if len(np.unique(values)) < _LEVELS or len(np.unique(outcome)) < _LEVELS:
        return 0.0
    a, b = rankdata(values), rankdata(outcome)
    largest = float(np.corrcoef(np.sort(a), np.sort(b))[0, 1])
    return abs(float(np.corrcoef(a, b)[0, 1])) / largest


def refuse_straddling(folds: NDArray[np.int64], groups: NDArray[np.int64]) -> None:
    """Makes sure that no design has runs in two folds.

    Args:
        folds: The fold of each run, shape (runs,).
        groups: The design of each run, shape (runs,).

    Raises:
        FitError: Runs of one design are in several folds; the message names two of them.
    """
    if folds.shape != groups.shape:
        raise FitError(f"{folds.size} folds were given for {groups.size} runs; they must match row by row")
    first = np.zeros(int(groups.max()) + 1, dtype=np.int64)
    first[groups[::-1]] = np.arange(groups.size)[::-1]
    other = np.flatnonzero(folds != folds[first[groups]])
    if other.size:
        row = int(other[0])
        raise FitError(
            f"leakage: rows {first[groups[row]]} and {row} are the same design in two folds; "
            "keep all runs of a design in one fold"
        )
