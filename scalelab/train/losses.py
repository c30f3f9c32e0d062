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
            raise DataError(
                f"{where} targets are {targets.dtype} of shape {targets.shape}; cross-entropy needs class "
                "indices: a one-dimensional integer array"
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
    elif task.loss == "bce" and len(targets) and (targets.min() < 0 or targets.max() > 1):
        raise DataError(f"{where} targets run from {targets.min()} to {targets.max()}; bce needs 0 to 1")
