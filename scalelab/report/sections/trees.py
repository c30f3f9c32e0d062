"""Which design choices matter: importances and held-out predictions of tree models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scalelab.amounts import counted
from scalelab.analysis.analyze import Analysis
from scalelab.analysis.estimate import Refusal
from scalelab.analysis.trees.result import ALL, TreeModel
from scalelab.report.names import grouped
from scalelab.report.numbers import formatted, interval, percent
from scalelab.report.parts import MAX_CHOICES, MAX_PANELS, Bars, Figure, Panel, Series, Table, array
from scalelab.report.sections.topic import Topic, figure

if TYPE_CHECKING:
    import pandas as pd

_NAMED_CHOICES = 4
_SHOWN_IMPORTANCES = 10
_SCORES = {"pearson": "Pearson r", "spearman": "Spearman ρ", "r2": "R²", "rmse": "RMSE"}
NOISE = "not told from noise by the trees"

_OVER_ALL = (
    "importance is over all sizes and data at once, in a model of trees; which family is ahead at a size or "
    "a budget is what the laws say"
)


def scope_words(scope: str) -> str:
    """Returns a scope as people say it."""
    return "all optimizers" if scope == ALL else scope


def important_choices(ranking: pd.DataFrame) -> str:
    """Returns the first choices that matter with the signs of their trends; empty where none does."""
    rows = ranking[ranking["matters"]].head(_NAMED_CHOICES).to_dict("records")
    return ", ".join(
        f"{row['choice']} (ρ {row['spearman']:+.2f})"
        if row["spearman"] == row["spearman"]
        else str(row["choice"])
        for row in rows
    )


def bars(
    title: str, x_label: str, rows: tuple[str, ...], table: pd.DataFrame, value: str = "importance"
) -> Bars:
    """Returns a panel of bars from a table of importances with as many rows."""
    return Bars(
        title,
        x_label,
        rows,
        array(table, value, "lower", "upper"),
        table["matters"].eq(True).to_numpy(dtype=bool),
        table["noise"].to_numpy(dtype=float),
    )


def importance_bars(title: str, ranking: pd.DataFrame, choices: Iterable[str] | None = None) -> Bars:
    """Returns the importances of some choices by one model and measure; by default those of its largest."""
    choices = tuple(ranking["choice"].head(MAX_CHOICES) if choices is None else choices)
    return bars(title, "Importance", choices, ranking.set_index("choice").reindex(list(choices)))


def refused_table(trees: Iterable[TreeModel | Refusal]) -> Iterator[Table]:
    """Yields the table of what the runs cannot support, if there is any."""
    notes = tuple(
        f"{one.subject['dataset']}, {scope_words(one.subject['scope'])}: {one.reason}"
        for one in trees
        if isinstance(one, Refusal)
    )
    if notes:
        yield Table("Tree models refused", notes=notes)


def _missing(analysis: Analysis) -> str:
    return "" if analysis.trees else "tree models were left out"


def _shown(analysis: Analysis) -> tuple[TreeModel, ...]:
    """The forests that tables and sentences are about: those of a design space have their own there."""
    return analysis.forests if analysis.design is None else ()


def _lines(analysis: Analysis) -> Iterator[str]:
    for tree in _shown(analysis):
        if tree.scope != ALL:
            continue
        share = interval(tree.score("r2"), 2)
        choices = important_choices(tree.ranking())
        if choices:
            yield (
                f"The design predicts {tree.metric} on {tree.dataset} with R² {share} on held-out designs; "
                f"most important: {choices}."
            )
        else:
            yield f"No design choice predicts {tree.metric} on {tree.dataset} (R² {share})."


def _tables(analysis: Analysis, whole: bool) -> Iterator[Table]:
    """Yields what the tree models make of the design, and last which were refused."""
    for number, tree in enumerate(_shown(analysis)):
        rows = [_row(row) for row in tree.ranking().to_dict("records")]
        limit = len(rows) if whole else _SHOWN_IMPORTANCES
        scores = ", ".join(
            f"{_SCORES[row['score']]} {row['value']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]"
            for row in tree.scores.to_dict("records")
        )
        cut = [f"{limit} of {len(rows)} choices shown"] if len(rows) > limit else []
        yield Table.of(
            f"Design-choice importance for {tree.metric}: {tree.dataset}, {scope_words(tree.scope)} "
            f"({counted(tree.n_designs, 'designs')}, {counted(tree.n_runs, 'runs')})",
            rows[:limit],
            numbers=slice(1, 5),
            notes=[f"held-out designs: {scores}", *cut, *([_OVER_ALL] if tree.scope == ALL else [])],
            folded=number > 0,
        )
    if analysis.design is None:
        yield from refused_table(analysis.trees)


def _row(row: Mapping[Any, Any]) -> dict[str, str]:
    return {
        "choice": row["choice"],
        **{name: formatted(row[name], ".3f") for name in ("importance", "lower", "upper")},
        "Spearman": formatted(row["spearman"], "+.2f"),
        "": "" if row["matters"] else NOISE,
    }


def _figures(analysis: Analysis, dataset: str, suffix: str) -> Iterator[Figure]:
    """Yields importances, one panel per scope, and held-out predictions, a figure for each metric."""
    models = sorted(
        (tree for tree in analysis.forests if tree.dataset == dataset), key=lambda tree: tree.metric
    )
    for number, (metric, trees) in enumerate(grouped(models, lambda tree: tree.metric).items()):
        overall = next((tree for tree in trees if tree.scope == ALL), None)
        if overall is None:
            continue
        # Each with its own choices, which a tree of one optimizer may name otherwise than that of all.
        panels = [importance_bars(scope_words(tree.scope), tree.ranking()) for tree in trees[:MAX_PANELS]]
        end = suffix + (f"-{number + 1}" if number else "")
        words = {"metric": metric, "dataset": dataset, "level": percent(analysis.level)}
        # Those of a design space are drawn with it.
        found = figure("importances", end, [*panels, _held_out(overall)], **words)
        yield replace(found, apart=analysis.design is not None)


def _held_out(tree: TreeModel) -> Panel:
    return Panel(
        "r = {:.2f} [{:.2f}, {:.2f}]".format(*tree.score("pearson")),
        f"Predicted {tree.metric}, held out",
        f"Observed {tree.metric}",
        (Series(others=array(tree.predictions, "predicted", "observed")),),
        log_x=False,
        log_y=False,
        diagonal=True,
    )


TOPIC = Topic("trees", "Design-choice importance", _missing, _lines, _tables, _figures)
