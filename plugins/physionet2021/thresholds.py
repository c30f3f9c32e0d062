"""Decision thresholds, fitted to the challenge metric and judged on records they were not fitted to.

A threshold that is fitted and scored on the same records flatters itself, the more so with 26 of them. So the
rows are halved: what is fitted on one half decides the other, and the metric is computed on all of them. The
halves are the first and the second half of the records; the prepared folds hold them in a seeded random order
with those of a patient side by side, so at most the patient at the border is in both.

Thresholds are on the raw outputs (logits): 0 is a probability of 0.5.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from .challenge import worth_of

ThresholdName = Literal["0.5", "global", "per-class"]
SWEEPS = 5
"""Greatest number of rounds over the classes; two or three reach a local optimum."""


def decide(outputs: np.ndarray, targets: np.ndarray, threshold: ThresholdName) -> np.ndarray:
    """Returns the answers (n, 26) to raw outputs, thresholds cross-fitted between the halves of the rows.

    Args:
        outputs: Raw outputs (n, 26).
        targets: Labels (n, 26) of 0 and 1.
        threshold: `"0.5"` needs no fitting; the others as in `fit_thresholds`.
    """
    if threshold == "0.5":
        zero: np.ndarray = outputs > 0
        return zero
    answers = np.empty(outputs.shape, dtype=bool)
    middle = len(outputs) // 2
    first, second = slice(middle), slice(middle, None)
    for judged, fitted in ((first, second), (second, first)):
        answers[judged] = outputs[judged] > fit_thresholds(outputs[fitted], targets[fitted], threshold)
    return answers


def fit_thresholds(
    outputs: np.ndarray, targets: np.ndarray, threshold: Literal["global", "per-class"]
) -> np.ndarray:
    """Returns the thresholds (26,) on raw outputs that give these rows the best challenge metric.

    `"global"` is the best of all common thresholds. `"per-class"` starts from there and takes, one class
    after the other, the best threshold given those of the other classes, until nothing improves (a local
    optimum: the classes are tied together by the normalization). A class without a positive keeps the common
    threshold. Without rows all thresholds are 0.
    """
    thresholds = np.zeros(outputs.shape[1])
    if len(outputs) == 0:
        return thresholds
    truth = targets == 1
    worth = worth_of(truth)
    thresholds[:] = _best_common(outputs, truth, worth)
    if threshold == "per-class":
        _improve_each(thresholds, outputs, truth, worth)
    return thresholds


def _best_common(outputs: np.ndarray, truth: np.ndarray, worth: np.ndarray) -> float:
    """Lowering the threshold adds each record's classes from its largest output on: each a gain or a loss."""
    order = np.argsort(-outputs, axis=1, kind="stable")
    extra = ~np.take_along_axis(truth, order, axis=1)
    classes = np.maximum(truth.sum(axis=1, keepdims=True) + extra.cumsum(axis=1), 1)
    score = np.take_along_axis(worth, order, axis=1).cumsum(axis=1) / classes
    gains = np.diff(score, axis=1, prepend=0)
    values = np.take_along_axis(outputs, order, axis=1).ravel()
    ranks = np.argsort(-values, kind="stable")
    return _best_cut(values[ranks], gains.ravel()[ranks])


def _improve_each(thresholds: np.ndarray, outputs: np.ndarray, truth: np.ndarray, worth: np.ndarray) -> None:
    ranks = np.argsort(-outputs, axis=0, kind="stable")
    answers = outputs > thresholds
    score = np.einsum("ij,ij->i", worth, answers)
    classes = (truth | answers).sum(axis=1)
    for _ in range(SWEEPS):
        before = thresholds.copy()
        for k in np.flatnonzero(truth.any(axis=0)):
            extra = ~truth[:, k]
            score -= worth[:, k] * answers[:, k]
            classes -= extra & answers[:, k]
            gains = (score + worth[:, k]) / np.maximum(classes + extra, 1) - score / np.maximum(classes, 1)
            thresholds[k] = _best_cut(outputs[ranks[:, k], k], gains[ranks[:, k]])
            answers[:, k] = outputs[:, k] > thresholds[k]
            score += worth[:, k] * answers[:, k]
            classes += extra & answers[:, k]
        if np.array_equal(before, thresholds):
            break


def _best_cut(values: np.ndarray, gains: np.ndarray) -> float:
    """Returns the threshold on falling `values` above which the `gains` add up to the most.

    It stands half-way between the values that it parts, and one beyond the last where it takes all or none.
    """
    last = np.append(values[:-1] != values[1:], True)
    total = np.where(last, np.cumsum(gains), -np.inf)
    best = int(total.argmax())
    if total[best] <= 0:
        return float(values[0]) + 1
    if best == len(values) - 1:
        return float(values[-1]) - 1
    return (float(values[best]) + float(values[best + 1])) / 2
