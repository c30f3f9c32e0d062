"""Learning curves: the loss of each run along its training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from scalelab.analysis.analyze import Analysis
from scalelab.analysis.runs.designs import split
from scalelab.report.parts import MAX_PANELS, Figure, Line, Panel, Series, array
from scalelab.report.runs import Runs, runs_of
from scalelab.report.sections.topic import Topic, figure

if TYPE_CHECKING:
    import pandas as pd

MAX_CURVES = 12
LEAST_CURVES = 3
"""Of each of three architectures or more."""


def _figures(analysis: Analysis, dataset: str, suffix: str) -> Iterator[Figure]:
    """Yields a figure for each architecture, a panel for each optimizer; of many, fewer curves."""
    if analysis.curves is None or analysis.curves.empty or "trial_id" not in analysis.runs.columns:
        return
    runs = analysis.runs[analysis.runs["dataset_label"] == dataset].dropna(subset=["n_params"])
    several = runs["architecture"].nunique()
    most = MAX_CURVES if several < 2 else MAX_CURVES // 2 if several == 2 else LEAST_CURVES
    for number, ((architecture,), of_one) in enumerate(split(runs, ["architecture"])):
        panels = []
        for (optimizer,), own in list(split(of_one, ["optimizer"]))[:MAX_PANELS]:
            series = tuple(_series(own, analysis.curves, runs_of(analysis), most))
            if series:
                panels.append(Panel(str(optimizer), "train_flops", "Validation loss", series))
        if panels:
            of = f" of {architecture}" if several > 1 else ""
            end = suffix + (f"-{number + 1}" if number else "")
            yield figure("curves", end, panels, of=of, dataset=dataset, most=str(most))


def _series(runs: pd.DataFrame, curves: pd.DataFrame, known: Runs, most: int) -> Iterator[Series]:
    ordered = runs.sort_values(["n_params", "n_examples"], kind="stable")
    picks = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), most)).round().astype(int))
    shown = ordered.iloc[picks].set_index("trial_id")
    chosen = shown["n_params"]
    best_steps = shown["best_step"].to_dict() if "best_step" in shown.columns else {}
    points = curves[curves["trial_id"].isin(chosen.index)].dropna(subset=["train_flops", "loss"])
    if "attempt" in points.columns:
        points = points[points["attempt"] == points.groupby("trial_id")["attempt"].transform("max")]
    points = points.drop_duplicates(["trial_id", "step"]).sort_values("step", kind="stable")
    by_trial = {trial_id: own for (trial_id,), own in split(points, ["trial_id"])}
    for trial_id, n_params in chosen.items():
        if trial_id in by_trial:
            own = by_trial[trial_id]
            values = array(own, "train_flops", "loss")
            best = values[[_best(own, best_steps.get(trial_id))]]
            yield Series(
                line=Line(values),
                points=best,
                others=values[-1:],
                level=float(n_params),
                run=known.of(trial_id),
            )


def _best(curve: pd.DataFrame, best_step: float | None) -> int:
    """Returns the row of a curve that the run counts by: its recorded best step, else its lowest loss."""
    recorded = np.flatnonzero(curve["step"].to_numpy() == best_step)
    return int(recorded[0]) if recorded.size else int(np.argmin(curve["loss"].to_numpy(dtype=float)))


TOPIC = Topic("curves", "Learning curves", figures=_figures)
