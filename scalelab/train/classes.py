"""Classes of unequal size: weights for the loss, and batches in which every class comes as often."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from scalelab.components import LossFunction, Task
from scalelab.errors import InputError
from scalelab.records import TrainingOptions

if TYPE_CHECKING:
    import torch

_WEIGHTED = ("cross-entropy", "bce")


def check_classes(training: TrainingOptions, task: Task) -> None:
    """Refuses weights and samplers that a task has no use for.

    Raises:
        InputError: The task has no classes, or another number of them than there are weights.
    """
    weights = training.class_weights
    loss = task.loss if isinstance(task.loss, str) else "a function of its own"
    if weights is not None and loss not in _WEIGHTED:
        raise InputError(
            f"training.class_weights: the dataset's loss is {loss}; classes have {' and '.join(_WEIGHTED)}"
        )
    if isinstance(weights, tuple) and len(weights) != task.n_outputs:
        raise InputError(
            f"training.class_weights: {len(weights)} weights, and the dataset has {task.n_outputs} classes"
        )
    if training.sampler == "balanced" and loss != "cross-entropy":
        raise InputError(
            f"training.sampler = 'balanced': the dataset's loss is {loss}; one class an example, as "
            "cross-entropy has, is what a batch can be balanced by"
        )


def weights_of(training: TrainingOptions, task: Task, targets: np.ndarray) -> np.ndarray | None:
    """Returns the weights of the classes, shape (n_outputs,); `None` where all count alike.

    `"balanced"` is n / (k · n_c) for cross-entropy, so that the k classes count alike and the mean weight of
    the n examples is 1 (King & Zeng 2001; scikit-learn's `compute_class_weight`), and for bce the ratio of
    negative to positive examples of each output. `"sqrt"` goes half of that way: proportional to n_c^(-1/2),
    the mean weight of the examples being 1 as well, and for bce the root of the ratio. A class without
    examples has weight 1.

    Args:
        training: The options.
        task: What the targets are of.
        targets: Of the trial's training examples, as in `Split`.
    """
    weights = training.class_weights
    if weights is None:
        return None
    if isinstance(weights, tuple):
        return np.asarray(weights, dtype=np.float32)
    n, power = len(targets), 1.0 if weights == "balanced" else 0.5
    if task.loss == "bce":
        positive = np.asarray(targets).sum(axis=0, dtype=float)
        found = np.where(positive > 0, (n - positive) / np.maximum(positive, 1e-300), 1.0) ** power
    else:
        counts = np.bincount(targets, minlength=task.n_outputs).astype(float)
        total = (counts[counts > 0] ** (1 - power)).sum()
        found = np.where(counts > 0, n / (total * np.maximum(counts, 1) ** power), 1.0)
    return found.astype(np.float32)


def weighted(
    loss: LossFunction, task: Task, weights: np.ndarray | None, device: torch.device
) -> LossFunction:
    """Returns the loss to train with: of weighted classes where there are weights.

    Cross-entropy is then the weighted mean over the batch; of bce, positive examples count `weights` times.
    """
    import torch
    from torch.nn import functional

    if weights is None:
        return loss
    on_device = torch.from_numpy(weights).to(device)
    if task.loss == "bce":
        return partial(functional.binary_cross_entropy_with_logits, pos_weight=on_device)
    return partial(functional.cross_entropy, weight=on_device)


def balanced_epoch(classes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Returns positions in a subset for one epoch, in which each class comes equally often, give or take one.

    A class that is too small comes repeatedly, each of its examples as often, give or take one; of one that
    is too large, some are left out, others in every epoch.

    Args:
        classes: The class of each example, shape (n,).
        generator: Draws.

    Returns:
        Positions, shape (n,).
    """
    n = len(classes)
    members = [np.flatnonzero(classes == one) for one in np.unique(classes)]
    shares = np.full(len(members), n // len(members))
    shares[generator.permutation(len(members))[: n % len(members)]] += 1
    drawn = [
        np.concatenate([generator.permutation(own) for _ in range(-(-share // len(own)))])[:share]
        for own, share in zip(members, shares, strict=True)
        if share
    ]
    return generator.permutation(np.concatenate(drawn))
