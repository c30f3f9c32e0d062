"""Runs that might be made: a table of them, and those that have the components that are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scalelab.analysis.families.data import Supply
from scalelab.api.filters import KINDS
from scalelab.api.source import scale_table
from scalelab.errors import InputError, brief
from scalelab.records import UNSPECIFIED

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.study import Study


def candidate_table(
    table: pd.DataFrame | Path | str, axes: Sequence[str], names: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Returns a table of candidates with the components that the runs have where it names none.

    Args:
        table: The table or its file: a row each, with `train_flops`, the axes, and components where the runs
            have several.
        axes: Those of the question.
        names: By kind of component the names that the runs have.

    Raises:
        InputError: A column is missing, or a cell that counts is empty or no positive number; or the runs
            have several components of a kind and the table does not say which.
    """
    asked = ("train_flops", *axes)
    pool = table if not isinstance(table, (Path, str)) else scale_table(Path(table), asked, texts=KINDS)
    if "train_flops" not in pool:
        raise InputError("the table of candidates has no column train_flops, what each would cost")
    pool = pool.reset_index(drop=True).assign(trial_id="")
    for axis in asked:
        if axis in pool:
            pool[axis] = _positive(pool[axis], axis)
    for kind in KINDS:
        if kind in pool:
            empty = np.flatnonzero(pool[kind].isna())
            if empty.size:
                raise InputError(f"row {empty[0] + 1} of the candidates names no {kind}; fill it in")
            pool[kind] = pool[kind].astype(str)
            continue
        there = names.get(kind, ())
        if len(there) > 1:
            raise InputError(
                f"the runs have {len(there)} {kind}s ({', '.join(there[:5])}); give the table of candidates "
                f"a column {kind}, or say which with --{kind}"
            )
        pool[kind] = there[0] if there else UNSPECIFIED
    return pool


def of_kinds(table: pd.DataFrame, only: Mapping[str, str]) -> pd.DataFrame:
    """Returns the rows of the components that are asked for, by kind."""
    for kind, wanted in only.items():
        table = table[table[kind] == wanted]
    return table.reset_index(drop=True)


def chosen_kinds(pool: pd.DataFrame, only: Mapping[str, str]) -> pd.DataFrame:
    """Returns the candidates of the components that are asked for.

    Raises:
        InputError: There are none; the message names those that there are.
    """
    kept = of_kinds(pool, only)
    if len(kept) or not only:
        return kept
    for kind, wanted in only.items():
        if wanted not in set(pool[kind]):
            there = ", ".join(sorted(pool[kind].unique()))
            raise InputError(f"no candidate has the {kind} {wanted!r}; there are {there}")
    raise InputError(f"no candidate has all of {', '.join(only.values())}")


def kinds_of(study: Study | None, runs: pd.DataFrame | None) -> dict[str, list[str]]:
    """Returns the names of components that runs have, or, before there are any, their study; by kind."""
    from scalelab.study.command import expand_command

    if runs is not None:
        return {kind: sorted(runs[kind].unique()) for kind in KINDS}
    if study is None:
        return {}
    if study.command is not None:
        trials = expand_command(study).trials
        return {kind: sorted({getattr(trial, kind).name for trial in trials}) for kind in KINDS}
    entries = ((study.dataset,), study.architectures, study.optimizers)
    return {kind: sorted({one.name for one in own}) for kind, own in zip(KINDS, entries, strict=True)}


def refuse_unmade(table: pd.DataFrame, designs: pd.DataFrame) -> None:
    """Raises where a candidate of a table has more training examples than its dataset.

    Args:
        table: The candidates.
        designs: Those of the runs that there are, some of which record how many examples their dataset has.

    Raises:
        InputError: One has; the message names its row.
    """
    if "n_examples" not in table:
        return
    for dataset, rows in table.groupby("dataset", sort=False):
        supply = Supply.of(designs, str(dataset))
        for row, n_examples in zip(rows.index.to_list(), rows["n_examples"], strict=True):
            if supply.lacks(n_examples):
                raise InputError(f"row {row + 1} of the candidates: {supply.lack(n_examples)}")


def _positive(column: pd.Series[float], axis: str) -> pd.Series[float]:
    """Returns a column of positive numbers.

    Raises:
        InputError: One is not; the message names its row.
    """
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers > 0)))
    if wrong.size:
        value = column.iloc[wrong[0]]
        raise InputError(
            f"row {wrong[0] + 1} of the candidates: {axis} {brief(str(value))}: must be a positive number"
        )
    return numbers
