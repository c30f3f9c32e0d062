"""Columns of a table of runs that hold options, and rows that are alike in some columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.arrays import Index
from scalelab.records import canonical_json

if TYPE_CHECKING:
    import pandas as pd

OPTION_PREFIXES = ("dataset_", "architecture_", "optimizer_", "trainer_", "training_")
OUTCOME_WORDS = frozenset({
    "loss", "objective", "accuracy", "acc", "auc", "auroc", "auprc", "f1", "error", "err", "score", "metric",
    "rmse", "mse", "mae", "perplexity", "val", "test", "flops", "params", "latency", "seconds",
})  # fmt: skip
"""Words in the names of what was measured."""


def option_columns(runs: pd.DataFrame, prefixes: tuple[str, ...] = OPTION_PREFIXES) -> list[str]:
    """Returns the columns that hold options of components and of training, in the table's order."""
    return [name for name in runs.columns if name.startswith(prefixes) and name != "dataset_label"]


def hashable(column: pd.Series) -> pd.Series:
    """Returns the column with lists, arrays and mappings as canonical JSON, so that it can be grouped by."""
    if column.dtype != object:
        return column
    return column.map(_hashable)


def _hashable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return canonical_json(value) if isinstance(value, (list, tuple, dict)) else value


def row_ids(table: pd.DataFrame, names: Sequence[str]) -> Index:
    """Numbers the different rows of some columns from 0, in the order in which they come; shape (rows,)."""
    import pandas as pd

    codes = {name: pd.factorize(hashable(table[name]), use_na_sentinel=False)[0] for name in names}
    varying = {name: code for name, code in codes.items() if code.size and code.max() > 0}
    if not varying:
        return np.zeros(len(table), dtype=np.int64)
    return pd.DataFrame(varying).groupby(list(varying), sort=False).ngroup().to_numpy()
