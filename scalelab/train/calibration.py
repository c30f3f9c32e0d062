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
MOST_CLASSES = 1000
"""Of more classes nothing is recorded."""
_AT_A_TIME = 1 << 22


def ece(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Expected calibration error: how far probabilities are from what happens, mean over classes.

    The error of a class is the mean over examples of the distance, in the example's bin, between the mean
    probability and the part of positives. Probabilities are softmax (multi-class) or logistic (multi-label).
    All classes count, those that never occur too: 0.3 for what never happens is a wrong probability. NaN
    where an output is.
    """
    tally = _tally(outputs, targets)
    return float("nan") if tally is None else float(abs(tally[3]).sum() / outputs.size)


def calibration(outputs: np.ndarray, targets: np.ndarray, task: Task) -> Calibration | None:
    """Returns the calibration of a classifier; `None` of anything else, and where an output is NaN.

    A classifier has the loss `"cross-entropy"`, or `"bce"` with targets of 0 and 1, or among its metrics
    `"ece"`, by which a loss of one's own says that its outputs are logits of classes; and at most
    `MOST_CLASSES` classes.

    Args:
        outputs: Of the model, shape (n, n_outputs).
        targets: As in `Split`.
        task: What they belong to.
    """
    n, k = outputs.shape
    tally = _tally(outputs, targets) if k <= MOST_CLASSES and _classifies(task, targets) else None
    if tally is None:
        return None
    counts, sums, positives = (pooled.tolist() for pooled in tally[:3].sum(1))
    names = task.classes if len(set(task.classes)) == k else map(str, range(k))
    return Calibration(
        ece=dict(zip(names, (abs(tally[3]).sum(1) / n).tolist(), strict=True)),
        counts=tuple(map(int, counts)),
        probabilities=tuple(
            total / count if count else None for total, count in zip(sums, counts, strict=True)
        ),
        positives=tuple(map(int, positives)),
    )


def _classifies(task: Task, targets: np.ndarray) -> bool:
    if task.loss == "bce":
        return bool(((targets == 0) | (targets == 1)).all())
    return task.loss == "cross-entropy" or "ece" in task.metrics


def _tally(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
    """Returns counts, sums of probabilities, positives and the surplus of the sums over these.

    The shape is (4, n_outputs, BINS). `None` where an output is NaN. A part of the examples at a time: a
    task may have as many classes as a language has words.
    """
    import numpy as np

    n, k = outputs.shape
    tally = np.zeros((4, k * BINS))
    rows = max(1, _AT_A_TIME // k)
    for first in range(0, n, rows):
        own, there = outputs[first : first + rows], targets[first : first + rows]
        probabilities = logistic(own) if targets.ndim == 2 else softmax(own)
        if np.isnan(probabilities).any():
            return None
        truth = one_hot(own, there)
        bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
        cells = (bins + BINS * np.arange(k)).ravel()
        for total, weights in zip(tally, (None, probabilities, truth, probabilities - truth), strict=True):
            weighted = None if weights is None else weights.ravel()
            total += np.bincount(cells, weighted, minlength=k * BINS)
    return tally.reshape(4, k, BINS)
