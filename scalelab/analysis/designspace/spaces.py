"""From runs to spaces: groups of designs with an error each, where less is better."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalelab.analysis.runs.columns import option_columns
from scalelab.analysis.runs.designs import design_ids, split
from scalelab.analysis.trees.leakage import DERIVED
from scalelab.arrays import Array

if TYPE_CHECKING:
    import pandas as pd


MIN_DESIGNS = 5
_LABELS = ("space_label", "metric", "direction", "architecture", "optimizer", "n_examples")


@dataclass(frozen=True, eq=False)
class Space:
    """Designs that belong together.

    Attributes:
        dataset: The dataset's label.
        metric: Name of the objective.
        error: What the error is: the metric, `1 - metric` or `-metric`.
        by: What tells spaces of this kind apart: `optimizer`, `architecture` (with the optimizer, where
            there are several), `study`, or `all`.
        name: Which of them it is.
        designs: One row per design, as `design_table` makes them.
    """

    dataset: str
    metric: str
    error: str
    by: str
    name: str
    designs: pd.DataFrame

    @property
    def errors(self) -> Array:
        """The designs' errors, shape (designs,)."""
        return self.designs["error"].to_numpy(dtype=float)

    @property
    def n_designs(self) -> int:
        """How many designs it has."""
        return len(self.designs)


def design_table(done: pd.DataFrame) -> pd.DataFrame:
    """Averages over seeds and keeps every choice: one row a design.

    Args:
        done: Finished runs, as `scalelab.analysis.runs.designs.finished_runs` returns them.

    Returns:
        The choices, derived and `feature_` columns, `objective` (mean over seeds), `error` (less is
        better) and `n_runs`.
    """
    done = done[np.isfinite(done["objective"].to_numpy(dtype=float))]
    kept = [*_LABELS, *option_columns(done), *(name for name in done.columns if _is_derived(name))]
    kept += ["study"] if "study" in done.columns else []
    grouped = done.assign(design=design_ids(done)).groupby("design", sort=True)
    table = grouped[list(dict.fromkeys(kept))].first()
    table["objective"] = grouped["objective"].mean()
    table["n_runs"] = grouped.size()
    table["error"] = np.nan
    for (_, _, direction), rows in split(table, ["space_label", "metric", "direction"]):
        values = rows["objective"].to_numpy(dtype=float)
        table.loc[rows.index, "error"] = values if direction == "minimize" else _ceiling(values) - values
    return table.reset_index(drop=True)


def _is_derived(name: str) -> bool:
    return name in DERIVED or name.startswith("feature_")


def _ceiling(values: Array) -> float:
    """Returns what a rising metric falls short of: 1 where it is a share, else 0."""
    return 1.0 if values.min() >= 0 and values.max() <= 1 else 0.0


def _error_name(metric: str, rows: pd.DataFrame) -> str:
    if rows["direction"].iloc[0] == "minimize":
        return metric
    return f"1 - {metric}" if _ceiling(rows["objective"].to_numpy(dtype=float)) else f"-{metric}"


def tasks(table: pd.DataFrame) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Yields dataset, metric, the error's name and the designs of everything that is compared separately."""
    for (dataset, metric), rows in split(table, ["space_label", "metric"]):
        yield str(dataset), str(metric), _error_name(str(metric), rows), rows.reset_index(drop=True)


def spaces_of(table: pd.DataFrame) -> list[Space]:
    """Returns the spaces by optimizer, architecture and study, those of `MIN_DESIGNS` designs and more.

    Architectures are compared separately for each optimizer, for it may suit only one of them.

    Where nothing tells designs apart, all of them are one space.
    """
    spaces = []
    for dataset, metric, error, rows in tasks(table):
        found = [
            Space(dataset, metric, error, by, str(name), own.reset_index(drop=True))
            for by, column, group in _groupings(rows)
            for (name,), own in split(group, [column])
            if len(own) >= MIN_DESIGNS
        ]
        if not found and len(rows) >= MIN_DESIGNS:
            found = [Space(dataset, metric, error, "all", "all", rows)]
        spaces += found
    return spaces


def _groupings(rows: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yields what distinguishes spaces, as text and as a column, and the designs."""
    for by in ("optimizer", "architecture", "study"):
        if by not in rows.columns or rows[by].nunique() < 2:
            continue
        if by == "architecture" and rows["optimizer"].nunique() > 1:
            for (optimizer,), own in split(rows, ["optimizer"]):
                if own[by].nunique() > 1:
                    yield f"{by}, {optimizer}", by, own
        else:
            yield by, by, rows
