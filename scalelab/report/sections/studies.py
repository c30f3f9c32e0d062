"""The tables of every command: numbers turned into text, independent of where they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from scalelab.analysis.analyze import Analysis, ScaleTable
from scalelab.analysis.families.laws import AHEAD, FittedLaw
from scalelab.analysis.runs.frontier import Front
from scalelab.analysis.trees import TreeModel
from scalelab.report.names import family_names, family_of, law_symbol
from scalelab.report.numbers import greek, interval, percent, plain, short
from scalelab.report.sections.advise import optimum_table
from scalelab.report.sections.comparison import comparison_tables
from scalelab.report.sections.design import design_tables, refused_trees
from scalelab.report.sections.design_figures import scope_words
from scalelab.report.sections.predict import backtest_cell, no_backtest
from scalelab.report.terminal import Table, show
from scalelab.report.trial_names import TrialNames

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.execute.plan import Plan

__all__ = ["Table", "analysis_tables", "plan_table", "show", "studies_table"]

_SHOWN_FRONT = 6
_SHOWN_IMPORTANCES = 10


def studies_table(studies: Sequence[NamedTuple]) -> Table:
    """Returns what a store holds, a row a study.

    Args:
        studies: What `Store.studies()` returned; every field becomes a column, but one that is left at
            its default by all of them.
    """
    named = [study._asdict() for study in studies]
    defaults = studies[0]._field_defaults if studies else {}
    columns = [
        name
        for name in (named[0] if named else ())
        if name not in defaults or any(row[name] != defaults[name] for row in named)
    ]
    rows = tuple(tuple(_cell(row[name]) for name in columns) for row in named)
    heads = tuple(name.replace("_", " ") for name in columns)
    counts = frozenset(
        head
        for head, name in zip(heads, columns, strict=True)
        if all(isinstance(row[name], (int, float)) for row in named)
    )
    return Table("", heads, rows, counts)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return plain(value)
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def plan_table(plan: Plan) -> Table:
    """Returns a study's trials with what they cost, alike trials (but for their seeds) in one row."""
    columns = (
        "architecture", "optimizer", "examples", "parameters", "forward", "training", "steps",
        "epochs", "time", "seeds", "done",
    )  # fmt: skip
    names = TrialNames([row.trial for row in plan.trials])
    groups: dict[tuple[str, ...], list[float]] = {}
    for row in plan.trials:
        trial = row.trial
        key = (
            names.component(trial.architecture),
            names.component(trial.optimizer),
            f"{trial.n_examples:,}",
            f"{row.n_params:,}",
            short(row.forward_flops, "FLOP"),
            short(row.train_flops, "FLOP"),
            f"{row.n_steps:,}",
            plain(row.epochs),
        )
        seconds_seeds_done = groups.setdefault(key, [0.0, 0, 0])
        seconds_seeds_done[0] += row.seconds
        seconds_seeds_done[1] += 1
        seconds_seeds_done[2] += row.status in ("done", "diverged")
    rows = tuple(
        (*key, f"{plain(seconds)} s", f"{int(seeds)}", f"{int(done)}")
        for key, (seconds, seeds, done) in groups.items()
    )
    optional = ("epochs", "steps", "forward", "training", "done")
    return Table(f"study {plan.study}", columns, rows, frozenset(columns[2:]), optional=optional)


def analysis_tables(analysis: Analysis, *, whole: bool = False) -> list[Table]:
    """Returns an analysis as tables, in the order in which a reader wants them.

    Args:
        analysis: What to show.
        whole: Every row of long tables; otherwise the first ones, and how many there are.
    """
    name = family_names(map(family_of, analysis.laws))
    tables = [runs_table(analysis.studies)]
    tables += [scale_table(scale, name(scale.family)) for scale in analysis.scales]
    if analysis.laws:
        tables.append(laws_table(analysis))
    tables += comparison_tables(analysis.comparisons, analysis.level)
    if analysis.optima:
        tables.append(optimum_table(analysis.optima, name))
    tables += front_tables(analysis, whole=whole)
    if analysis.design is not None:
        return [*tables, *design_tables(analysis.design, whole=whole)]
    return [*tables, *tree_tables(analysis, whole=whole)]


def runs_table(studies: pd.DataFrame) -> Table:
    """Returns what was run, a row a study."""
    columns = tuple(studies.columns)
    rows = tuple(
        tuple(_cell(plain(value, 2) if name == "hours" else value) for name, value in row.items())
        for row in studies.to_dict("records")
    )
    optional = ("designs", "hours", "dataset", "unfinished", "failed")
    return Table("What was run", columns, rows, frozenset(columns[2:]), optional=optional)


def scale_table(scale: ScaleTable, name: str) -> Table:
    """Returns the loss by model size and data size."""
    columns = ("N \\ D", *(f"{int(n):,}" for n in scale.loss.columns))
    rows = tuple(
        (f"{int(size):,}", *(plain(loss, 4) for loss in row))
        for size, row in zip(scale.loss.index, scale.loss.to_numpy(), strict=True)
    )
    spread = f"; seeds differ by {percent(scale.seed_spread)}" if scale.seed_spread is not None else ""
    return Table(
        f"Loss by parameters and training examples: {name}{spread}", columns, rows, frozenset(columns)
    )


def laws_table(analysis: Analysis) -> Table:
    """Returns the fitted laws, with what was refused below them."""
    name = family_names(map(family_of, analysis.laws))
    exponents = f"exponent [{percent(analysis.level)}]"
    columns = (
        "family", "law", exponents, "irreducible E", f"loss at {AHEAD:.0f}×", "backtest", "points",
        "decades", "log RMS", "R²",
    )  # fmt: skip
    rows = tuple(row for law in analysis.fitted for row in _law_rows(law, name(law.family)))
    said: dict[str, list[str]] = {}
    for law in analysis.fitted:
        said.setdefault(f"{law_symbol(law)}: {law.law}, {law.points.selection}", []).append(name(law.family))
    untested: dict[str, list[str]] = {}
    for law in analysis.fitted:
        if not law.backtest.errors:
            untested.setdefault(no_backtest(law.backtest), []).append(law_symbol(law))
    for refused in analysis.refused:
        said.setdefault(f"{law_symbol(refused)} refused: {refused.reason}", []).append(
            name(family_of(refused))
        )
    notes = tuple(f"{words} ({', '.join(names)})" for words, names in said.items())
    notes += ("backtest: RMS log error of the same law where it foretold the larger points from the smaller",)
    notes += tuple(f"no backtest of {', '.join(dict.fromkeys(of))}: {why}" for why, of in untested.items())
    optional = ("R²", "decades", "points")
    return Table("Scaling laws of the loss", columns, rows, frozenset(columns[5:10]), notes, optional)


def _law_rows(law: FittedLaw, name: str) -> Iterator[tuple[str, ...]]:
    """Yields a law's row, and one more for each further exponent."""
    exponents = [f"{greek(exponent)} {interval(law.params[exponent])}" for exponent in law.exponents]
    yield (
        name,
        law_symbol(law),
        exponents[0] if exponents else "",
        interval(law.irreducible) if law.irreducible else "",
        interval(law.ahead),
        backtest_cell(law.backtest),
        str(len(law.points.rows)),
        " × ".join(f"{span:.1f}" for span in law.points.decades.values()),
        percent(law.rms_log_error),
        f"{law.r2:.3f}",
    )
    yield from (("", "", exponent, *[""] * 7) for exponent in exponents[1:])


def front_tables(analysis: Analysis, *, whole: bool = False) -> list[Table]:
    """Returns the Pareto fronts, a table for each dataset, metric and cost, cheapest designs first."""
    together: dict[tuple[str, str, str], list[Front]] = {}
    for front in analysis.fronts:
        together.setdefault((front.dataset, front.metric, front.cost), []).append(front)
    return [_front_table(fronts, whole=whole) for fronts in together.values()]


def _front_table(fronts: list[Front], *, whole: bool) -> Table:
    first = fronts[0]
    cost = "forward" if first.cost == "forward_flops" else "training"
    columns = ("optimizer", f"{cost} cost", first.metric, "seeds", "architecture", "parameters", "examples")
    limit = max(len(front.points) for front in fronts) if whole else _SHOWN_FRONT
    rows = tuple(row for front in fronts for row in _thin(_front_rows(front), limit))
    better = "higher" if first.direction == "maximize" else "lower"
    title = f"Pareto fronts of {first.metric} ({better} is better) against {cost} FLOPs: {first.dataset}"
    n_all = sum(len(front.points) for front in fronts)
    notes = (f"{len(rows)} of {n_all} designs on the fronts shown",) if len(rows) < n_all else ()
    return Table(title, columns, rows, frozenset(columns) - {"optimizer", "architecture"}, notes, ("seeds",))


def _front_rows(front: Front) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            front.optimizer,
            short(row[front.cost], "FLOP"),
            plain(row["objective"], 4),
            str(row["n_runs"]),
            str(row["architecture"]),
            short(row["n_params"]),
            short(row["n_examples"]),
        )
        for row in front.points.to_dict("records")
    )


def tree_tables(analysis: Analysis, *, whole: bool = False) -> list[Table]:
    """Returns what the tree models make of the design, and last which were refused."""
    tables = [_tree_table(tree, whole=whole) for tree in analysis.forests]
    refused = refused_trees(analysis.trees)
    return [*tables, Table("Tree models refused", (), (), notes=refused)] if refused else tables


def _tree_table(tree: TreeModel, *, whole: bool) -> Table:
    columns = ("choice", "importance", "lower", "upper", "Spearman", "")
    rows = tuple(
        (
            row["choice"],
            f"{row['importance']:.3f}",
            f"{row['lower']:.3f}",
            f"{row['upper']:.3f}",
            f"{row['spearman']:+.2f}" if row["spearman"] == row["spearman"] else "",
            "" if row["matters"] else "not told from noise",
        )
        for row in tree.ranking().to_dict("records")
    )
    limit = len(rows) if whole else _SHOWN_IMPORTANCES
    scores = ", ".join(
        f"{_SCORES[row['score']]} {row['value']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]"
        for row in tree.scores.to_dict("records")
    )
    cut = (f"{limit} of {len(rows)} choices shown",) if len(rows) > limit else ()
    size = f"{tree.n_designs} designs, {tree.n_runs} runs"
    title = f"What decides {tree.metric}: {tree.dataset}, {scope_words(tree.scope)} ({size})"
    return Table(title, columns, rows[:limit], frozenset(columns[1:5]), (f"held-out designs: {scores}", *cut))


_SCORES = {"pearson": "Pearson r", "spearman": "Spearman ρ", "r2": "R²", "rmse": "RMSE"}


def _thin(rows: tuple[tuple[str, ...], ...], limit: int) -> tuple[tuple[str, ...], ...]:
    """Keeps some rows, evenly spaced, the first and the last among them."""
    if len(rows) <= limit:
        return rows
    return tuple(rows[round(i * (len(rows) - 1) / (limit - 1))] for i in range(limit))
