"""The design space: what predicts the objective, interactions, distributions, fronts, best ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scalelab.analysis.analyze import Analysis
from scalelab.analysis.designspace.bands import FrontBand
from scalelab.analysis.designspace.distributions import Distribution
from scalelab.analysis.designspace.narrowing import Range
from scalelab.analysis.designspace.whole import DesignSpace
from scalelab.analysis.estimate import Estimate
from scalelab.analysis.runs.designs import split
from scalelab.analysis.trees.result import ALL, TreeModel
from scalelab.report.names import grouped
from scalelab.report.numbers import Shown, formatted, interval, percent, plain, short
from scalelab.report.parts import Table
from scalelab.report.sections.design_figures import MEASURES, design_figures
from scalelab.report.sections.topic import Topic
from scalelab.report.sections.trees import NOISE, important_choices, refused_table, scope_words

_SHOWN_PAIRS, _MOST_PAIRS = 5, 15
_SHOWN_DRAWS = (1, 3, 10, 30, 100)
_SHOWN_BUDGETS = 5


def _tables(analysis: Analysis, whole: bool) -> Iterator[Table]:
    design = analysis.design
    assert design is not None
    yield from _score_tables(design)
    yield from _importance_tables(design)
    yield from _interaction_tables(design, whole=whole)
    yield from refused_table(design.trees.refused)
    yield from _derived_tables(design)
    yield from _space_tables(design)
    yield from _comparison_tables(design)
    yield from _front_tables(design)
    yield from _range_tables(design)


def _triple(row: Any, value: str) -> str:
    return interval(Estimate.of(row[value], row["lower"], row["upper"]), 2)


def _score(model: TreeModel, name: str, digits: int = 2) -> str:
    return interval(model.score(name), digits)


def _score_tables(design: DesignSpace) -> Iterator[Table]:
    for (dataset, metric), own in grouped(design.trees.models, lambda m: (m.dataset, m.metric)).items():
        rows = (
            {
                "optimizer": scope_words(model.scope),
                "model": model.learner,
                "Pearson r": _score(model, "pearson"),
                "Spearman ρ": _score(model, "spearman"),
                "R²": _score(model, "r2"),
                "RMSE": _score(model, "rmse", 3),
                "RMSE of the mean": plain(model.mean_rmse),
                "designs": str(model.n_designs),
                "tuned": " or ".join(f"depth {d}, {n} rounds" for d, n in model.settings[:1]),
            }
            for model in own
        )
        note = (
            f"{percent(design.level)} intervals over resampled designs; R² is against the mean of the "
            "designs that were learned from"
        )
        title = f"How well the design predicts {metric}, held-out designs: {dataset}"
        optional = ("tuned", "Spearman ρ", "designs")
        yield Table.of(title, rows, numbers=slice(2, 8), notes=[note], optional=optional, folded=True)


def _importance_tables(design: DesignSpace) -> Iterator[Table]:
    for (dataset, metric, scope), models in _of_tasks(design.trees.models).items():
        own = {model.learner: model for model in models}
        found = {
            title: own[learner].ranking(measure).set_index("choice") for learner, measure, title in MEASURES
        }
        significant = {
            choice: sum(bool(table.loc[choice, "matters"]) for table in found.values())
            for choice in own["forest"].ranking()["choice"]
        }
        rows = []
        for choice in sorted(significant, key=lambda choice: -significant[choice]):
            trend = float(next(iter(found.values())).loc[choice, "spearman"])
            rows.append(
                {
                    "choice": choice,
                    **{title: _importance(table.loc[choice]) for title, table in found.items()},
                    "Spearman": formatted(trend, "+.2f"),
                    "significant in": f"{significant[choice]} of {len(found)}",
                }
            )
        note = (
            "Gini: share of the drop in squared error; permutation: share of the variance; SHAP: standard "
            f"deviations; (in parentheses: {NOISE})"
        )
        title = f"Design-choice importance for {metric}: {dataset}, {scope_words(scope)}"
        optional = ("Permutation, boosting", "Permutation, XGBoost", "Gini, forest")
        yield Table.of(title, rows, notes=[note], optional=optional, folded=True)


def _importance(row: Any) -> str:
    found = _triple(row, "importance")
    if row["matters"] or not isinstance(found, Shown):
        return found
    return Shown.of(f"({plain(found.value, 2)})", found.value, more=found.more)


def _interaction_tables(design: DesignSpace, *, whole: bool) -> Iterator[Table]:
    for effects in design.trees.effects:
        pairs = effects.interactions
        strong = min(int(pairs["matters"].sum()), _MOST_PAIRS) if whole else 0
        rows = [
            {
                "choices": f"{row['first']} × {row['second']}",
                "strength": _triple(row, "strength"),
                "without interaction": plain(row["noise"], 2),
                "": "" if row["matters"] else NOISE,
            }
            for row in pairs.head(max(strong, _SHOWN_PAIRS)).to_dict("records")
        ]
        if rows:
            cut = (
                [f"{len(rows)} of {len(pairs)} pairs shown, the strongest"] if len(rows) < len(pairs) else ()
            )
            title = f"Interactions: {effects.dataset}, {scope_words(effects.scope)}"
            yield Table.of(title, rows, numbers=slice(1, 3), notes=cut, folded=True)


def _derived_tables(design: DesignSpace) -> Iterator[Table]:
    for (dataset, metric), table in split(design.derived, ["dataset", "metric"]):
        scopes = list(dict.fromkeys(table["scope"]))
        cells = {(row["feature"], row["scope"]): _triple(row, "spearman") for row in table.to_dict("records")}
        rows = (
            {"derived": feature, **{scope_words(scope): cells.get((feature, scope), "") for scope in scopes}}
            for feature in dict.fromkeys(table["feature"])
        )
        notes = ("known only once a design is built, so nothing is predicted from these",)
        title = f"Spearman correlation of {metric} with what follows from the design: {dataset}"
        yield Table.of(title, rows, notes=notes, folded=True)


def _space_tables(design: DesignSpace) -> Iterator[Table]:
    for (dataset, error), own in grouped(
        design.distributions, lambda one: (one.space.dataset, one.space.error)
    ).items():
        largest = max(len(one.space.designs) for one in own)
        draws = [n for n in _SHOWN_DRAWS if n <= largest]
        rows = (
            {
                "by": one.space.by,
                "space": one.space.name,
                "designs": str(len(one.space.designs)),
                "best": plain(one.summary["best"].value),
                "best tenth": interval(one.summary["decile"]),
                "median": interval(one.summary["median"]),
                **{f"best of {n}": _best_of(one, n) for n in draws},
            }
            for one in own
        )
        optional = (*(f"best of {n}" for n in reversed(draws)), "best tenth")
        title = f"Distribution of the error {error}: {dataset}"
        yield Table.of(title, rows, numbers=slice(2, None), optional=optional, folded=True)


def _best_of(one: Distribution, n: int) -> str:
    sizes, errors = (one.best_of[name].to_numpy() for name in ("n", "error"))
    return plain(float(np.interp(n, sizes, errors))) if n <= sizes.max() else ""


def _comparison_tables(design: DesignSpace) -> Iterator[Table]:
    for (dataset, metric), table in split(design.comparisons, ["dataset", "metric"]):
        rows = [
            {
                "by": row["by"],
                "spaces": f"{row['first']}, {row['second']}",
                "lower median": row["better"],
                "KS distance": formatted(row["distance"], ".3f"),
                "p": _p(row["p"]),
                "p (Holm)": _p(row["p_holm"]),
                "distance at equal FLOPs": plain(row["distance_normalized"]),
                "p at equal FLOPs": _p(row["p_normalized"]),
            }
            for row in table.to_dict("records")
        ]
        if rows:
            title = f"Kolmogorov-Smirnov tests of the errors of {metric}: {dataset}"
            yield Table.of(title, rows, numbers=slice(3, None), optional=("p",), folded=True)


def _p(value: float) -> str:
    if not np.isfinite(value):
        return ""
    return Shown.of("<0.001", value) if value < 0.001 else formatted(value, ".3f")


def _front_tables(design: DesignSpace) -> Iterator[Table]:
    fronts = grouped(design.fronts, lambda front: (front.dataset, front.error, front.cost))
    for (dataset, error, cost), own in fronts.items():
        start = max(float(front.band[cost].min()) for front in own)
        end = max(float(front.band[cost].max()) for front in own)
        budgets = np.unique(np.geomspace(start, end, _SHOWN_BUDGETS)) if end > start else np.array([end])
        words = "forward" if cost == "forward_flops" else "training"
        rows = (
            {
                f"{words} budget": short(float(budget), "FLOP"),
                **{front.optimizer: _at(front, float(budget)) for front in own},
            }
            for budget in budgets
        )
        note = f"{percent(design.level)} of resampled designs lie between the two ends"
        title = f"Lowest {error} that a budget of {words} FLOPs buys: {dataset}"
        yield Table.of(title, rows, numbers=slice(None), notes=[note], folded=True)


def _at(front: FrontBand, budget: float) -> str:
    affordable = front.band[front.band[front.cost] <= budget * (1 + 1e-9)]
    if affordable.empty:
        return ""
    row = affordable.iloc[-1]
    upper = float(row["upper"])
    end = f"{upper:.3f}" if np.isfinite(upper) else "none"
    text = f"{row['error']:.3f} [{row['lower']:.3f}, {end}]"
    return Shown.of(text, row["error"], more={"lower": row["lower"], "upper": upper})


def _range_tables(design: DesignSpace) -> Iterator[Table]:
    for (dataset, metric), own in grouped(design.ranges, lambda one: (one.dataset, one.metric)).items():
        rows = (
            {
                "component": one.owner or "training",
                "option": one.option,
                "tried": _tried(one),
                "best models": _best(one),
                "typical": "" if one.typical is None else plain(one.typical, 2),
                "p": _p(one.p),
                "": "narrower than chance" if one.narrower_than_chance else "",
            }
            for one in own
        )
        note = (
            "where the best of a random quarter of the designs lies 95 times out of 100; p: how often a "
            "choice in random order has its winners as close together"
        )
        title = f"Where the best models are by {metric}: {dataset}"
        yield Table.of(title, rows, numbers=slice(4, 6), notes=[note], optional=("typical",), folded=True)


def _tried(one: Range) -> str:
    return ", ".join(map(str, one.all_values)) if one.full is None else _span(*one.full)


def _best(one: Range) -> str:
    if one.lower is None or one.upper is None:
        return ", ".join(map(str, one.values))
    return _span(one.lower, one.upper) if one.lower < one.upper else f"{one.lower:.4g}"


def _span(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}"


def _lines(analysis: Analysis) -> Iterator[str]:
    design = analysis.design
    assert design is not None
    for model in _best_models(design.trees.models):
        words = scope_words(model.scope)
        r2 = _score(model, "r2")
        what = f"{model.metric} on {model.dataset}"
        if not model.beats_the_mean:
            yield f"No tree model predicts {what} better than its mean ({words}: R² {r2})."
            continue
        choices = important_choices(model.ranking())
        most = f"; most important: {choices}" if choices else ""
        yield (
            f"The design predicts {what} ({words}) with r {_score(model, 'pearson')}, R² {r2} on held-out "
            f"designs ({model.learner}){most}."
        )
    rows = design.comparisons.to_dict("records")
    yield from (_difference(row) for row in rows if row["p_holm"] <= 1 - design.level)
    if design.narrowed:
        options = ", ".join(f"{one.owner or 'training'} {one.option} {_best(one)}" for one in design.narrowed)
        yield f"The best models lie in a smaller space: {options}."


def _difference(row: Mapping[Any, Any]) -> str:
    other = row["first"] if row["better"] == row["second"] else row["second"]
    within = row["by"].partition(", ")[2]
    where = f"{row['dataset']} with {within}" if within else row["dataset"]
    return (
        f"On {where}, {row['better']} has lower errors than {other} "
        f"(KS distance {row['distance']:.2f}, p {_p(row['p_holm'])} after Holm)."
    )


def _of_tasks(models: Sequence[TreeModel]) -> dict[tuple[str, str, str], list[TreeModel]]:
    """Returns models by dataset, metric and scope."""
    return grouped(models, lambda model: (model.dataset, model.metric, model.scope))


def _best_models(models: Sequence[TreeModel]) -> list[TreeModel]:
    """Returns the model with the lowest error for every dataset, metric and scope."""
    best = [min(own, key=lambda model: model.score("rmse")[0]) for own in _of_tasks(models).values()]
    return sorted(best, key=lambda model: (model.dataset, model.metric, model.scope != ALL))


def _missing(analysis: Analysis) -> str:
    return "" if analysis.design is not None else "it was not requested; scalelab analyze --design adds it"


TOPIC = Topic("design", "The design space", _missing, _lines, _tables, design_figures)
