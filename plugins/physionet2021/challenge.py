"""What the official scorer of PhysioNet/CinC Challenge 2021 computes, vectorized.

Definitions: Reyna et al., "Will Two Do? Varying Dimensions in Electrocardiography: The PhysioNet/Computing in
Cardiology Challenge 2021", and its scorer (https://github.com/physionetchallenges/evaluation-2021). Labels
and outputs are (n, 26) of 0 and 1 in the official order of classes, scores (n, 26) of any real numbers.

A class is *absent* where the official scorer gives it no number (NaN); means over classes leave it out. For
the AUROC that is a class without a positive or without a negative, for the AUPRC one without a positive, for
the F-measure one that is neither labeled nor answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import scalelab

from .classes import ABBREVIATIONS, N_CLASSES, SINUS_RHYTHM, weights

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class ChallengeScores:
    """Everything the official scorer reports; means over the classes that are not absent.

    Attributes:
        challenge_metric: 1 for the right answers, 0 for always answering sinus rhythm.
        auroc: Mean area under the ROC curve.
        auprc: Mean area under the precision-recall curve, as a step function.
        accuracy: Part of the records with all 26 answers right.
        f_measure: Mean F1.
        auroc_per_class: (26,), NaN where absent; likewise the next two.
        auprc_per_class: See `auroc_per_class`.
        f_per_class: See `auroc_per_class`.
    """

    challenge_metric: float
    auroc: float
    auprc: float
    accuracy: float
    f_measure: float
    auroc_per_class: np.ndarray
    auprc_per_class: np.ndarray
    f_per_class: np.ndarray


def challenge_metric(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Returns the official challenge metric.

    Each record shares one point among its (label, answer) pairs, weighted by what the confusion is worth and
    divided by the number of classes labeled or answered; the sum is scaled so that always answering sinus
    rhythm scores 0 and the labels themselves score 1.

    Args:
        labels: (n, 26) of 0 and 1, in the official order of classes.
        outputs: (n, 26) of 0 and 1: the classes that are answered.

    Raises:
        scalelab.InputError: A shape or a value is wrong.
    """
    import numpy as np

    truth, answers = _binary(labels, "labels"), _binary(outputs, "outputs")
    _same_length(truth, answers)
    worth = worth_of(truth)
    inactive = np.zeros_like(truth)
    inactive[:, SINUS_RHYTHM] = True
    observed, correct, always = (_total(truth, worth, given) for given in (answers, truth, inactive))
    return (observed - always) / (correct - always) if correct != always else 0.0


def worth_of(labels: np.ndarray) -> np.ndarray:
    """Returns what answering each class is worth for each record before normalization: (n, 26), float64."""
    worth: np.ndarray = labels.astype(float) @ weights()
    return worth


def areas(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the AUROC and the AUPRC of each class, both (26,), NaN where absent.

    Records with equal scores are answered together, as the official scorer does.

    Raises:
        scalelab.InputError: A shape or a value is wrong, or a score is not finite.
    """
    import numpy as np

    truth, scores = _binary(labels, "labels"), _finite(scores, "scores")
    _same_length(truth, scores)
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)
    true_positive = np.take_along_axis(truth, order, axis=0).cumsum(axis=0)
    false_positive = np.arange(1, len(truth) + 1)[:, None] - true_positive
    n_positive, n_negative = true_positive[-1:], false_positive[-1:]
    # The last record of each run of equal scores is where a threshold can stand.
    stop = np.ones(ranked.shape, dtype=bool)
    stop[:-1] = ranked[:-1] != ranked[1:]
    before_tp, before_fp = (_before(count, stop) for count in (true_positive, false_positive))
    with np.errstate(invalid="ignore", divide="ignore"):
        gained = np.where(stop, true_positive - before_tp, 0) / n_positive
        passed = (2 * n_negative - false_positive - before_fp) / (2 * n_negative)
        precision = true_positive / (true_positive + false_positive)
    return (gained * passed).sum(axis=0), (gained * precision).sum(axis=0)


def f_measures(labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Returns F1 = 2·TP / (2·TP + FP + FN) of each class, (26,), NaN where absent.

    Raises:
        scalelab.InputError: A shape or a value is wrong.
    """
    import numpy as np

    truth, answers = _binary(labels, "labels"), _binary(outputs, "outputs")
    _same_length(truth, answers)
    whole = truth.sum(axis=0) + answers.sum(axis=0)
    measures = np.full(N_CLASSES, np.nan)
    np.divide(2 * (truth & answers).sum(axis=0), whole, out=measures, where=whole > 0)
    return measures


def accuracy(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Returns the part of the records with all 26 answers right.

    Raises:
        scalelab.InputError: A shape or a value is wrong.
    """
    truth, answers = _binary(labels, "labels"), _binary(outputs, "outputs")
    _same_length(truth, answers)
    return float((truth == answers).all(axis=1).mean())


def challenge_scores(labels: np.ndarray, scores: np.ndarray, outputs: np.ndarray) -> ChallengeScores:
    """Returns everything the official scorer reports.

    Args:
        labels: (n, 26) of 0 and 1, in the official order of classes.
        scores: (n, 26) of real numbers that rank the records within each class.
        outputs: (n, 26) of 0 and 1: the classes that are answered.

    Raises:
        scalelab.InputError: A shape or a value is wrong, or a score is not finite.
    """
    auroc, auprc = areas(labels, scores)
    measures = f_measures(labels, outputs)
    return ChallengeScores(
        challenge_metric=challenge_metric(labels, outputs),
        auroc=mean_of_defined(auroc),
        auprc=mean_of_defined(auprc),
        accuracy=accuracy(labels, outputs),
        f_measure=mean_of_defined(measures),
        auroc_per_class=auroc,
        auprc_per_class=auprc,
        f_per_class=measures,
    )


def mean_of_defined(values: np.ndarray) -> float:
    """Returns the mean of the values that are not NaN; NaN where there are none."""
    import numpy as np

    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _total(truth: np.ndarray, worth: np.ndarray, answers: np.ndarray) -> float:
    import numpy as np

    classes = np.maximum((truth | answers).sum(axis=1), 1)
    return float(np.einsum("ij,ij->i", worth, answers) @ (1 / classes))


def _before(count: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Returns, for each rank, a growing count at the last threshold before it."""
    import numpy as np

    reached = np.maximum.accumulate(np.where(stop, count, 0), axis=0)
    return np.concatenate([np.zeros_like(reached[:1]), reached[:-1]])


def _table(values: np.ndarray, name: str) -> np.ndarray:
    import numpy as np

    table = np.asarray(values)
    if table.ndim != 2 or table.shape[1] != N_CLASSES or len(table) == 0 or table.dtype.kind not in "biuf":
        raise scalelab.InputError(
            f"{name} are {table.dtype} of shape {table.shape}; the official scores need numbers of shape "
            f"(n, {N_CLASSES}) with n of 1 or more"
        )
    return table


def _finite(values: np.ndarray, name: str) -> np.ndarray:
    import numpy as np

    table: np.ndarray = _table(values, name).astype(np.float64)
    broken = np.argwhere(~np.isfinite(table))
    if len(broken):
        row, column = broken[0].tolist()
        raise scalelab.InputError(
            f"{name} hold {len(broken)} values that are not finite, the first one {table[row, column]:g} in "
            f"row {row}, class {ABBREVIATIONS[column]}; they cannot be ranked: leave the records out, or "
            "give them finite scores"
        )
    return table


def _binary(values: np.ndarray, name: str) -> np.ndarray:
    table = _table(values, name)
    if table.dtype.kind == "b":
        return table
    positive: np.ndarray = table == 1
    if not (positive | (table == 0)).all():
        raise scalelab.InputError(f"{name} hold other values than 0 and 1; apply a threshold first")
    return positive


def _same_length(labels: np.ndarray, others: np.ndarray) -> None:
    if len(labels) != len(others):
        raise scalelab.InputError(f"there are {len(labels)} rows of labels but {len(others)} of outputs")
