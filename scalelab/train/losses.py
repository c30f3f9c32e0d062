"""Losses by name. All take raw outputs and return the mean over the batch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scalelab.components import LossFunction, Task
from scalelab.errors import DataError, InputError, suggest

if TYPE_CHECKING:
    import numpy as np
    import torch


def _torch_loss(function: str, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    loss: torch.Tensor = getattr(functional, function)(outputs, targets)
    return loss


LOSSES: dict[str, LossFunction] = {
    "cross-entropy": partial(_torch_loss, "cross_entropy"),
    "bce": partial(_torch_loss, "binary_cross_entropy_with_logits"),
    "mse": partial(_torch_loss, "mse_loss"),
}


def resolve_loss(loss: str | LossFunction) -> LossFunction:
    """Returns the loss function of a name; a function is returned as it is.

    - `"cross-entropy"`: softmax cross-entropy in nats; targets are class indices (n,).
    - `"bce"`: binary cross-entropy on logits, mean over examples and outputs; targets (n, n_outputs) in
      [0, 1].
    - `"mse"`: mean squared error over examples and outputs; targets (n, n_outputs).

    Raises:
        InputError: There is no built-in loss of that name.
    """
    if not isinstance(loss, str):
        return loss
    if loss not in LOSSES:
        raise InputError(
            f"unknown loss {loss!r}{suggest(loss, LOSSES) or ' (known: ' + ', '.join(LOSSES) + ')'}"
        )
    return LOSSES[loss]


def check_targets(targets: np.ndarray, task: Task, where: str) -> None:
    """Refuses targets that a built-in loss would misread: a wrong shape would broadcast in silence.

    Raises:
        DataError: Shape, type or range do not fit the task's loss.
    """
    import numpy as np

    if task.loss == "cross-entropy":
        if targets.ndim != 1 or not np.issubdtype(targets.dtype, np.integer):
            remedy = "give such an array"
            if targets.shape[1:] == (task.n_outputs,):
                remedy = "of one-hot targets that is targets.argmax(1); for several labels at once it is bce"
            elif targets.ndim == 2:
                remedy = "answers for every time step need a loss of one's own, on flattened outputs"
            raise DataError(
                f"{where} targets are {targets.dtype} of shape {targets.shape}; cross-entropy needs class "
                f"indices, a one-dimensional integer array: {remedy}"
            )
        if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < task.n_outputs:
            raise DataError(
                f"{where} targets run from {targets.min()} to {targets.max()}; with {task.n_outputs} outputs "
                f"they must lie from 0 to {task.n_outputs - 1}"
            )
    elif task.loss in ("bce", "mse") and targets.shape[1:] != (task.n_outputs,):
        raise DataError(
            f"{where} targets have shape {targets.shape}; {task.loss} needs (n, n_outputs) = "
            f"({len(targets)}, {task.n_outputs})"
        )
    elif task.loss in ("bce", "mse") and not np.isfinite(targets).all():
        place = [int(one) for one in np.argwhere(~np.isfinite(targets))[0]]
        raise DataError(
            f"{where} targets are not finite: {targets[tuple(place)]} at {place}; drop these examples, or "
            "give the task a loss of its own that leaves them out"
        )
    elif task.loss == "bce" and len(targets) and (targets.min() < 0 or targets.max() > 1):
        raise DataError(f"{where} targets run from {targets.min()} to {targets.max()}; bce needs 0 to 1")


def constant_loss(targets: np.ndarray, task: Task) -> float | None:
    """Returns the loss of the best constant answer: what a model has that makes nothing of its inputs.

    Runs too small to learn have it, and no law of the loss should say more for them. Take the targets of the
    split that the losses are of, which is the validation split.

    - `"cross-entropy"`: the entropy of the classes' frequencies, in nats.
    - `"bce"`: the entropy of each output's mean target, averaged over outputs.
    - `"mse"`: the variance of each output, averaged over outputs.

    Args:
        targets: Targets of n examples, as in `Split`.
        task: What they are targets of.

    Returns:
        The loss, or `None` where the task's loss is a function of its own.

    Raises:
        DataError: There are no targets, or they do not fit the task's loss.
        InputError: There is no built-in loss of that name.
    """
    import numpy as np

    resolve_loss(task.loss)
    if not isinstance(task.loss, str):
        return None
    targets = np.asarray(targets)
    check_targets(targets, task, "these")
    if not len(targets):
        raise DataError("there are no targets, so that no answer to them is the best one")
    if task.loss == "mse":
        return float(np.var(targets, axis=0, dtype=float).mean())
    if task.loss == "bce":
        means = targets.mean(axis=0, dtype=float)
        return _entropy(np.stack([means, 1.0 - means])) / task.n_outputs
    return _entropy(np.bincount(targets) / len(targets))


def _entropy(shares: np.ndarray) -> float:
    import numpy as np

    known = shares[shares > 0]
    return float(-(known * np.log(known)).sum())
