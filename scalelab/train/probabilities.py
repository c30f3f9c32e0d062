"""What a classifier's outputs and targets say: probabilities of classes, and which of them were there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalelab.errors import DataError

if TYPE_CHECKING:
    import numpy as np


def binary(targets: np.ndarray) -> np.ndarray:
    """Returns where multi-label targets are 1.

    Raises:
        DataError: One is neither 0 nor 1.
    """
    positive: np.ndarray = targets == 1
    if not (positive | (targets == 0)).all():
        raise DataError(
            "a classification metric needs multi-label targets of 0 and 1; these have other values"
        )
    return positive


def one_hot(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns for each example which classes are there, shape (n, n_outputs).

    Raises:
        DataError: A multi-label target is neither 0 nor 1.
    """
    import numpy as np

    return binary(targets) if targets.ndim == 2 else targets[:, None] == np.arange(outputs.shape[1])


def softmax(outputs: np.ndarray) -> np.ndarray:
    """Returns the probabilities of classes of which one is there, float64; NaN where outputs are infinite."""
    import numpy as np

    scores = outputs.astype(np.float64)
    with np.errstate(invalid="ignore"):
        scores = np.exp(scores - scores.max(1, keepdims=True))
    shares: np.ndarray = scores / scores.sum(1, keepdims=True)
    return shares


def logistic(outputs: np.ndarray) -> np.ndarray:
    """Returns the probabilities of classes of which any may be there, float64, without overflow."""
    import numpy as np

    half: np.ndarray = 0.5 + 0.5 * np.tanh(0.5 * outputs.astype(np.float64))
    return half
