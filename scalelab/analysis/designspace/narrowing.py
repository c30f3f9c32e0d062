"""Where the best models are: the range of each choice, and whether chance would give one as narrow.

Radosavovic et al. (2020) draw a quarter of the designs with replacement, take the best one, and repeat: the
middle 95% of a choice's values among these winners is where its best values are. How likely each design is
to win follows from its rank alone, so nothing need be drawn: the best of k draws from n has rank r with
probability ((n - r)/n)^k - ((n - r - 1)/n)^k.

A choice that decides nothing has winners too, and they may lie close together by chance. So each range is
compared with those that the same choice gets in random order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.designspace.spaces import tasks
from scalelab.analysis.runs.columns import hashable, option_columns
from scalelab.analysis.runs.designs import split
from scalelab.arrays import Array

if TYPE_CHECKING:
    import pandas as pd


MIN_DESIGNS = 10
COVERAGE = 0.95
DRAWN = 0.25
PERMUTATIONS = 999
_CELLS = 4_000_000


@dataclass(frozen=True, eq=False)
class Range:
    """Where the best values of one choice are.

    Attributes:
        dataset: The dataset's label.
        metric: Name of the objective.
        component: `architecture`, `optimizer` or `training`.
        owner: The component's name; empty for training.
        option: The option's name.
        column: Its column in `runs`.
        n_designs: Designs that have it.
        lower: Least value among the winners' middle 95%; `None` where values have no order.
        upper: Greatest one.
        typical: The winners' median; `None` where values have no order.
        full: Least and greatest value of all designs.
        values: Where values have no order, those that hold 95% of the winners, most frequent first.
        all_values: Where values have no order, all of them.
        best: The value of the best design.
        p: How often the choice in random order has winners as close together.
        level: What chance must be less likely than, short of one, for a range to count as narrower.
    """

    dataset: str
    metric: str
    component: str
    owner: str
    option: str
    column: str
    n_designs: int
    lower: float | None
    upper: float | None
    typical: float | None
    full: tuple[float, float] | None
    values: tuple[Any, ...]
    all_values: tuple[Any, ...]
    best: Any
    p: float
    level: float

    json_fields: ClassVar = (
        "dataset", "metric", "component", "owner", "option", "column", "n_designs", "lower", "upper",
        "typical", "full", "values", "all_values", "best", "p", "narrower_than_chance",
    )  # fmt: skip

    @property
    def smaller(self) -> bool:
        """Whether it is a part of what was tried."""
        if self.full is None:
            return len(self.values) < len(self.all_values)
        assert self.lower is not None
        assert self.upper is not None
        return self.lower > self.full[0] or self.upper < self.full[1]

    @property
    def narrower_than_chance(self) -> bool:
        """Whether it is smaller, and chance gives one as narrow less often than 1 - level."""
        return self.smaller and self.p <= 1 - self.level


def winner_weights(errors: Array, drawn: float = DRAWN) -> Array:
    """Returns how likely each design is the best of a share of the designs drawn with replacement, (n,).

    Args:
        errors: Less is better, shape (n,); equal ones share their chances.
        drawn: The share.
    """
    n = errors.size
    k = max(1, round(drawn * n))
    rank = np.arange(n, dtype=float)
    by_rank = ((n - rank) / n) ** k - ((n - rank - 1) / n) ** k
    _, place, counts = np.unique(errors, return_inverse=True, return_counts=True)
    sums = np.bincount(np.repeat(np.arange(counts.size), counts), by_rank)
    return np.asarray((sums / counts)[place.ravel()])


def ranges_of(table: pd.DataFrame, *, level: float = 0.9, seed: int) -> tuple[Range, ...]:
    """Returns the range of every option that varies, for every dataset and metric.

    Designs that differ in the optimizer (or architecture) and the data size are ranked among their like, and
    all such groups of ten designs and more count the same: the range holds the best models of each.

    Args:
        table: Designs, as `scalelab.analysis.designspace.spaces.design_table` makes them.
        level: See `Range`.
        seed: Seed of the random orders.
    """
    found = []
    for dataset, metric, _, rows in tasks(table):
        for component, owner, own, apart in _owners(rows):
            weights = _weights(own, apart)
            own, weights = own[weights > 0], weights[weights > 0]
            if own.empty:
                continue
            for column in option_columns(own, (f"{component}_",)):
                values = hashable(own[column])
                if values.nunique(dropna=False) > 1:
                    errors = own["error"].to_numpy(dtype=float)
                    numbers = (*_range(values, errors, weights, seed), level)
                    option = column.removeprefix(f"{component}_")
                    what = (dataset, metric, component, owner, option, column, len(own))
                    found.append(Range(*what, *numbers))
    return tuple(found)


def _owners(rows: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame, list[str]]]:
    """Yields component, owner, its designs, and what else parts designs into groups ranked by themselves."""
    for (name,), own in split(rows, ["architecture"]):
        yield "architecture", str(name), own, ["optimizer", "n_examples"]
    for (name,), own in split(rows, ["optimizer"]):
        yield "optimizer", str(name), own, ["architecture", "n_examples"]
    if option_columns(rows, ("training_",)):
        yield "training", "", rows, ["architecture", "optimizer", "n_examples"]


def _weights(own: pd.DataFrame, apart: list[str]) -> Array:
    """Returns each design's share of the wins; 0 in groups of fewer than `MIN_DESIGNS`."""
    weights = np.zeros(len(own))
    codes = own.groupby(apart, dropna=False, sort=False).ngroup().to_numpy()
    for code in np.unique(codes):
        members = np.flatnonzero(codes == code)
        if members.size >= MIN_DESIGNS:
            weights[members] = winner_weights(own["error"].to_numpy(dtype=float)[members])
    return np.asarray(weights / max(weights.sum(), 1e-300))


def _range(values: pd.Series, errors: Array, weights: Array, seed: int) -> tuple[Any, ...]:
    """Returns the fields of a `Range` from `lower` to `p`."""
    import pandas as pd

    rng = np.random.default_rng([seed, 5])
    n_orders = int(min(PERMUTATIONS, max(99, _CELLS // values.size)))
    orders = np.array([rng.permutation(values.size) for _ in range(n_orders)])
    best = int(np.argmin(errors))
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    if np.isfinite(numbers).all() and not pd.api.types.is_bool_dtype(values):
        order = np.argsort(numbers, kind="stable")
        ascending, own = numbers[order], weights[order]
        places = np.searchsorted(ascending, ascending) + np.searchsorted(ascending, ascending, side="right")
        first, last = _middle(own[None, :])
        width = places[last] - places[first]
        by_chance = _middle(own[orders])
        p = (1 + np.sum(places[by_chance[1]] - places[by_chance[0]] <= width)) / (n_orders + 1)
        middle = int(np.searchsorted(np.cumsum(own), 0.5))
        lower = min(float(ascending[first[0]]), float(numbers[best]))
        upper = max(float(ascending[last[0]]), float(numbers[best]))
        full = (float(ascending[0]), float(ascending[-1]))
        return lower, upper, float(ascending[middle]), full, (), (), float(numbers[best]), float(p)
    texts = values.astype("object").where(values.notna(), None)
    codes, names = pd.factorize(texts, use_na_sentinel=False)
    one_hot = np.eye(len(names))[codes]
    share = weights @ one_hot
    by_chance = weights[orders] @ one_hot
    p = (1 + np.sum((by_chance**2).sum(axis=1) >= (share**2).sum() - 1e-12)) / (n_orders + 1)
    ranking = np.argsort(-share, kind="stable")
    needed = int(np.searchsorted(np.cumsum(share[ranking]), COVERAGE - 1e-12)) + 1
    kept = tuple(None if pd.isna(names[i]) else names[i] for i in ranking[:needed])
    every = tuple(None if pd.isna(name) else name for name in names)
    winner = every[codes[best]]
    kept = kept if winner in kept else (*kept, winner)
    return None, None, None, None, kept, every, winner, float(p)


def _middle(weights: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the first and the last place of the middle 95% of each row of weights, each (rows,)."""
    sums = np.cumsum(weights, axis=1)
    tail = (1 - COVERAGE) / 2
    return (sums > tail).argmax(axis=1), (sums >= sums[:, -1:] - tail - 1e-12).argmax(axis=1)
