"""How far a classifier's probabilities are from what happens, each class against the rest.

The probabilities of a class are put into bins of equal width on [0, 1]. Sources: Naeini, Cooper & Hauskrecht,
AAAI 2015 (expected calibration error of two classes); Nixon et al., "Measuring Calibration in Deep Learning",
2019 (static calibration error, its mean over classes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalelab.components import Task
from scalelab.records import Calibration
from scalelab.train.probabilities import logistic, one_hot, softmax

if TYPE_CHECKING:
    import numpy as np

BINS = 15


def ece(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Expected calibration error: how far probabilities are from what happens, mean over classes.

    The error of a class is the mean over examples of the distance, in the example's bin, between the mean
    probability and the part of positives. Probabilities are softmax (multi-class) or logistic (multi-label).
    All classes count, those that never occur too: 0.3 for what never happens is a wrong probability. NaN
    where an output is.
    """
    import numpy as np

    probabilities, truth = _probabilities(outputs, targets), one_hot(outputs, targets)
    if np.isnan(probabilities).any():
        return float("nan")
    return float(np.abs(_surplus(probabilities, truth)).sum() / truth.size)


def calibration(outputs: np.ndarray, targets: np.ndarray, task: Task) -> Calibration | None:
    """Returns the calibration of a classifier; `None` of anything else, and where an output is NaN.

    A classifier has the loss `"cross-entropy"`, or `"bce"` with targets of 0 and 1, or among its metrics
    `"ece"`, by which a loss of one's own says that its outputs are logits of classes.

    Args:
        outputs: Of the model, shape (n, n_outputs).
        targets: As in `Split`.
        task: What they belong to.
    """
    import numpy as np

    if not _classifies(task, targets):
        return None
    probabilities, truth = _probabilities(outputs, targets), one_hot(outputs, targets)
    if np.isnan(probabilities).any():
        return None
    bins = _bins(probabilities).ravel()
    counts = np.bincount(bins, minlength=BINS)
    sums = np.bincount(bins, probabilities.ravel(), minlength=BINS)
    errors = np.abs(_surplus(probabilities, truth)).sum(1) / len(truth)
    names = task.classes if len(set(task.classes)) == len(errors) else map(str, range(len(errors)))
    return Calibration(
        ece=dict(zip(names, errors.tolist(), strict=True)),
        counts=tuple(counts.tolist()),
        probabilities=tuple(
            total / n if n else None for total, n in zip(sums.tolist(), counts.tolist(), strict=True)
        ),
        positives=tuple(np.bincount(bins[truth.ravel()], minlength=BINS).tolist()),
    )


def _classifies(task: Task, targets: np.ndarray) -> bool:
    if task.loss == "bce":
        return bool(((targets == 0) | (targets == 1)).all())
    return task.loss == "cross-entropy" or "ece" in task.metrics


def _probabilities(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return logistic(outputs) if targets.ndim == 2 else softmax(outputs)


def _bins(probabilities: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)


def _surplus(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns by how much the probabilities of each class and bin exceed its positives, shape (k, BINS)."""
    import numpy as np

    k = truth.shape[1]
    cells = (_bins(probabilities) + BINS * np.arange(k)).ravel()
    return np.bincount(cells, (probabilities - truth).ravel(), minlength=BINS * k).reshape(k, BINS)
