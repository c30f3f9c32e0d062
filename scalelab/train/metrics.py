"""Metrics by name, for multi-class targets (n,) and multi-label targets (n, n_outputs) of 0 and 1.

Predictions are the largest output (multi-class) or the outputs above 0 (multi-label, outputs being logits).
A class is *absent* where a number is not defined for it; averages over classes leave absent classes out, and
are NaN where every class is absent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from scalelab.components import Metric, Task
from scalelab.errors import InputError, brief, suggest
from scalelab.records import Direction
from scalelab.train.calibration import ece
from scalelab.train.probabilities import binary, one_hot, softmax

if TYPE_CHECKING:
    import numpy as np


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Fraction of examples answered right; in multi-label tasks, of those with every label right."""
    if targets.ndim == 1:
        return float((outputs.argmax(1) == targets).mean())
    return float(((outputs > 0) == binary(targets)).all(1).mean())


def balanced_accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean recall over the classes that occur; multi-label: mean of (sensitivity + specificity) / 2.

    Labels without a positive or without a negative are absent. Source: Brodersen et al. 2010.
    """
    true_positive, false_positive, false_negative, true_negative = _counts(outputs, targets)
    recall = _ratio(true_positive, true_positive + false_negative)
    if targets.ndim == 1:
        return _mean(recall)
    return _mean((recall + _ratio(true_negative, true_negative + false_positive)) / 2)


def macro_f1(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean over classes of F1 = 2·TP / (2·TP + FP + FN); absent: never a target and never predicted."""
    true_positive, false_positive, false_negative, _ = _counts(outputs, targets)
    return _mean(_ratio(2 * true_positive, 2 * true_positive + false_positive + false_negative))


def auroc(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean over classes of the area under the ROC curve, each class against the rest.

    Scores are softmax probabilities (multi-class) or the outputs themselves (multi-label). Absent: a class
    without a positive or without a negative.
    """
    from sklearn.metrics import roc_auc_score

    return _mean_over_classes(roc_auc_score, outputs, targets)


def auprc(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean over classes of the average precision (area under precision over recall), as for `auroc`."""
    from sklearn.metrics import average_precision_score

    return _mean_over_classes(average_precision_score, outputs, targets)


def _counts(
    outputs: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns true positives, false positives, false negatives and true negatives, each (n_outputs,)."""
    truth = one_hot(outputs, targets)
    predicted = outputs > 0 if targets.ndim == 2 else one_hot(outputs, outputs.argmax(1))
    true_positive = (truth & predicted).sum(0)
    false_positive = predicted.sum(0) - true_positive
    false_negative = truth.sum(0) - true_positive
    return (
        true_positive,
        false_positive,
        false_negative,
        len(truth) - true_positive - false_positive - false_negative,
    )


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    import numpy as np

    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _mean(values: np.ndarray) -> float:
    import numpy as np

    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _mean_over_classes(
    score: Callable[[np.ndarray, np.ndarray], float], outputs: np.ndarray, targets: np.ndarray
) -> float:
    import numpy as np

    truth = one_hot(outputs, targets)
    scores = softmax(outputs) if targets.ndim == 1 else outputs.astype(np.float64)
    positives = truth.sum(0)
    defined = np.flatnonzero((positives > 0) & (positives < len(truth)))
    return _mean(np.array([score(truth[:, k], scores[:, k]) for k in defined]))


_DIRECTIONS: dict[str, Direction] = {"ece": "minimize"}
METRICS: dict[str, Metric] = {
    name: Metric(name=name, compute=compute, direction=_DIRECTIONS.get(name, "maximize"), bounds=(0.0, 1.0))
    for name, compute in {
        "accuracy": accuracy,
        "balanced-accuracy": balanced_accuracy,
        "macro-f1": macro_f1,
        "auroc": auroc,
        "auprc": auprc,
        "ece": ece,
    }.items()
}


def resolve_metric(metric: str | Metric) -> Metric:
    """Returns the built-in metric of a name; a `Metric` is returned as it is.

    Raises:
        InputError: There is no built-in metric of that name.
    """
    if isinstance(metric, Metric):
        return metric
    if metric not in METRICS:
        raise InputError(
            f"unknown metric {metric!r}{suggest(metric, METRICS) or ' (known: ' + ', '.join(METRICS) + ')'}"
        )
    return METRICS[metric]


def resolve_metrics(task: Task) -> tuple[Metric, ...]:
    """Returns the metrics of a task, in its order.

    Raises:
        InputError: A name is unknown, `"loss"`, there twice, or not one line of printable text.
    """
    metrics = tuple(resolve_metric(metric) for metric in task.metrics)
    names = [metric.name for metric in metrics]
    for name in names:
        if not (isinstance(name, str) and name and name.isprintable()):
            raise InputError(f"metric name {brief(name)} is not printable text; give it another name")
        if name == "loss" or names.count(name) > 1:
            reason = "is the name of the loss" if name == "loss" else "is listed twice"
            raise InputError(f"metric name {name!r} {reason}; give it another name")
    return metrics


def objective_of(task: Task, chosen: str | None = None) -> tuple[str, Direction]:
    """Returns the name and the direction of an objective; `"loss"` is minimized.

    Args:
        task: Has an objective of its own, and the metrics to choose from.
        chosen: What a study asks for in its place.

    Raises:
        InputError: The objective is neither `"loss"` nor one of the task's metrics.
    """
    name = task.objective if chosen is None else chosen
    directions: dict[str, Direction] = {"loss": "minimize"}
    directions.update({metric.name: metric.direction for metric in resolve_metrics(task)})
    if name not in directions:
        raise InputError(
            f"{'' if chosen is None else 'training.'}objective {name!r} is not among the task's metrics"
            f"{suggest(name, directions) or ' (' + ', '.join(directions) + ')'}"
        )
    return name, directions[name]
