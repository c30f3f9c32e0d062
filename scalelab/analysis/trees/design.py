"""The design as numbers: what a trial fixes, encoded so that a tree can read it.

Predictors are choices only: the options of dataset, architecture, optimizer and training, their names and
the data size. What is known only after a design was built (parameters, FLOPs, recorded features) stays
outside, and so does what did not vary.

An option belongs to some components only. Where it does not apply it takes the middle of its values, so that
it does not say which component a run has; an option with one value a component says nothing that the
component's name does not, and is left out. Where components draw an option of the same name from other
ranges (the depth of one architecture is a number of blocks, that of another a factor), it is a choice for
each of them, `architecture_depth[regnet1d]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.runs.columns import hashable, option_columns, row_ids
from scalelab.analysis.trees.leakage import refuse_leaks
from scalelab.arrays import Array

if TYPE_CHECKING:
    import pandas as pd

Ids = NDArray[np.int64]

MIN_DESIGNS = 20
COMPONENTS = ("architecture", "optimizer")
_MAX_LEVELS = 32
_SHARED = 0.5


class Design(NamedTuple):
    """A design matrix that a tree can read.

    Attributes:
        matrix: Shape (runs, columns); NaN where an option is none.
        columns: For every choice the indices of its columns, so that they are shuffled together.
        ordered: For every choice its values where they have an order, shape (runs,), else `None`.
        names: For every choice its values as text, shape (runs,).
        applies: For every choice whether a run's component has it at all, shape (runs,).
        groups: The design of each run, shape (runs,): runs of one design have the same choices.
        units: What folds and bootstrap keep together, shape (runs,): the network where there are at least
            `MIN_DESIGNS`, else the design.
        of_network: The choices that are the network's: constant within a unit that is a network.
    """

    matrix: Array
    columns: dict[str, list[int]]
    ordered: dict[str, Array | None]
    names: dict[str, NDArray[np.str_]]
    applies: dict[str, NDArray[np.bool_]]
    groups: Ids
    units: Ids
    of_network: frozenset[str]

    @property
    def n_designs(self) -> int:
        """How many designs there are."""
        return int(self.groups.max()) + 1 if self.groups.size else 0

    @property
    def n_units(self) -> int:
        """How many units there are."""
        return int(self.units.max()) + 1 if self.units.size else 0


def choice_columns(done: pd.DataFrame) -> list[str]:
    """Returns the columns that are choices, whether or not they vary."""
    return [*COMPONENTS, "n_examples", *option_columns(done)]


def count_designs(done: pd.DataFrame, choices: Sequence[str] | None = None) -> int:
    """Returns how many designs there are: different rows of the choices."""
    names = choice_columns(done) if choices is None else choices
    return len(np.unique(row_ids(done, [name for name in names if name in done.columns]))) if len(done) else 0


def design_of(done: pd.DataFrame, choices: Sequence[str] | None = None) -> Design:
    """Turns the choices that vary into numbers.

    Numbers stay as they are; lists of numbers become one column per position (0 beyond a list's end);
    everything else becomes a column for each of its values.

    Args:
        done: Finished runs, n rows, with `objective`.
        choices: The columns to predict from; by default those of components, training and data size.

    Returns:
        The design, with n rows.

    Raises:
        FitError: A column leaks the objective, or is not there.
    """
    wanted = list(dict.fromkeys(choices)) if choices is not None else choice_columns(done)
    wanted = [name for name in wanted if choices is not None or name in done.columns]
    varying = [name for name in wanted if name in done.columns and _varies(done, name)]
    refuse_leaks(done, wanted if choices is not None else varying)
    blocks: list[Array] = []
    columns: dict[str, list[int]] = {}
    ordered: dict[str, Array | None] = {}
    names: dict[str, NDArray[np.str_]] = {}
    applies: dict[str, NDArray[np.bool_]] = {}
    width = 0
    for column, name, owned in _parts(done, varying):
        applies[name] = owned
        block, order = _encode(done[column], owned)
        columns[name] = list(range(width, width + block.shape[1]))
        ordered[name] = order
        values = hashable(done[column]).astype("object").where(done[column].notna(), "none")
        names[name] = values.astype(str).to_numpy(dtype=str)
        blocks.append(block)
        width += block.shape[1]
    matrix = np.concatenate(blocks, axis=1) if blocks else np.empty((len(done), 0))
    groups = row_ids(done, wanted)
    of_network = [name for name in wanted if name.startswith("architecture")]
    networks = row_ids(done, of_network)
    many = bool(of_network) and networks.size > 0 and networks.max() + 1 >= MIN_DESIGNS
    return Design(
        matrix, columns, ordered, names, applies, groups, networks if many else groups,
        frozenset(name for name in columns if many and name.startswith("architecture")),
    )  # fmt: skip


def _component(name: str) -> str | None:
    return next((kind for kind in COMPONENTS if name.startswith(f"{kind}_")), None)


def _applies(done: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    """Tells for each run whether its component has an option at all, shape (runs,)."""
    kind = _component(name)
    if kind is None or kind not in done.columns:
        return np.ones(len(done), dtype=bool)
    return done[name].notna().groupby(done[kind]).transform("any").to_numpy(dtype=bool)


def _parts(done: pd.DataFrame, names: Sequence[str]) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yields column, choice and the runs that have it, apart for components that give it other ranges."""
    for name in names:
        applies = _applies(done, name)
        kind = _component(name)
        values = hashable(done[name])
        owners = sorted(done.loc[applies, kind].astype(str).unique()) if kind in done.columns else []
        masks = {owner: applies & (done[kind].astype(str) == owner).to_numpy() for owner in owners}
        if len(owners) < 2 or _alike([values[mask] for mask in masks.values()]):
            yield name, name, applies
            continue
        for owner, mask in masks.items():
            if values[mask].nunique(dropna=False) > 1:
                yield name, f"{name}[{owner}]", mask


def _alike(columns: Sequence[pd.Series]) -> bool:
    """Whether values come from about the same range: what all share is half of what there is, or more."""
    import pandas as pd

    numbers = [pd.to_numeric(column, errors="coerce").dropna() for column in columns]
    if all(len(number) for number in numbers):
        low, high = [float(n.min()) for n in numbers], [float(n.max()) for n in numbers]
        whole = max(high) - min(low)
        return whole == 0 or (min(high) - max(low)) / whole >= _SHARED
    kinds = [set(column.astype(str)) for column in columns]
    return len(set.intersection(*kinds)) >= _SHARED * len(set.union(*kinds))


def _varies(done: pd.DataFrame, name: str) -> bool:
    """Whether a choice has two values, and does not merely follow from its component's name."""
    values = hashable(done[name])
    kind = _component(name)
    if kind is None or kind not in done.columns:
        return bool(values.nunique(dropna=False) > 1)
    return bool((values.groupby(done[kind]).nunique(dropna=False) > 1).any())


def _encode(column: pd.Series, applies: NDArray[np.bool_]) -> tuple[Array, Array | None]:
    """Returns the columns of one choice, shape (n, columns), and its order, shape (n,), where it has one."""
    import pandas as pd

    numeric = pd.to_numeric(column, errors="coerce") if not _is_listed(column) else None
    if numeric is not None and (numeric.notna() | column.isna()).all():
        numbers = numeric.astype(float).to_numpy(dtype=float, na_value=np.nan)
        filled = np.where(applies, numbers, np.nanmedian(numbers[applies]) if applies.any() else np.nan)
        return filled[:, None], np.where(applies, numbers, np.nan)
    places = _places(column)
    if places is not None:
        order = np.where(applies, places.sum(axis=1), np.nan)
        return np.where(applies[:, None], places, np.median(places[applies], axis=0)), order
    values = hashable(column).astype("object").where(column.notna(), "none")
    frequent = values[applies].value_counts().index[:_MAX_LEVELS]
    block = np.column_stack([(values == value).to_numpy(dtype=float) for value in frequent])
    block[~applies] = block[applies].mean(axis=0)
    return block, None


def _is_listed(column: pd.Series) -> bool:
    return column.dtype == object and any(isinstance(value, (list, tuple, np.ndarray)) for value in column)


def _places(column: pd.Series) -> Array | None:
    """Returns lists of numbers as an array (n, longest list), `None` where there is something else."""
    rows: list[list[float]] = []
    for value in column:
        numbers = _numbers(value)
        if numbers is None:
            return None
        rows.append(numbers)
    places = np.zeros((len(rows), max(map(len, rows), default=0)))
    for i, row in enumerate(rows):
        places[i, : len(row)] = row
    return places if places.shape[1] else None


def _numbers(value: object) -> list[float] | None:
    """Returns a list of numbers, which may be given as JSON; an empty one for what is missing."""
    import json

    if value is None or (isinstance(value, float) and np.isnan(value)):
        return []
    try:
        if isinstance(value, str) and value.startswith("["):
            value = json.loads(value)
        if not isinstance(value, (list, tuple, np.ndarray)) or not all(isinstance(v, Real) for v in value):
            return None
        numbers = [float(v) for v in value]
    except (ValueError, RecursionError, OverflowError):  # a text that only begins like a list
        return None
    return numbers if np.isfinite(numbers).all() else None
