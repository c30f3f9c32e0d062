"""The numbers of every figure: what is drawn, in data units, before any pixel.

`scalelab.report.drawing.panels` turns each of these into a Matplotlib figure; tests assert the numbers here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.analyze import Analysis
from scalelab.analysis.families.laws import FittedLaw, curve_scales
from scalelab.analysis.runs.designs import split
from scalelab.analysis.runs.frontier import Front
from scalelab.analysis.runs.selection import AXES, JOINT
from scalelab.analysis.trees import ALL, TreeModel
from scalelab.arrays import Array
from scalelab.report.names import family_names, family_of, law_symbol
from scalelab.report.numbers import greek, percent, plain
from scalelab.report.sections.design_figures import BarFigure, LineFigure, design_figures

if TYPE_CHECKING:
    import pandas as pd


MAX_CURVES = 60
MAX_PANELS = 4
MAX_CHOICES = 12


class Band(NamedTuple):
    """A line with an interval around it; arrays of shape (points,)."""

    x: Array
    mean: Array
    low: Array
    high: Array


@dataclass(frozen=True, eq=False)
class Series:
    """One family's points, and the line through them where there is one.

    Attributes:
        label: What the legend says.
        color: A whole number: the same for the same family (or optimizer) in all panels.
        x: Shape (points,).
        y: Shape (points,).
        error: Standard deviation over seeds, shape (points,), NaN where unknown.
        band: The law or, for a front, nothing.
        extrapolated_from: Where the line leaves the points.
        others: Points beside it that the line is not about, (x, y); may be empty.
        steps: The staircase of a front, (x, y).
        level: For lines that belong to a level of another axis, its value.
    """

    label: str
    color: int
    x: Array
    y: Array
    error: Array | None = None
    band: Band | None = None
    extrapolated_from: float | None = None
    others: tuple[Array, Array] | None = None
    steps: tuple[Array, Array] | None = None
    level: float | None = None


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes.

    Attributes:
        title: A line above it.
        x_axis: The column on the horizontal axis.
        y_label: What the vertical axis shows.
        series: What is drawn.
        log_y: Whether the vertical axis is logarithmic.
    """

    title: str
    x_axis: str
    y_label: str
    series: tuple[Series, ...]
    log_y: bool = True


@dataclass(frozen=True, eq=False)
class PanelFigure:
    """Panels side by side, in several rows where there are many.

    Attributes:
        name: A file name without its ending.
        title: A line above the figure.
        caption: What it shows and how to read it, in a sentence or two.
        panels: From left to right, row by row.
        kind: `laws`, `grid`, `multipliers`, `isoflops`, `optima`, `fronts` or `curves`.
        level_label: What the levels of series are, where a color bar shows them.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    kind: str
    level_label: str = ""


@dataclass(frozen=True, eq=False)
class TreeFigure:
    """Importances, a panel a scope, and held-out predictions of the model over all runs.

    Attributes:
        name: A file name without its ending.
        title: A line above the figure.
        caption: What it shows and how to read it.
        metric: Name of the objective.
        choices: The choices, most important over all first.
        bars: By scope, for every choice: importance, low, high; (choices, 3), NaN where it did not vary.
        matters: By scope, for every choice whether its interval is above zero.
        observed: Objective of the runs, shape (runs,).
        predicted: Held-out predictions, shape (runs,).
        r: Pearson's correlation of the two, with its interval, as text.
    """

    name: str
    title: str
    caption: str
    metric: str
    choices: tuple[str, ...]
    bars: dict[str, Array]
    matters: dict[str, NDArray[np.bool_]]
    observed: Array
    predicted: Array
    r: str


AnyFigure = PanelFigure | TreeFigure | BarFigure | LineFigure


def figures_of(analysis: Analysis) -> tuple[AnyFigure, ...]:
    """Returns the numbers of every figure that the analysis has something for."""
    from scalelab.report.sections.comparison_figures import comparison_figures, optimum_figures

    figures: list[AnyFigure] = []
    for index, dataset in enumerate(sorted(analysis.runs["dataset_label"].unique())):
        suffix = f"-{index + 1}" if index else ""
        figures += law_figures(analysis, dataset, suffix)
        figures += grid_figures(analysis, dataset, suffix)
        figures += comparison_figures(analysis, dataset, suffix)
        figures += optimum_figures(analysis, dataset, suffix)
        figures += front_figures(analysis, dataset, suffix)
        figures += tree_figures(analysis, dataset, suffix)
        if analysis.design is not None:
            figures += design_figures(analysis.design, dataset, suffix)
        figures += curve_figures(analysis, dataset, suffix)
    return tuple(figures)


def law_figures(analysis: Analysis, dataset: str, suffix: str = "") -> Iterator[PanelFigure]:
    """Yields the loss against every axis that has a fitted law, a panel each."""
    name = family_names(map(family_of, analysis.laws))
    colors = _colors(name(family_of(law)) for law in analysis.laws)
    panels = []
    for axis in AXES:
        laws = [law for law in analysis.fitted if law.axis == axis and law.family.dataset == dataset]
        if laws:
            series = tuple(_law_series(law, name(law.family), colors, analysis.runs) for law in laws)
            places = {law.points.where for law in laws}
            title = law_symbol(laws[0]) + (f" {places.pop()}" if len(places) == 1 else "")
            panels.append(Panel(title.strip(), axis, "Validation loss", series))
    if panels:
        caption = (
            "Points: means over seeds with their standard deviation; lines: fitted laws with "
            f"{percent(analysis.level)} bands, dashed beyond the data; open points: runs off the frontier."
        )
        yield PanelFigure(f"laws{suffix}", f"Scaling laws on {dataset}", caption, tuple(panels), "laws")


def _law_series(law: FittedLaw, label: str, colors: dict[str, int], runs: pd.DataFrame) -> Series:
    (axis,) = law.points.axes
    rows, curve = law.points.rows, law.curve
    assert curve is not None
    exponents = ", ".join(f"{greek(name)} = {plain(law.params[name].value, 2)}" for name in law.exponents)
    return Series(
        label=f"{label}: {exponents}" if exponents else label,
        color=colors[label],
        x=_array(rows[axis]),
        y=_array(rows["loss"]),
        error=_array(rows["loss_std"]),
        band=Band(*(_array(curve[column]) for column in (axis, "mean", "lower", "upper"))),
        extrapolated_from=float(rows[axis].max()),
        others=_others(law, runs) if axis == "train_flops" else None,
    )


def _others(law: FittedLaw, runs: pd.DataFrame) -> tuple[Array, Array]:
    """Returns training FLOPs and loss of the family's runs."""
    family = law.family
    own = runs[
        (runs["dataset_label"] == family.dataset)
        & (runs["architecture"] == family.architecture)
        & (runs["optimizer"] == family.optimizer)
    ].dropna(subset=["train_flops"])
    return _array(own["train_flops"]), _array(own["loss"])


def grid_figures(analysis: Analysis, dataset: str, suffix: str = "") -> Iterator[PanelFigure]:
    """Yields the joint law: loss against model size, a line a data size, a panel a family."""
    name = family_names(map(family_of, analysis.laws))
    joint = [
        law
        for law in analysis.fitted
        if law.axis == JOINT and law.family.dataset == dataset and len(law.points.axes) == 2
    ]
    panels = tuple(
        Panel(name(law.family), "n_params", "Validation loss", tuple(_grid_series(law)))
        for law in joint[:MAX_PANELS]
    )
    if panels:
        caption = (
            f"Points: means over seeds; lines: {joint[0].law}, {joint[0].equation}, "
            "one for each number of training examples."
        )
        title = f"Loss by model and data size on {dataset}"
        yield PanelFigure(f"grid{suffix}", title, caption, panels, "grid", "Training examples D")


def _grid_series(law: FittedLaw) -> Iterator[Series]:
    rows = law.points.rows
    scales = curve_scales(_array(rows["n_params"]))
    for (n_examples,), cells in split(rows, ["n_examples"]):
        predicted = law.fit.predict(
            {"n_params": scales, "n_examples": np.full(scales.size, float(n_examples))}
        )
        yield Series(
            label=f"{int(n_examples):,}",
            color=0,
            x=_array(cells["n_params"]),
            y=_array(cells["loss"]),
            error=_array(cells["loss_std"]),
            band=Band(scales, predicted, predicted, predicted),
            extrapolated_from=float(rows["n_params"].max()),
            level=float(n_examples),
        )


def front_figures(analysis: Analysis, dataset: str, suffix: str = "") -> Iterator[PanelFigure]:
    """Yields the Pareto fronts of the objective, a panel for each cost, a figure for each metric."""
    fronts = [front for front in analysis.fronts if front.dataset == dataset]
    colors = _colors(front.optimizer for front in analysis.fronts)
    for number, metric in enumerate(sorted({front.metric for front in fronts})):
        of_metric = [front for front in fronts if front.metric == metric]
        panels = tuple(
            _front_panel([front for front in of_metric if front.cost == cost], colors)
            for cost in dict.fromkeys(front.cost for front in of_metric)
        )
        better = "higher" if of_metric[0].direction == "maximize" else "lower"
        caption = (
            "Filled points and steps: designs (means over seeds) that no other of the same optimizer beats "
            f"in both cost and {metric} ({better} is better); faint points: all others."
        )
        name = f"front{suffix}" + (f"-{number + 1}" if number else "")
        yield PanelFigure(name, f"Pareto fronts of {metric} on {dataset}", caption, panels, "fronts")


def _front_panel(fronts: list[Front], colors: dict[str, int]) -> Panel:
    cost, metric = fronts[0].cost, fronts[0].metric
    largest = max(max(f.points[cost].max(), f.others[cost].max() if len(f.others) else 0.0) for f in fronts)
    series = tuple(
        Series(
            label=front.optimizer,
            color=colors[front.optimizer],
            x=_array(front.points[cost]),
            y=_array(front.points["objective"]),
            error=_array(front.points["objective_std"]),
            others=(_array(front.others[cost]), _array(front.others["objective"])),
            steps=front.steps(float(largest)),
        )
        for front in fronts
    )
    return Panel("", cost, "Validation loss" if metric == "loss" else metric, series, log_y=metric == "loss")


def tree_figures(analysis: Analysis, dataset: str, suffix: str = "") -> Iterator[TreeFigure]:
    """Yields importances and held-out predictions of the tree models, a figure for each metric."""
    models = [tree for tree in analysis.forests if tree.dataset == dataset]
    for number, metric in enumerate(sorted({tree.metric for tree in models})):
        by_scope = {tree.scope: tree for tree in models if tree.metric == metric}
        if ALL not in by_scope:
            continue
        name = f"importances{suffix}" + (f"-{number + 1}" if number else "")
        yield _tree_figure(name, dataset, metric, by_scope, analysis.level)


def _tree_figure(
    name: str, dataset: str, metric: str, by_scope: dict[str, TreeModel], level: float
) -> TreeFigure:
    overall = by_scope[ALL]
    choices = tuple(overall.ranking()["choice"].head(MAX_CHOICES))
    bars, matters = {}, {}
    for scope, tree in list(by_scope.items())[:MAX_PANELS]:
        table = tree.ranking().set_index("choice").reindex(list(choices))
        bars[scope] = table[["importance", "lower", "upper"]].to_numpy(dtype=float)
        matters[scope] = table["matters"].eq(True).to_numpy(dtype=bool)
    r, low, high = overall.score("pearson")
    caption = (
        "Bars: how much the squared error on held-out designs rises when a choice is shuffled, as a share of "
        f"the variance of {metric}, with {percent(level)} intervals; gray where it is not told from noise. "
        "Points: every run against its prediction by models that did not see its design."
    )
    return TreeFigure(
        name=name,
        title=f"What decides {metric} on {dataset}",
        caption=caption,
        metric=metric,
        choices=choices,
        bars=bars,
        matters=matters,
        observed=_array(overall.predictions["observed"]),
        predicted=_array(overall.predictions["predicted"]),
        r=f"r = {r:.2f} [{low:.2f}, {high:.2f}]",
    )


def curve_figures(analysis: Analysis, dataset: str, suffix: str = "") -> Iterator[PanelFigure]:
    """Yields the learning curves, a panel for each optimizer, at most `MAX_CURVES` of them a panel."""
    if analysis.curves is None or analysis.curves.empty or "trial_id" not in analysis.runs.columns:
        return
    runs = analysis.runs[analysis.runs["dataset_label"] == dataset].dropna(subset=["n_params"])
    panels = []
    for (optimizer,), own in list(split(runs, ["optimizer"]))[:MAX_PANELS]:
        series = tuple(_curve_series(own, analysis.curves))
        if series:
            panels.append(Panel(str(optimizer), "train_flops", "Validation loss", series))
    if panels:
        caption = (
            "Validation loss of each run along its training, colored by model size"
            f"; of more than {MAX_CURVES} runs, {MAX_CURVES} evenly spaced in size."
        )
        title = f"Learning curves on {dataset}"
        yield PanelFigure(f"curves{suffix}", title, caption, tuple(panels), "curves", "Parameters N")


def _curve_series(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Series]:
    ordered = runs.sort_values(["n_params", "n_examples"], kind="stable")
    picks = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), MAX_CURVES)).round().astype(int))
    chosen = ordered.iloc[picks].set_index("trial_id")["n_params"]
    points = curves[curves["trial_id"].isin(chosen.index)].dropna(subset=["train_flops", "loss"])
    if "attempt" in points.columns:
        points = points[points["attempt"] == points.groupby("trial_id")["attempt"].transform("max")]
    points = points.drop_duplicates(["trial_id", "step"]).sort_values("step", kind="stable")
    by_trial = {trial_id: own for (trial_id,), own in split(points, ["trial_id"])}
    for trial_id, n_params in chosen.items():
        if trial_id in by_trial:
            own = by_trial[trial_id]
            yield Series("", 0, _array(own["train_flops"]), _array(own["loss"]), level=float(n_params))


def _colors(labels: Iterator[str]) -> dict[str, int]:
    return {label: index for index, label in enumerate(sorted(set(labels)))}


def _array(column: pd.Series) -> Array:
    return column.to_numpy(dtype=float)
