"""The metrics of a task on the 26 scored classes: the official scores, and how far to trust a probability."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import scalelab

from .challenge import accuracy, areas, challenge_metric, f_measures, mean_of_defined
from .thresholds import ThresholdName, decide

CALIBRATION_BINS = 15

Score = Callable[[np.ndarray, np.ndarray], float]


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS
) -> float:
    """Returns the expected calibration error, a mean over classes.

    The probabilities of a class are put into bins of equal width on [0, 1]; its error is the mean over
    records of the distance, in the record's bin, between the mean probability and the part of positives. All
    classes count, absent ones too: a probability of 0.3 for what never happens is a wrong one.

    Source: Naeini, Cooper & Hauskrecht, AAAI 2015 (binary); Nixon et al., "Measuring Calibration in Deep
    Learning", 2019 (static calibration error: the mean over classes).

    Args:
        labels: (n, classes) of 0 and 1.
        probabilities: (n, classes) within [0, 1].
        bins: Number of bins.
    """
    n, classes = labels.shape
    inside = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    cell = (inside + bins * np.arange(classes)).ravel()
    surplus = (probabilities - labels).ravel()
    return float(np.abs(np.bincount(cell, surplus, minlength=bins * classes)).sum() / (n * classes))


def probabilities_of(outputs: np.ndarray) -> np.ndarray:
    """Returns the logistic function of raw outputs, float64, without overflow."""
    half: np.ndarray = 0.5 + 0.5 * np.tanh(0.5 * outputs.astype(np.float64))
    return half


def challenge_metrics(threshold: ThresholdName) -> tuple[scalelab.Metric, ...]:
    """Returns `challenge-metric`, `auroc`, `auprc`, `f-measure`, `accuracy` and `ece`.

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
        "ece": lambda outputs, targets: expected_calibration_error(targets, probabilities_of(outputs)),
    }
    return tuple(
        scalelab.Metric(
            name=name,
            compute=_defined(score),
            direction="minimize" if name == "ece" else "maximize",
            bounds=(None if name == "challenge-metric" else 0.0, 1.0),
        )
        for name, score in compute.items()
    )


def _defined(score: Score) -> Score:
    """A model that has diverged has no score."""
    return lambda outputs, targets: score(outputs, targets) if np.isfinite(outputs).all() else float("nan")
