"""The metrics of a task on the 26 scored classes, as the official scorer has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import scalelab

from .challenge import accuracy, areas, challenge_metric, f_measures, mean_of_defined
from .thresholds import ThresholdName, decide

Score = Callable[[np.ndarray, np.ndarray], float]


def challenge_metrics(threshold: ThresholdName) -> tuple[scalelab.Metric, ...]:
    """Returns `challenge-metric`, `auroc`, `auprc`, `f-measure` and `accuracy`.

    Args:
        threshold: How the first, the fourth and the fifth come by their answers, see `decide`.
    """

    def decided(score: Score) -> Score:
        return lambda outputs, targets: score(targets, decide(outputs, targets, threshold))

    compute: dict[str, Score] = {
        "challenge-metric": decided(challenge_metric),
        "auroc": lambda outputs, targets: mean_of_defined(areas(targets, outputs)[0]),
        "auprc": lambda outputs, targets: mean_of_defined(areas(targets, outputs)[1]),
        "f-measure": decided(lambda labels, answers: mean_of_defined(f_measures(labels, answers))),
        "accuracy": decided(accuracy),
    }
    return tuple(
        scalelab.Metric(
            name=name,
            compute=_defined(score),
            direction="maximize",
            bounds=(None if name == "challenge-metric" else 0.0, 1.0),
        )
        for name, score in compute.items()
    )


def _defined(score: Score) -> Score:
    """A model that has diverged has no score."""
    return lambda outputs, targets: score(outputs, targets) if np.isfinite(outputs).all() else float("nan")
