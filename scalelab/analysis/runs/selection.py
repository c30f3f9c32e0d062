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

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalelab.analysis.runs.frontier import pareto_mask
from scalelab.arrays import Array
from scalelab.errors import FitError

if TYPE_CHECKING:
    import pandas as pd

AXES = ("n_params", "n_examples", "train_flops")
JOINT = "joint"
GRID_AXES = ("n_params", "n_examples")
MIN_SCALES = 4
MIN_GRID = 3

SYMBOLS = {"n_params": "N", "n_examples": "D", "train_flops": "C", "epochs": "epochs"}
_NOUNS = {
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
    return f"{n} {_NOUNS[axis]}{ending}" if axis in _NOUNS else f"{n} value{ending} of {axis}"


@dataclass(frozen=True, eq=False)
class Points:
    """What a law is fitted to.

    Attributes:
        axes: The columns that are its axes.
        rows: One row a point: the axes, `loss` (mean over seeds), `loss_std`, `n_runs`.
        selection: How the points were chosen, as text.
        where: The same in a few words, such as `"at D = 40,000"`.
    """

    axes: tuple[str, ...]
    rows: pd.DataFrame
    selection: str
    where: str

    @property
    def x(self) -> dict[str, Array]:
        """The scales by axis, each of shape (points,)."""
        return {axis: self.rows[axis].to_numpy(dtype=float) for axis in self.axes}

    @property
    def loss(self) -> Array:
        """The losses, shape (points,)."""
        return self.rows["loss"].to_numpy(dtype=float)

    def beyond(self, axis: str, scale: float) -> float:
        """Returns how many times the largest scale of an axis another one is."""
        return scale / float(self.rows[axis].max())

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
    best = _best_of_each(rows, (axis,))
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
    return Points((axis,), best, chosen + _settings_words(rows, best), where)


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


def _frontier_points(designs: pd.DataFrame) -> Points:
    known = _with_loss(designs).dropna(subset=["train_flops"])
    if known.empty:
        raise FitError("no finished run records its train_flops")
    front = known[pareto_mask(known["train_flops"], known["loss"])]
    best = _best_of_each(front, ("train_flops",))
    if len(best) < MIN_SCALES:
        raise FitError(
            f"a law in C needs {MIN_SCALES} points on the compute-efficient frontier, "
            f"{len(best)} of {len(known)} designs are on it; add runs of other sizes and lengths"
        )
    chosen = f"the {len(best)} of {len(known)} designs on the compute-efficient frontier"
    return Points(("train_flops",), best, chosen, "on the frontier")


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
    best = _best_of_each(rows, axes)
    few = {name: best[name].nunique() for name in axes if best[name].nunique() < MIN_GRID}
    if few:
        counts = " and ".join(_counted(n, name) for name, n in few.items())
        raise FitError(f"a law in {' and '.join(map(symbol, axes))} needs {MIN_GRID} of each, got {counts}")
    return Points(axes, best, f"{len(best)} cells of the grid" + _settings_words(rows, best), "on the grid")


def _recorded(designs: pd.DataFrame, axes: tuple[str, ...]) -> None:
    for name in axes:
        if name not in designs.columns or designs[name].isna().all():
            raise FitError(f"no finished run records its {name}")


def _with_loss(designs: pd.DataFrame) -> pd.DataFrame:
    known = designs.dropna(subset=["loss"])
    if known.empty:
        raise FitError("no finished run records its loss, which is what a law describes")
    return known


def _best_of_each(rows: pd.DataFrame, axes: tuple[str, ...], *, keep: tuple[str, ...] = ()) -> pd.DataFrame:
    """Keeps the design of the lowest mean loss at every distinct scale, in the order of the scales."""
    best = rows.sort_values("loss", kind="stable").drop_duplicates(list(axes))
    columns = [*axes, "loss", "loss_std", "n_runs", *keep]
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
    runs["passes"] = passes.map(lambda number: float(f"{max(number, 1.0):.3g}"))
    levels = sorted(runs["unique"].unique(), reverse=True)
    sets = [("passes", number) for number in sorted(runs["passes"].unique())]
    sets += [("unique", level) for level in levels]
    grids = [(kind, value) for kind, value in sets if _is_grid(runs[runs[kind] == value])]
    if not grids:
        largest = runs[runs["unique"] == levels[0]]
        lengths = sorted(largest["n_examples"].unique())
        seen = f"all saw {lengths[0]:,.0f}" if len(lengths) == 1 else f"{len(lengths)} lengths"
        raise FitError(
            f"how to split compute between size and training needs runs of {MIN_GRID} model sizes and "
            f"{MIN_GRID} lengths at one data size, got {largest['n_params'].nunique()} sizes at "
            f"D = {levels[0]:,.0f} ({seen} examples); vary the length, as sampling.method = 'isoflop' does"
        )
    kind, value = max(grids, key=lambda grid: int((runs[grid[0]] == grid[1]).sum()))
    keep = ("train_flops", "unique", "passes")
    best = _best_of_each(runs[runs[kind] == value], GRID_AXES, keep=keep)
    if kind == "unique":
        where = f"at {value:,.0f} unique examples"
    else:
        where = "that saw each example once" if value == 1.0 else f"of {value:g} passes over their data"
    counted = "" if value == 1.0 and kind == "passes" else ", D counts examples seen"
    return Points(GRID_AXES, best, f"{len(best)} designs {where}{counted}", where)


def _is_grid(runs: pd.DataFrame) -> bool:
    return all(runs[name].nunique() >= MIN_GRID for name in GRID_AXES)
