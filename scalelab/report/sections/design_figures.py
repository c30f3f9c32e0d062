"""The numbers of the figures of a design space: importances, effects, distributions, fronts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from scalelab.analysis.designspace import DesignSpace
from scalelab.analysis.designspace.bands import FrontBand
from scalelab.analysis.designspace.distributions import Distribution
from scalelab.analysis.trees import ALL, TreeModel
from scalelab.analysis.trees.result import Effect, Effects
from scalelab.arrays import Array
from scalelab.report.numbers import AXIS_LABELS, percent

MAX_CHOICES = 12
MAX_PAIRS = 10
MAX_EFFECTS = 8
_LOG_SPAN = 20.0
MEASURES = (
    ("forest", "gini", "Gini, forest"),
    ("forest", "permutation", "Permutation, forest"),
    ("boosting", "permutation", "Permutation, boosting"),
    ("xgboost", "permutation", "Permutation, XGBoost"),
    ("xgboost", "shap", "SHAP, XGBoost"),
)
"""Learner, measure and what a panel or a column of it is called."""


@dataclass(frozen=True, eq=False)
class Bars:
    """One panel of horizontal bars.

    Attributes:
        title: A line above it.
        values: For every row of the figure value, low, high; shape (rows, 3), NaN where there is none.
        noise: What chance reaches, a number for every row, shape (rows,).
        matters: Whether a row is told from chance, shape (rows,).
    """

    title: str
    values: Array
    noise: Array
    matters: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class BarFigure:
    """Panels of bars that share their rows.

    Attributes:
        name: A file name without its ending.
        title: A line above the figure.
        caption: What it shows and how to read it.
        x_label: What the bars measure.
        rows: Their labels, from top to bottom.
        panels: From left to right.
    """

    kind: ClassVar[str] = "design"
    name: str
    title: str
    caption: str
    x_label: str
    rows: tuple[str, ...]
    panels: tuple[Bars, ...]


@dataclass(frozen=True, eq=False)
class Line:
    """A line with its band.

    Attributes:
        label: What the legend says; may be empty.
        color: A whole number: the same for the same thing in all panels.
        x: Shape (points,).
        y: Shape (points,).
        low: Lower end of the band, shape (points,), NaN where there is none.
        high: Upper end.
        outer: A wider, fainter band, (low, high).
        points: Points beside the line, (x, y).
        steps: Whether the line is a staircase.
    """

    label: str
    color: int
    x: Array
    y: Array
    low: Array
    high: Array
    outer: tuple[Array, Array] | None = None
    points: tuple[Array, Array] | None = None
    steps: bool = False


@dataclass(frozen=True, eq=False)
class LinePanel:
    """One pair of axes.

    Attributes:
        title: A line above it.
        x_label: What the horizontal axis shows: a column of `runs`, or words.
        lines: What is drawn.
        log_x: Whether the horizontal axis is logarithmic.
        ticks: For values without order their names, drawn at 0, 1, 2 …
    """

    title: str
    x_label: str
    lines: tuple[Line, ...]
    log_x: bool = False
    ticks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LineFigure:
    """Panels of lines that share their vertical axis.

    Attributes:
        name: A file name without its ending.
        title: A line above the figure.
        caption: What it shows and how to read it.
        y_label: What the vertical axis shows.
        panels: Row by row, at most four in a row.
    """

    kind: ClassVar[str] = "design"
    name: str
    title: str
    caption: str
    y_label: str
    panels: tuple[LinePanel, ...]


def design_figures(design: DesignSpace, dataset: str, suffix: str = "") -> Iterator[BarFigure | LineFigure]:
    """Yields the figures of one dataset's design space."""
    metrics = sorted({one.space.metric for one in design.distributions if one.space.dataset == dataset})
    for number, metric in enumerate(metrics):
        end = suffix + (f"-{number + 1}" if number else "")
        models = [m for m in design.trees.models if (m.dataset, m.metric) == (dataset, metric)]
        for index, scope in enumerate(dict.fromkeys(model.scope for model in models)):
            own = {model.learner: model for model in models if model.scope == scope}
            yield _importances(own, f"design-importances{end}" + (f"-{scope}" if index else ""), design.level)
        for effects in design.trees.effects:
            if (effects.dataset, effects.metric, effects.scope) == (dataset, metric, ALL):
                yield from _effects(effects, end, design.level)
        found = [d for d in design.distributions if (d.space.dataset, d.space.metric) == (dataset, metric)]
        yield from _distributions(found, end, design.level)
        fronts = [front for front in design.fronts if (front.dataset, front.metric) == (dataset, metric)]
        if fronts:
            yield _fronts(fronts, end, design.level)


def scope_words(scope: str) -> str:
    """Returns a scope as people say it."""
    return "all optimizers" if scope == ALL else scope


def _importances(models: dict[str, TreeModel], name: str, level: float) -> BarFigure:
    first = next(iter(models.values()))
    choices = tuple(first.ranking()["choice"].head(MAX_CHOICES))
    panels = []
    for learner, measure, title in MEASURES:
        table = models[learner].ranking(measure).set_index("choice").reindex(list(choices))
        panels.append(
            Bars(
                title,
                table[["importance", "lower", "upper"]].to_numpy(dtype=float),
                table["noise"].to_numpy(dtype=float),
                table["matters"].to_numpy(dtype=bool),
            )
        )
    caption = (
        f"Bars: importance of each choice with {percent(level)} bootstrap intervals; line: what the best of "
        "the shuffled copies of the choices reaches; gray where the interval is not above it."
    )
    words = scope_words(first.scope)
    title = f"What decides {first.metric} on {first.dataset}, {words}"
    return BarFigure(name, title, caption, "Importance", choices, tuple(panels))


def _effects(effects: Effects, suffix: str, level: float) -> Iterator[BarFigure | LineFigure]:
    pairs = effects.interactions.head(MAX_PAIRS)
    if len(pairs):
        bars = Bars(
            "SHAP interactions, XGBoost",
            pairs[["strength", "lower", "upper"]].to_numpy(dtype=float),
            pairs["noise"].to_numpy(dtype=float),
            pairs["matters"].to_numpy(dtype=bool),
        )
        caption = (
            f"Bars: mean absolute interaction of two choices with {percent(level)} intervals; ticks: what "
            "the pair reaches where choices only add up; gray where the interval is not above it."
        )
        rows = tuple(f"{a} × {b}" for a, b in zip(pairs["first"], pairs["second"], strict=True))
        title = f"Which choices interact on {effects.dataset}"
        x_label = f"Standard deviations of {effects.metric}"
        yield BarFigure(f"design-interactions{suffix}", title, caption, x_label, rows, (bars,))
    if effects.partial:
        caption = (
            "Mean prediction of XGBoost at each value of a choice, all others as they are, with "
            f"{percent(level)} intervals over refits; fainter: where four fifths of single runs lie."
        )
        title = f"How {effects.metric} follows the choices on {effects.dataset}"
        panels = tuple(_effect(effect) for effect in effects.partial[:MAX_EFFECTS])
        y_label = f"Predicted {effects.metric}"
        yield LineFigure(f"design-effects{suffix}", title, caption, y_label, panels)


def _effect(effect: Effect) -> LinePanel:
    values = [value for value in effect.values if not isinstance(value, str)]
    x = np.array(values if effect.ordered else np.arange(len(effect.values)), dtype=float)
    y, low, high = (np.array(numbers) for numbers in (effect.mean, effect.lower, effect.upper))
    outer = np.array(effect.ice_lower), np.array(effect.ice_upper)
    line = Line("", 0, x, y, low, high, outer)
    log_x = effect.ordered and _is_logarithmic(x)
    ticks = () if effect.ordered else tuple(map(str, effect.values))
    return LinePanel("", effect.choice, (line,), log_x, ticks)


def _is_logarithmic(values: Array) -> bool:
    """Whether positive values crowd at their lower end, as those drawn evenly in the logarithm do."""
    low, high = float(values.min()), float(values.max())
    return low > 0 and high / low > _LOG_SPAN and float(np.median(values)) < (low + high) / 4


def _distributions(found: list[Distribution], suffix: str, level: float) -> Iterator[LineFigure]:
    if not found:
        return
    dataset, error = found[0].space.dataset, found[0].space.error
    kinds = list(dict.fromkeys(one.space.by for one in found))
    edf, best = [], []
    for by in kinds:
        own = [one for one in found if one.space.by == by]
        title = "" if by == "all" else f"by {by}"
        edf.append(LinePanel(title, f"Error: {error}", tuple(_edf(one, i) for i, one in enumerate(own))))
        lines = tuple(_best_of(one, i) for i, one in enumerate(own))
        best.append(LinePanel(title, "Designs drawn", lines, log_x=True))
    caption = f"Share of the designs whose error is at most that, with {percent(level)} bootstrap bands."
    title = f"Error distributions on {dataset}"
    yield LineFigure(f"design-edf{suffix}", title, caption, "Share of designs", tuple(edf))
    caption = (
        "Expected error of the best of so many designs drawn without replacement, with "
        f"{percent(level)} bootstrap bands; where nearly all designs are drawn, bands are too narrow."
    )
    title = f"The best of n designs on {dataset}"
    yield LineFigure(f"design-best-of{suffix}", title, caption, f"Error: {error}", tuple(best))


def _edf(one: Distribution, color: int) -> Line:
    x, y, low, high = (one.edf[name].to_numpy(dtype=float) for name in ("error", "share", "lower", "upper"))
    return Line(f"{one.space.name} ({len(one.space.designs)})", color, x, y, low, high, steps=True)


def _best_of(one: Distribution, color: int) -> Line:
    x, y, low, high = (one.best_of[name].to_numpy(dtype=float) for name in ("n", "error", "lower", "upper"))
    return Line(one.space.name, color, x, y, low, high)


def _fronts(fronts: list[FrontBand], suffix: str, level: float) -> LineFigure:
    optimizers = sorted({front.optimizer for front in fronts})
    panels = tuple(
        LinePanel(
            "",
            cost,
            tuple(_front(front, optimizers.index(front.optimizer)) for front in fronts if front.cost == cost),
            log_x=True,
        )
        for cost in dict.fromkeys(front.cost for front in fronts)
    )
    caption = (
        "Least error that a budget buys, each optimizer by itself; bands: the same for resampled designs "
        f"({percent(level)}), which can only be worse; points: all designs."
    )
    title = f"Pareto fronts on {fronts[0].dataset}"
    return LineFigure(f"design-fronts{suffix}", title, caption, f"Error: {fronts[0].error}", panels)


def _front(front: FrontBand, color: int) -> Line:
    x, y, low, high = (
        front.band[name].to_numpy(dtype=float) for name in (front.cost, "error", "lower", "upper")
    )
    both = [front.members, front.others]
    costs, errors = (
        np.concatenate([table[name].to_numpy(dtype=float) for table in both])
        for name in (front.cost, "error")
    )
    return Line(front.optimizer, color, x, y, low, high, points=(costs, errors), steps=True)


def axis_label(text: str) -> str:
    """Returns the words of an axis: those of a column of `runs`, or the text itself."""
    return AXIS_LABELS.get(text, text)
