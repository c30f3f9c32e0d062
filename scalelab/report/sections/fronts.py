"""Pareto fronts of the objective: designs that no other one beats in both cost and objective."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np

from scalelab.amounts import counted
from scalelab.analysis.analyze import Analysis
from scalelab.analysis.runs.frontier import Front
from scalelab.analysis.runs.uncounted import compute_doubts
from scalelab.arrays import Array
from scalelab.report.names import grouped, known
from scalelab.report.numbers import Shown, plain, short
from scalelab.report.outcomes import WORDS, axis_label
from scalelab.report.parts import Figure, Line, Panel, Series, Table, array
from scalelab.report.runs import Run, Runs, runs_of
from scalelab.report.sections.topic import Topic, figure

_SHOWN_FRONT = 6


def better(direction: str) -> str:
    """Returns which objective is better, in a word."""
    return "higher" if direction == "maximize" else "lower"


def _missing(analysis: Analysis) -> str:
    return "" if analysis.fronts else "no run has both an objective and a cost in FLOPs"


def _lines(analysis: Analysis) -> Iterator[str]:
    if analysis.measured:
        yield (
            f"Cost is FLOPs here. The store has {counted(analysis.measured, 'measurements')} of latency on "
            "hardware, too: scalelab bench --measured shows them, with the errors of every precision against "
            "float32 and what could not be measured."
        )


def _tables(analysis: Analysis, whole: bool) -> Iterator[Table]:
    """Yields a table for each dataset, metric and cost, cheapest designs first."""
    for fronts in grouped(analysis.fronts, lambda front: (front.dataset, front.metric, front.cost)).values():
        first = fronts[0]
        cost = "forward" if first.cost == "forward_flops" else "training"
        n_all = sum(len(front.points) for front in fronts)
        runs = runs_of(analysis)
        made = [one for front in fronts for one in _rows(front, cost, n_all if whole else _SHOWN_FRONT, runs)]
        rows = [row for _, row in made]
        better_is = f"{better(first.direction)} is better"
        what = f"{WORDS[analysis.on]}{first.metric}"
        shown = f"{len(rows)} of {n_all} designs on the fronts shown"
        short_of = dict.fromkeys(words for front in fronts for words in compute_doubts(front.points))
        yield Table.of(
            f"Pareto fronts of {what} ({better_is}) against {cost} FLOPs: {first.dataset}",
            rows,
            numbers=slice(2, None),
            notes=[*([shown] if len(rows) < n_all else []), *short_of],
            optional=("seeds",),
            folded=True,
            runs=[run for run, _ in made],
        )


def _rows(front: Front, cost: str, limit: int, runs: Runs) -> Iterator[tuple[Run, dict[str, str]]]:
    """Yields at most so many rows with their designs, evenly spaced, the first and the last among them."""
    n = len(front.points)
    shown = range(n) if n <= limit else [round(i * (n - 1) / (limit - 1)) for i in range(limit)]
    for row in front.points.iloc[list(shown)].to_dict("records"):
        cells = {
            "optimizer": known(front.optimizer),
            "architecture": known(str(row["architecture"])),
            f"{cost} cost": _cost(row, front.cost, "≥ "),
            front.metric: plain(row["objective"], 4),
            "seeds": str(row["n_runs"]),
            "parameters": short(row["n_params"]),
            "examples": short(row["n_examples"]),
        }
        yield runs.of(row["first_run"]), cells


def _cost(row: Mapping[Hashable, Any], cost: str, bound: str) -> str:
    """Returns a cost, as a bound where it leaves an operator out."""
    flops = float(row[cost])
    shown = short(flops, "FLOP")
    return Shown.of(f"{bound}{shown}", flops, unit="FLOP") if row["uncounted"] and shown else shown


def _figures(analysis: Analysis, dataset: str, suffix: str) -> Iterator[Figure]:
    """Yields a figure for each metric, a panel for each cost."""
    optimizers = sorted({front.optimizer for front in analysis.fronts})
    own = sorted(
        (front for front in analysis.fronts if front.dataset == dataset), key=lambda front: front.metric
    )
    for number, (metric, fronts) in enumerate(grouped(own, lambda front: front.metric).items()):
        label, log_y = axis_label(metric, analysis.on), metric == "loss"
        panels = (
            Panel("", cost, label, tuple(_series(of_cost, optimizers, runs_of(analysis))), log_y=log_y)
            for cost, of_cost in grouped(fronts, lambda front: front.cost).items()
        )
        end = suffix + (f"-{number + 1}" if number else "")
        words = {"metric": metric, "dataset": dataset, "better": better(fronts[0].direction)}
        yield figure("front", end, panels, **words)


def _series(fronts: list[Front], optimizers: list[str], runs: Runs) -> Iterator[Series]:
    cost = fronts[0].cost
    end = max(
        float(table[cost].max()) for front in fronts for table in (front.points, front.others) if len(table)
    )
    for front in fronts:
        points = array(front.points, cost, "objective", "objective_std")
        yield Series(
            label=known(front.optimizer),
            color=optimizers.index(front.optimizer),
            points=points,
            line=staircase(points, end),
            others=array(front.others, cost, "objective"),
            runs=runs.of_rows(front.points),
            other_runs=runs.of_rows(front.others),
        )


def staircase(points: Array, end: float) -> Line:
    """Returns the line of a front: each value holds until the next point, the last one to the end."""
    corners = points[:, :2]
    return Line(np.vstack([corners, (max(end, corners[-1, 0]), corners[-1, 1])]), steps=True)


TOPIC = Topic("fronts", "Pareto fronts", _missing, _lines, tables=_tables, figures=_figures)
