"""Which runs a law is about, decided before anything is fitted.

This is done the textbook way (Kaplan et al. 2020, section 3; Hoffmann et al. 2022,
section 3), after averaging over seeds:

- L(N) at the largest data size, at each model size its best setting;
- L(D) at the largest model, at each data size its best setting;
- L(C) on the compute-efficient frontier: the designs that no other beats in both training FLOPs and loss;
- L(N, D) on the grid of model and data sizes, in each cell its best setting; likewise of any other axes;
- along any other axis, at the largest model, else at the largest data size, at each value its best setting;
  over all runs where it moves with both, as a network's width does.

The largest level of the held axis is used that has enough sizes of the other one, and every result says which
that was. The loss of a run is that of its best validation, after its whole training schedule: points along
one learning curve are not runs of a shorter training, whose learning rate would have decayed earlier.
- how to spend compute (`training_points`): model size against examples *seen*, repeats counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from scalelab.analysis.fits.isoflops import SAME_BUDGET
from scalelab.analysis.inference.trend import refuse_no_trend
from scalelab.analysis.runs.designs import FACTS
from scalelab.analysis.runs.frontier import pareto_mask
from scalelab.analysis.runs.lengths import alike_passes, common_length, mixed_lengths
from scalelab.analysis.runs.rates import Rates, rates_of
from scalelab.analysis.runs.uncounted import COMPUTE, compute_doubts
from scalelab.arrays import Array, Index
from scalelab.errors import FitError

if TYPE_CHECKING:
    import pandas as pd

AXES = ("n_params", "n_examples", "train_flops")
JOINT = "joint"
GRID_AXES = ("n_params", "n_examples")
MIN_SCALES = 4
MIN_GRID = 3
_EARLY = 0.75

SYMBOLS = {"n_params": "N", "n_examples": "D", "train_flops": "C", "epochs": "epochs"}
NOUNS = {
    "n_params": "model size",
    "n_examples": "data size",
    "train_flops": "compute budget",
    "epochs": "length",
}


def symbol(axis: str) -> str:
    """Returns what an axis is called in short."""
    return SYMBOLS.get(axis, axis)


def _counted(n: int, axis: str) -> str:
    """Returns such as `4 model sizes`, or `4 values of n_experts`."""
    ending = "s" if n != 1 else ""
    return f"{n} {NOUNS[axis]}{ending}" if axis in NOUNS else f"{n} value{ending} of {axis}"


@dataclass(frozen=True, eq=False)
class Points:
    """What a law is fitted to.

    Attributes:
        axes: The columns that are its axes.
        rows: One row a point: the axes, `loss` (mean over seeds), `loss_std`, `n_runs`, and `losses`, those
            of the single runs.
        selection: How the points were chosen, as text.
        where: The same in a few words, such as `"at D = 40,000"`.
        largest: By axis the largest scale of all runs that they were chosen from, where that is beyond them.
        rates: Their learning rates; `None` where they are not recorded.
    """

    axes: tuple[str, ...]
    rows: pd.DataFrame
    selection: str
    where: str
    largest: Mapping[str, float] = field(default_factory=dict)
    rates: Rates | None = None

    @property
    def x(self) -> dict[str, Array]:
        """The scales of the single runs by axis, each of shape (runs,)."""
        return {axis: self.of_runs(axis) for axis in self.axes}

    @property
    def loss(self) -> Array:
        """The losses of the single runs, shape (runs,)."""
        known = self.rows["losses"]
        return np.concatenate(known.to_list()) if len(known) else np.empty(0)

    def of_runs(self, column: str) -> Array:
        """Returns a column of numbers of the rows, once for each of their runs, shape (runs,)."""
        return np.repeat(self.rows[column].to_numpy(dtype=float), self.rows["losses"].map(len))

    @property
    def errors(self) -> Array | None:
        """The relative standard errors that the losses bring with them, shape (runs,); `None` without any."""
        known = "loss_error" in self.rows and bool((self.rows["loss_error"] > 0).any())
        return self.of_runs("loss_error") if known else None

    @property
    def means(self) -> tuple[dict[str, Array], Array]:
        """The scales by axis and the mean losses, each of shape (points,)."""
        x = {axis: self.rows[axis].to_numpy(dtype=float) for axis in self.axes}
        return x, self.rows["loss"].to_numpy(dtype=float)

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """What sets these points apart beside their scales, a sentence each."""
        rows = self.rows
        found = []
        for name in ("precision", "schedule"):
            kinds = sorted(map(str, rows[name].dropna().unique())) if name in rows else []
            if len(kinds) > 1:
                found.append(f"the runs differ in {name} ({', '.join(kinds)}): the law mixes them")
        lengths = mixed_lengths(rows)
        if lengths and "train_flops" not in self.axes and "epochs" not in self.axes:
            found.append(f"the runs differ in length ({lengths}): the law mixes them")
        early = int((rows["best_share"] < _EARLY).sum()) if "best_share" in rows else 0
        if early:
            found.append(
                f"{early} of {len(rows)} points were at their best before {_EARLY:.0%} of their training: "
                "they say little of a longer one, and compute is counted to its end"
            )
        compute = compute_doubts(rows) if {*COMPUTE} & {*self.axes} else ()
        return (*found, *compute, *(self.rates.doubts if self.rates else ()))

    def beyond(self, axis: str, scale: float) -> float:
        """Returns how many times the largest scale of an axis that was run another one is."""
        return scale / self.largest.get(axis, float(self.rows[axis].max()))

    def below(self, axis: str, scale: float) -> float:
        """Returns how many times a scale the smallest of the points is."""
        return float(self.rows[axis].min()) / scale

    @property
    def decades(self) -> dict[str, float]:
        """How many powers of ten each axis spans."""
        return {axis: float(np.log10(self.rows[axis].max() / self.rows[axis].min())) for axis in self.axes}


def axis_points(designs: pd.DataFrame, axis: str) -> Points:
    """Chooses the points of a law of one axis, as the module says.

    Args:
        designs: The designs of one family.
        axis: One of `AXES`, or another column that is an axis.

    Raises:
        FitError: The axis has fewer than `MIN_SCALES` scales.
    """
    if axis == "train_flops":
        return _frontier_points(designs)
    _recorded(designs, (axis,))
    known = _with_loss(designs).dropna(subset=[axis])
    other, held = _held(known, axis)
    rows = known if held is None else known[known[other] == held]
    best = best_of_each(rows, (axis,))
    where = "" if held is None else f"at {symbol(other)} = {held:,.0f}"
    if len(best) < MIN_SCALES:
        raise FitError(
            f"a law in {symbol(axis)} needs {_counted(MIN_SCALES, axis)}, "
            f"got {len(best)} {where or 'in all'}; add some to the study"
        )
    largest = (
        "the largest" if held == known[other].max() else f"the largest with {_counted(MIN_SCALES, axis)}"
    )
    chosen = _counted(len(best), axis) + (f" {where} ({largest})" if where else "")
    rates = rates_of(rows, best, (axis,))
    return Points((axis,), best, chosen + _settings_words(rows, best), where, rates=rates)


def _held(known: pd.DataFrame, axis: str) -> tuple[str, float | None]:
    """Returns what is held while an axis varies and at which level; of an axis of its own perhaps nothing."""
    others = {"n_params": ["n_examples"], "n_examples": ["n_params"]}.get(axis, ["n_params", "n_examples"])
    for other in others:
        levels = known.groupby(other)[axis].nunique().sort_index(ascending=False)
        enough = levels[levels >= MIN_SCALES]
        if len(enough):
            return other, float(enough.index[0])
        if len(others) == 1 and len(levels):
            return other, float(levels.index[0])
    return others[0], None


class EdgeError(FitError):
    """The compute-efficient frontier lies at the edge of the grid of runs.

    Attributes:
        along: The axis of `GRID_AXES` that compute went into, most of it at the other's largest scale.
    """

    def __init__(self, message: str, along: str, remedies: Iterable[str] = ("sizes",)) -> None:
        super().__init__(message, remedies)
        self.along = along


def _frontier_points(designs: pd.DataFrame) -> Points:
    """Chooses the points of a law of compute.

    Designs whose compute differs by 15% at most are one budget, and the best of them its point. A point at
    the largest model or the most data that the family tried says what the grid holds and not what its compute
    could buy: such points are left out.
    """
    known = _with_loss(designs).dropna(subset=["train_flops"])
    if known.empty:
        raise FitError("no finished run records its train_flops")
    front = known[pareto_mask(known["train_flops"], known["chosen"])]
    front = front.loc[front.groupby(_budgets(front["train_flops"]))["chosen"].idxmin()]
    edges = _at_edge(known, front)
    edge = np.any(list(edges.values()), axis=0) if edges else np.zeros(len(front), dtype=bool)
    best = best_of_each(front[~edge], ("train_flops",))
    left_out = int(edge.sum())
    if len(front) < MIN_SCALES:
        raise FitError(
            f"a law in C needs {MIN_SCALES} points on the compute-efficient frontier, "
            f"{len(front)} of {len(known)} designs are on it; add runs of other sizes and lengths",
            ("sizes", "lengths"),
        )
    if len(best) < MIN_SCALES:
        held = max(edges, key=lambda axis: edges[axis].sum())
        along = GRID_AXES[held == GRID_AXES[0]]
        raise EdgeError(
            f"{left_out} of {len(front)} designs on the compute-efficient frontier lie at the edge of the "
            "grid (the largest model, or the most data): more compute may reach less than the grid shows; "
            f"ask along {along}, or add larger models and more data",
            along,
        )
    words = f" that have neither the largest model nor the most data, of {len(front)}" if left_out else ""
    chosen = f"the {len(best)} of {len(known)} designs on the compute-efficient frontier{words}"
    most = {"train_flops": float(known["train_flops"].max())}
    rates = rates_of(known, best, ("train_flops",))
    return Points(("train_flops",), best, chosen, "on the frontier", most, rates)


def _budgets(flops: pd.Series) -> Index:
    """Numbers budgets: what costs at most 15% more than the cheapest of one belongs to it; shape (n,).

    Gaps, as `budgets_of` looks for in an isoFLOP experiment, would make one budget of a dense grid.
    """
    budgets = np.zeros(len(flops), dtype=int)
    first, number = -np.inf, -1
    for place in np.argsort(flops.to_numpy(), kind="stable"):
        if flops.iloc[place] > SAME_BUDGET * first:
            first, number = float(flops.iloc[place]), number + 1
        budgets[place] = number
    return budgets


def _at_edge(known: pd.DataFrame, front: pd.DataFrame) -> dict[str, Index]:
    """Returns by axis of `GRID_AXES` which designs of a frontier are at its largest scale, shape (designs,).

    Where all designs had the same data, their length stands for it.
    """
    edges = {}
    for axis in GRID_AXES:
        scales, own = known[axis], front[axis]
        if axis == "n_examples" and scales.nunique() == 1 and known["epochs"].nunique() > 1:
            scales, own = known["epochs"], front["epochs"]
        if scales.notna().any():
            edges[axis] = (own >= scales.max()).to_numpy()
    return edges


def grid_points(designs: pd.DataFrame, axes: tuple[str, ...]) -> Points:
    """Chooses the points of a law of several axes: the best setting of each cell of their grid.

    Args:
        designs: The designs of one family.
        axes: The law's axes.

    Raises:
        FitError: An axis is unknown here, or has fewer than `MIN_GRID` scales.
    """
    _recorded(designs, axes)
    rows = _with_loss(designs).dropna(subset=list(axes))
    best = best_of_each(rows, axes)
    few = {name: best[name].nunique() for name in axes if best[name].nunique() < MIN_GRID}
    if few:
        counts = " and ".join(_counted(n, name) for name, n in few.items())
        raise FitError(f"a law in {' and '.join(map(symbol, axes))} needs {MIN_GRID} of each, got {counts}")
    chosen = f"{len(best)} cells of the grid" + common_length(best) + _settings_words(rows, best)
    return Points(axes, best, chosen, "on the grid", rates=rates_of(rows, best, axes))


def _recorded(designs: pd.DataFrame, axes: tuple[str, ...]) -> None:
    for name in axes:
        if name not in designs.columns or designs[name].isna().all():
            raise FitError(f"no finished run records its {name}")


def _with_loss(designs: pd.DataFrame) -> pd.DataFrame:
    known = designs.dropna(subset=["loss"])
    if known.empty:
        raise FitError("no finished run records its loss, which is what a law describes")
    return known


def best_of_each(rows: pd.DataFrame, axes: tuple[str, ...], *, keep: tuple[str, ...] = ()) -> pd.DataFrame:
    """Keeps the design of the lowest mean validation loss at every scale, in the order of the scales."""
    best = rows.sort_values("chosen", kind="stable").drop_duplicates(list(axes))
    beside = (*FACTS, *GRID_AXES, "epochs", "train_flops")
    facts = [name for name in beside if name in best.columns and name not in (*axes, *keep)]
    errors = [name for name in ("loss_error",) if name in best.columns]
    columns = [*axes, "loss", "loss_std", "n_runs", "losses", *errors, *keep, *facts]
    return best.sort_values(list(axes))[columns].reset_index(drop=True)


def _settings_words(rows: pd.DataFrame, best: pd.DataFrame) -> str:
    return "" if len(rows) == len(best) else f", each the best of its settings ({len(rows)} in all)"


def training_points(designs: pd.DataFrame) -> Points:
    """Chooses the points that say how to spend compute: model size against examples seen.

    Compute buys parameters and examples *seen*. Designs belong together that saw each example once at most,
    that made the same number of passes over their data, or that had the same data, whose repetition is then
    part of the law. Of these sets the one with the most designs counts; of as many, the first of this list.

    Args:
        designs: The designs of one family.

    Returns:
        Points of `n_params` and `n_examples`, which here counts examples seen, with `train_flops` (NaN
        where unknown), `unique`, how many different examples there were, and `passes` over them (one at
        least); one of these two is the same everywhere.

    Raises:
        FitError: There are fewer than `MIN_GRID` sizes or lengths.
    """
    known = _with_loss(designs).dropna(subset=list(GRID_AXES))
    if known.empty:
        raise FitError("no finished run records its n_params and n_examples")
    passes = known["epochs"].fillna(1.0)
    runs = known.assign(unique=known["n_examples"], n_examples=known["n_examples"] * passes)
    runs["passes"] = alike_passes(np.maximum(passes.to_numpy(dtype=float), 1.0))
    levels = sorted(runs["unique"].unique(), reverse=True)
    sets = [("passes", number) for number in sorted(runs["passes"].unique())]
    sets += [("unique", level) for level in levels]
    scales = runs[[*GRID_AXES]]
    grids = [(kind, value) for kind, value in sets if _is_grid(scales[runs[kind] == value])]
    if not grids:
        largest = runs[runs["unique"] == levels[0]]
        lengths = sorted(largest["n_examples"].unique())
        seen = f"all saw {lengths[0]:,.0f}" if len(lengths) == 1 else f"{len(lengths)} lengths"
        raise FitError(
            f"how to split compute between size and training needs runs of {MIN_GRID} model sizes and "
            f"{MIN_GRID} lengths at one data size, got {largest['n_params'].nunique()} sizes at "
            f"D = {levels[0]:,.0f} ({seen} examples); vary the length too",
            ("sizes", "lengths"),
        )
    kind, value = max(grids, key=lambda grid: int((runs[grid[0]] == grid[1]).sum()))
    keep = ("train_flops", "unique", "passes")
    own = runs[runs[kind] == value]
    best = best_of_each(own, GRID_AXES, keep=keep)
    if kind == "unique":
        where = f"at {value:,.0f} unique examples"
    else:
        where = "that saw each example once" if value == 1.0 else f"of {value:g} passes over their data"
    counted = "" if value == 1.0 and kind == "passes" else ", D counts examples seen"
    others = runs[runs[kind] != value]
    if len(others):
        apart = ", ".join(f"{one:,.4g}" for one in sorted(others[kind].unique()))
        noun = "passes" if kind == "passes" else "unique examples"
        counted += f"; {len(others)} designs of {apart} {noun} are left out"
    rates = rates_of(own, best, GRID_AXES)
    return Points(GRID_AXES, best, f"{len(best)} designs {where}{counted}", where, rates=rates)


def _is_grid(runs: pd.DataFrame) -> bool:
    return all(runs[name].nunique() >= MIN_GRID for name in GRID_AXES)


def check_trend(points: Points, designs: pd.DataFrame) -> None:
    """Makes sure that the loss of some points of a family moves with their scales.

    Args:
        points: Some of the designs.
        designs: All of the family.

    Raises:
        FitError: The loss has no trend beyond its scatter.
    """
    everything = None
    # Compute is size and length at once, so that data alone stand beside it.
    axes = ("train_flops", "n_examples") if points.axes == ("train_flops",) else GRID_AXES
    if set(points.axes) < set(axes):
        rows = designs.dropna(subset=[*axes, "loss"])  # runs without the other scale say nothing of it
        if len(rows) >= len(points.rows):
            everything = {axis: rows[axis].to_numpy(dtype=float) for axis in axes}, rows["loss"].to_numpy()
    refuse_no_trend(*points.means, everything)
