"""A design space as tables and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from scalelab.analysis.designspace import DesignSpace
from scalelab.analysis.designspace.bands import FrontBand
from scalelab.analysis.designspace.narrowing import Range
from scalelab.analysis.estimate import Estimate, Refusal
from scalelab.analysis.runs.designs import split
from scalelab.analysis.trees import ALL, TreeModel
from scalelab.report.numbers import interval, percent, plain, short
from scalelab.report.sections.design_figures import MEASURES, scope_words
from scalelab.report.terminal import Table

_SHOWN_PAIRS = 5
_SHOWN_DRAWS = (1, 3, 10, 30, 100)
_SHOWN_BUDGETS = 5
_NAMED_CHOICES = 4


def design_tables(design: DesignSpace, *, whole: bool = False) -> list[Table]:
    """Returns a design space as tables, in the order in which a reader wants them.

    Args:
        design: What to show.
        whole: Every row of long tables; otherwise the first ones.
    """
    tables = [*_score_tables(design), *_importance_tables(design), *_interaction_tables(design, whole=whole)]
    refused = refused_trees(design.trees.refused)
    if refused:
        tables.append(Table("Tree models refused", (), (), notes=refused))
    return [
        *tables,
        *_derived_tables(design),
        *_space_tables(design),
        *_comparison_tables(design),
        *_front_tables(design),
        *_range_tables(design),
    ]


def refused_trees(trees: Iterable[TreeModel | Refusal]) -> tuple[str, ...]:
    """Returns a line a tree model that was refused."""
    refused = [one for one in trees if isinstance(one, Refusal)]
    return tuple(
        f"{one.subject['dataset']}, {scope_words(one.subject['scope'])}: {one.reason}" for one in refused
    )


def _triple(row: Any, value: str) -> str:
    return interval(Estimate.of(row[value], row["lower"], row["upper"]), 2)


def _score_tables(design: DesignSpace) -> Iterator[Table]:
    columns = (
        "optimizer", "model", "Pearson r", "Spearman ρ", "R²", "RMSE", "RMSE of the mean", "designs", "tuned",
    )  # fmt: skip
    for dataset, metric in dict.fromkeys((m.dataset, m.metric) for m in design.trees.models):
        own = [m for m in design.trees.models if (m.dataset, m.metric) == (dataset, metric)]
        rows = tuple(
            (
                scope_words(model.scope),
                model.learner,
                *(interval(model.score(name), 2) for name in ("pearson", "spearman", "r2")),
                interval(model.score("rmse"), 3),
                plain(model.mean_rmse),
                str(model.n_designs),
                " or ".join(f"depth {d}, {n} rounds" for d, n in model.settings[:1]),
            )
            for model in own
        )
        notes = (
            f"{percent(design.level)} intervals over resampled designs; R² is against the mean of the "
            "designs that were learned from",
        )
        title = f"How well the design predicts {metric}, held-out designs: {dataset}"
        yield Table(title, columns, rows, frozenset(columns[2:8]), notes, ("tuned", "Spearman ρ", "designs"))


def _importance_tables(design: DesignSpace) -> Iterator[Table]:
    models: dict[tuple[str, str, str], dict[str, TreeModel]] = {}
    for model in design.trees.models:
        models.setdefault((model.dataset, model.metric, model.scope), {})[model.learner] = model
    columns = ("choice", *(title for _, _, title in MEASURES), "Spearman", "told by")
    for (dataset, metric, scope), own in models.items():
        found = {
            title: own[learner].ranking(measure).set_index("choice") for learner, measure, title in MEASURES
        }
        told = {
            choice: sum(bool(table.loc[choice, "matters"]) for table in found.values())
            for choice in own["forest"].ranking()["choice"]
        }
        rows = []
        for choice in sorted(told, key=lambda choice: -told[choice]):
            cells = [_told_cell(table.loc[choice]) for table in found.values()]
            trend = float(next(iter(found.values())).loc[choice, "spearman"])
            sign = f"{trend:+.2f}" if np.isfinite(trend) else ""
            rows.append((choice, *cells, sign, f"{told[choice]} of {len(found)}"))
        notes = (
            "Gini: share of the drop in squared error; permutation: share of the variance; SHAP: standard "
            "deviations; (in brackets: not told from noise)",
        )
        title = f"What decides {metric}: {dataset}, {scope_words(scope)}"
        optional = ("Permutation, boosting", "Permutation, XGBoost", "Gini, forest")
        yield Table(title, columns, tuple(rows), frozenset(columns[1:]), notes, optional)


def _told_cell(row: Any) -> str:
    if row["matters"]:
        return _triple(row, "importance")
    return f"({plain(float(row['importance']), 2)})"


def _interaction_tables(design: DesignSpace, *, whole: bool) -> Iterator[Table]:
    columns = ("choices", "strength", "without interaction", "")
    for effects in design.trees.effects:
        pairs = effects.interactions
        shown = pairs if whole else pairs.head(_SHOWN_PAIRS)
        rows = tuple(
            (
                f"{row['first']} × {row['second']}",
                _triple(row, "strength"),
                plain(row["noise"], 2),
                "" if row["matters"] else "not told from noise",
            )
            for row in shown.to_dict("records")
        )
        if rows:
            cut = (f"{len(rows)} of {len(pairs)} pairs shown",) if len(rows) < len(pairs) else ()
            title = f"Interactions: {effects.dataset}, {scope_words(effects.scope)}"
            yield Table(title, columns, rows, frozenset(columns[1:3]), cut)


def _derived_tables(design: DesignSpace) -> Iterator[Table]:
    for (dataset, metric), table in split(design.derived, ["dataset", "metric"]):
        scopes = list(dict.fromkeys(table["scope"]))
        cells = {(row["feature"], row["scope"]): _triple(row, "spearman") for row in table.to_dict("records")}
        rows = tuple(
            (feature, *(cells.get((feature, scope), "") for scope in scopes))
            for feature in dict.fromkeys(table["feature"])
        )
        columns = ("derived", *(scope_words(scope) for scope in scopes))
        notes = ("known only once a design is built, so nothing is predicted from these",)
        title = f"Spearman correlation of {metric} with what follows from the design: {dataset}"
        yield Table(title, columns, rows, frozenset(columns[1:]), notes)


def _space_tables(design: DesignSpace) -> Iterator[Table]:
    tasks = dict.fromkeys((one.space.dataset, one.space.error) for one in design.distributions)
    for dataset, error in tasks:
        own = [d for d in design.distributions if (d.space.dataset, d.space.error) == (dataset, error)]
        largest = max(len(one.space.designs) for one in own)
        draws = [n for n in _SHOWN_DRAWS if n <= largest]
        columns = ("by", "space", "designs", "best", "best tenth", "median", *(f"best of {n}" for n in draws))
        rows = []
        for one in own:
            best_of = [_best_of(one.best_of, n) for n in draws]
            summary = (interval(one.summary[name], 3) for name in ("decile", "median"))
            best = plain(one.summary["best"].value)
            size = str(len(one.space.designs))
            rows.append((one.space.by, one.space.name, size, best, *summary, *best_of))
        optional = (*(f"best of {n}" for n in reversed(draws)), "best tenth")
        title = f"Distribution of the error {error}: {dataset}"
        yield Table(title, columns, tuple(rows), frozenset(columns[2:]), optional=optional)


def _best_of(table: Any, n: int) -> str:
    sizes = table["n"].to_numpy()
    return plain(float(np.interp(n, sizes, table["error"].to_numpy()))) if n <= sizes.max() else ""


def _comparison_tables(design: DesignSpace) -> Iterator[Table]:
    columns = (
        "by", "spaces", "lower median", "KS distance", "p", "p (Holm)", "distance at equal FLOPs",
        "p at equal FLOPs",
    )  # fmt: skip
    for (dataset, metric), table in split(design.comparisons, ["dataset", "metric"]):
        rows = tuple(
            (
                row["by"],
                f"{row['first']}, {row['second']}",
                row["better"],
                f"{row['distance']:.3f}",
                _p(row["p"]),
                _p(row["p_holm"]),
                plain(row["distance_normalized"]),
                _p(row["p_normalized"]),
            )
            for row in table.to_dict("records")
        )
        if rows:
            title = f"Kolmogorov-Smirnov tests of the errors of {metric}: {dataset}"
            yield Table(title, columns, rows, frozenset(columns[3:]), optional=("p",))


def _p(value: float) -> str:
    if not np.isfinite(value):
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _front_tables(design: DesignSpace) -> Iterator[Table]:
    tasks = dict.fromkeys((front.dataset, front.error, front.cost) for front in design.fronts)
    for dataset, error, cost in tasks:
        own = [f for f in design.fronts if (f.dataset, f.error, f.cost) == (dataset, error, cost)]
        start = max(float(front.band[cost].min()) for front in own)
        end = max(float(front.band[cost].max()) for front in own)
        budgets = np.unique(np.geomspace(start, end, _SHOWN_BUDGETS)) if end > start else np.array([end])
        words = "forward" if cost == "forward_flops" else "training"
        columns = (f"{words} budget", *(front.optimizer for front in own))
        rows = tuple(
            (short(float(budget), "FLOP"), *(_at(front, float(budget)) for front in own))
            for budget in budgets
        )
        notes = (f"{percent(design.level)} of resampled designs lie between the two ends",)
        title = f"Least {error} that a budget of {words} FLOPs buys: {dataset}"
        yield Table(title, columns, rows, frozenset(columns), notes)


def _at(front: FrontBand, budget: float) -> str:
    affordable = front.band[front.band[front.cost] <= budget * (1 + 1e-9)]
    if affordable.empty:
        return ""
    row = affordable.iloc[-1]
    upper = float(row["upper"])
    end = f"{upper:.3f}" if np.isfinite(upper) else "none"
    return f"{row['error']:.3f} [{row['lower']:.3f}, {end}]"


def _range_tables(design: DesignSpace) -> Iterator[Table]:
    columns = ("component", "option", "tried", "best models", "typical", "p", "")
    for dataset, metric in dict.fromkeys((one.dataset, one.metric) for one in design.ranges):
        rows = tuple(
            (
                one.owner or "training",
                one.option,
                _tried(one),
                _best(one),
                "" if one.typical is None else plain(one.typical, 2),
                _p(one.p),
                "narrower than chance" if one.narrower_than_chance else "",
            )
            for one in design.ranges
            if (one.dataset, one.metric) == (dataset, metric)
        )
        notes = (
            "where the best of a quarter of the designs lies 95 times of 100; p: how often a choice in "
            "random order has winners as close together",
        )
        title = f"Where the best models are by {metric}: {dataset}"
        yield Table(title, columns, rows, frozenset({"typical", "p"}), notes, ("typical",))


def _tried(one: Range) -> str:
    if one.full is None:
        return ", ".join(map(str, one.all_values))
    return f"{_number(one.full[0])} to {_number(one.full[1])}"


def _best(one: Range) -> str:
    if one.lower is None or one.upper is None:
        return ", ".join(map(str, one.values))
    return _number(one.lower) if one.lower == one.upper else f"{_number(one.lower)} to {_number(one.upper)}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def design_lines(design: DesignSpace) -> Iterator[str]:
    """Yields the sentences that a reader should take away."""
    for model in _best_models(design):
        words = scope_words(model.scope)
        r = interval(model.score("pearson"), 2)
        r2 = interval(model.score("r2"), 2)
        what = f"{model.metric} on {model.dataset}"
        if not model.beats_the_mean:
            yield f"No tree model predicts {what} better than its mean ({words}: R² {r2})."
            continue
        ranking = model.ranking()
        told = [signed(row) for row in ranking[ranking["matters"]].to_dict("records")]
        most = f"; what matters most: {', '.join(told[:_NAMED_CHOICES])}" if told else ""
        yield (
            f"The design predicts {what} ({words}) with r {r}, R² {r2} on held-out designs "
            f"({model.learner}){most}."
        )
    for row in design.comparisons.to_dict("records"):
        if row["p_holm"] <= 1 - design.level:
            other = row["first"] if row["better"] == row["second"] else row["second"]
            within = row["by"].partition(", ")[2]
            where = f"{row['dataset']} with {within}" if within else row["dataset"]
            yield (
                f"On {where}, {row['better']} has lower errors than {other} "
                f"(KS distance {row['distance']:.2f}, p {_p(row['p_holm'])} after Holm)."
            )
    if design.narrowed:
        options = ", ".join(f"{one.owner or 'training'} {one.option} {_best(one)}" for one in design.narrowed)
        yield f"The best models lie in a smaller space: {options}."


def _best_models(design: DesignSpace) -> list[TreeModel]:
    """Returns the model with the lowest error for every dataset, metric and scope."""
    best: dict[tuple[str, str, str], TreeModel] = {}
    for model in design.trees.models:
        key = (model.dataset, model.metric, model.scope)
        if key not in best or model.score("rmse")[0] < best[key].score("rmse")[0]:
            best[key] = model
    return sorted(best.values(), key=lambda model: (model.dataset, model.metric, model.scope != ALL))


def signed(row: Any) -> str:
    """Returns a choice with the sign of its trend, from a row of importances."""
    rho = float(row["spearman"])
    return f"{row['choice']} (ρ {rho:+.2f})" if rho == rho else str(row["choice"])
