"""What the datasets of runs are called: name, the options in which they differ, and else their content.

A family is of one dataset, as its label names it. Where one study varies options of its dataset, these are
choices of a design as much as those of the network: trees and the design space take its runs together.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from scalelab.analysis.runs.columns import hashable, option_columns

if TYPE_CHECKING:
    import pandas as pd


def dataset_labels(done: pd.DataFrame, *, without: Collection[str] = ()) -> pd.Series:
    """Names the dataset of each run.

    Args:
        done: Finished runs.
        without: Columns of options that are no part of the name, such as the axes of a law.
    """
    whole = _with_options(done, ())
    labels = _with_options(done, without) if without else whole
    if "fingerprint" in done.columns:
        contents = done.groupby(whole)["fingerprint"].transform("nunique") > 1
        labels = labels.where(~contents, labels + " content=" + done["fingerprint"].astype(str).str[:6])
    return labels


def _with_options(done: pd.DataFrame, without: Collection[str]) -> pd.Series:
    labels = done["dataset"].astype(str)
    for _, rows in done.groupby("dataset", sort=False):
        for column in option_columns(done, ("dataset_",)):
            values = hashable(rows[column])
            if column not in without and values.nunique(dropna=False) > 1:
                # What a run leaves open is no part of its name, nor makes the fold 0 of another one 0.0.
                known = values.dropna().convert_dtypes() if values.hasnans else values
                labels.loc[known.index] += f" {column.removeprefix('dataset_')}=" + known.astype(str)
    return labels


def space_labels(done: pd.DataFrame) -> pd.Series:
    """Names what the runs of a design space are on: the dataset, without the options that a study varies."""
    labels = done["dataset_label"]
    if "study" not in done.columns:
        return labels
    varied: set[str] = set()
    for _, rows in done.groupby(["study", "dataset"], sort=False):
        for column in option_columns(done, ("dataset_",)):
            if hashable(rows[column]).nunique(dropna=False) > 1:
                varied.add(column)
    return dataset_labels(done, without=varied) if varied else labels
