"""The numbers of the figures of a design space: importances, effects, distributions, fronts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from scalelab.analysis.analyze import Analysis
from scalelab.analysis.designspace.bands import FrontBand
from scalelab.analysis.designspace.distributions import Distribution
from scalelab.analysis.trees.result import ALL, Effect, Effects, TreeModel
from scalelab.arrays import Array
from scalelab.report.names import grouped
from scalelab.report.numbers import percent
from scalelab.report.parts import MAX_CHOICES, Figure, Line, Panel, Series, array
from scalelab.report.sections.topic import figure
from scalelab.report.sections.trees import bars, importance_bars, scope_words

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


def design_figures(analysis: Analysis, dataset: str, suffix: str) -> Iterator[Figure]:
    """Yields the figures of one dataset's design space, if there is one."""
    design = analysis.design
    if design is None:
        return
    metrics = sorted({one.space.metric for one in design.distributions if one.space.dataset == dataset})
    for number, metric in enumerate(metrics):
        end = suffix + (f"-{number + 1}" if number else "")
        task = (dataset, metric)
        words = {"dataset": dataset, "metric": metric, "level": percent(design.level)}
        models = [model for model in design.trees.models if (model.dataset, model.metric) == task]
        for index, (scope, own) in enumerate(grouped(models, lambda model: model.scope).items()):
            yield _importances(own, end + (f"-{_file_name(scope, index)}" if index else ""), words)
        for effects in design.trees.effects:
            if (effects.dataset, effects.metric, effects.scope) == (*task, ALL):
                yield from _effects(effects, end, words)
        found = [one for one in design.distributions if (one.space.dataset, one.space.metric) == task]
        yield from _distributions(found, end, words)
        fronts = [front for front in design.fronts if (front.dataset, front.metric) == task]
        if fronts:
            yield _fronts(fronts, end, words)


def _file_name(name: str, index: int) -> str:
    """Returns a name from outside as a part of a file's name; and its number where that changes it."""
    safe = re.sub(r"[^A-Za-z0-9_+-]+", "-", name).strip("-")
    return safe if safe == name else f"{index}-{safe}".strip("-")


def _importances(models: list[TreeModel], suffix: str, words: Mapping[str, str]) -> Figure:
    first = models[0]
    own = {model.learner: model for model in models}
    choices = tuple(first.ranking()["choice"].head(MAX_CHOICES))
    panels = (
        importance_bars(head, own[learner].ranking(measure), choices) for learner, measure, head in MEASURES
    )
    found = figure("design-importances", suffix, panels, **words, scope=scope_words(first.scope))
    return replace(found, apart=first.scope != ALL)


def _effects(effects: Effects, suffix: str, words: Mapping[str, str]) -> Iterator[Figure]:
    pairs = effects.interactions.head(MAX_PAIRS)
    if len(pairs):
        rows = tuple(f"{a} × {b}" for a, b in zip(pairs["first"], pairs["second"], strict=True))
        x_label = f"Standard deviations of {effects.metric}"
        panel = bars("SHAP interactions, XGBoost", x_label, rows, pairs, "strength")
        yield figure("design-interactions", suffix, [panel], **words)
    if effects.partial:
        panels = (_effect(effect, f"Predicted {effects.metric}") for effect in effects.partial[:MAX_EFFECTS])
        yield figure("design-effects", suffix, panels, **words)


def _effect(effect: Effect, y_label: str) -> Panel:
    values = [value for value in effect.values if not isinstance(value, str)]
    x = np.array(values if effect.ordered else np.arange(len(effect.values)), dtype=float)
    band = np.column_stack([x, effect.mean, effect.lower, effect.upper])
    line = Line(band, outer=np.column_stack([effect.ice_lower, effect.ice_upper]))
    return Panel(
        "",
        effect.choice,
        y_label,
        (Series(line=line),),
        log_x=effect.ordered and _is_logarithmic(x),
        log_y=False,
        ticks=() if effect.ordered else tuple(map(str, effect.values)),
    )


def _is_logarithmic(values: Array) -> bool:
    """Whether positive values crowd at their lower end, as those drawn evenly in the logarithm do."""
    low, high = float(values.min()), float(values.max())
    return low > 0 and high / low > _LOG_SPAN and float(np.median(values)) < (low + high) / 4


def _distributions(found: list[Distribution], suffix: str, words: Mapping[str, str]) -> Iterator[Figure]:
    if not found:
        return
    label = f"Error: {found[0].space.error}"
    shares, best = [], []
    for by, own in grouped(found, lambda one: one.space.by).items():
        title = "" if by == "all" else f"by {by}"
        below, drawn = [], []
        for color, one in enumerate(own):
            name, n = one.space.name, len(one.space.designs)
            share = Line(array(one.edf, "error", "share", "lower", "upper"), steps=True)
            below.append(Series(label=f"{name} ({n})", color=color, line=share))
            lowest = Line(array(one.best_of, "n", "error", "lower", "upper"))
            drawn.append(Series(label=name, color=color, line=lowest))
        shares.append(Panel(title, label, "Share of designs", tuple(below), log_x=False, log_y=False))
        best.append(Panel(title, "Designs drawn", label, tuple(drawn), log_y=False))
    yield figure("design-edf", suffix, shares, **words)
    yield replace(figure("design-best-of", suffix, best, **words), apart=True)


def _fronts(fronts: list[FrontBand], suffix: str, words: Mapping[str, str]) -> Figure:
    optimizers = sorted({front.optimizer for front in fronts})
    label = f"Error: {fronts[0].error}"
    panels = []
    for cost, own in grouped(fronts, lambda front: front.cost).items():
        series = tuple(_front(front, optimizers.index(front.optimizer)) for front in own)
        panels.append(Panel("", cost, label, series, log_y=False))
    return replace(figure("design-fronts", suffix, panels, **words), apart=True)


def _front(front: FrontBand, color: int) -> Series:
    return Series(
        label=front.optimizer,
        color=color,
        line=Line(array(front.band, front.cost, "error", "lower", "upper"), steps=True),
        others=np.vstack([array(table, front.cost, "error") for table in (front.members, front.others)]),
    )
