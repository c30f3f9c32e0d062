"""What a target's outputs are worth: against PyTorch in f32, on the dataset's validation examples."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from scalelab.components import OpenDataset, Precision
    from scalelab.measure.fidelity import Fidelity, Infer

FEWEST, MOST = 32, 2000
"""Inputs that are compared whatever it takes, and at most."""
PATIENCE = 10.0
"""How many times the time limit comparing may take, before it is done on fewer examples."""


def compared(
    data: OpenDataset,
    module: nn.Module,
    infer: Infer,
    batch: np.ndarray,
    seconds: float,
    *,
    precision: Precision,
    trained: bool,
) -> dict[str, Any]:
    """Compares outputs with PyTorch's in f32, and the task's metrics where the weights are trained.

    Outputs in f32 that are not PyTorch's make the measurement `failed`. What a lower precision may cost is
    for the user to judge: its errors are recorded and nothing more.

    Args:
        data: Whose validation examples go in: all, or some drawn at random, the same for every target.
        module: The network.
        infer: Runs it on the target, on batches of the shape of `batch`.
        batch: One of them.
        seconds: The time limit; a target so slow that all examples would take many times that gets fewer.
        precision: What the target computes in.
        trained: Whether metrics mean anything.

    Returns:
        Fields of a `scalelab.measurements.Measurement`, its status among them. Outputs for the windows of an
        example are compared one by one; metrics are of examples.

    Raises:
        BackendError: An output is not finite, here or in PyTorch.
    """
    from scalelab.measure.fidelity import compare, explained, outputs_of, reference_outputs
    from scalelab.subsets import averaged, windows_per_example

    infer(batch)
    start = time.perf_counter()
    infer(batch)
    affordable = int(PATIENCE * seconds / (time.perf_counter() - start)) * len(batch)
    passes = max(FEWEST, min(MOST, affordable))
    n = min(len(data.validation), max(1, int(passes / windows_per_example(data.validation))))
    inputs, targets, windows = _examples(data, n)
    outputs, wanted = outputs_of(infer, inputs, len(batch)), reference_outputs(module, inputs)

    def score(outputs: np.ndarray, targets: np.ndarray) -> Mapping[str, float]:
        return _scores(data, averaged(outputs, windows), targets)

    found = compare(outputs, wanted, targets=targets, score=score if trained else None)
    fault = found.fault if precision == "f32" else None
    facts: dict[str, Any] = {
        "status": "failed" if fault else "ok",
        "reason": fault and explained(fault, module, inputs, wanted),
        "n_compared": n,
        "max_abs_error": found.max_error,
        "relative_error": found.relative_error,
        "rms_error": found.rms_error,
        "agreement": found.agreement,
    }
    return facts | (_costs(data, found) if trained else {})


def _examples(data: OpenDataset, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Returns model inputs and targets of n validation examples, and how many inputs each example has."""
    import numpy as np

    from scalelab.arrays import rows_of
    from scalelab.measure.fidelity import model_inputs
    from scalelab.subsets import rows_of_examples

    drawn = np.sort(np.random.default_rng(0).permutation(len(data.validation))[:n])
    rows, windows = rows_of_examples(data.validation, drawn)
    inputs = model_inputs(data, rows_of(data.validation.inputs, rows))
    return inputs, np.asarray(data.validation.targets)[drawn], windows


def _costs(data: OpenDataset, found: Fidelity) -> dict[str, Any]:
    """Returns the objective and all scores of trained weights, in f32 and on the target."""
    from scalelab.train.metrics import objective_of

    metric, direction = objective_of(data.task)
    return {
        "scores_f32": dict(found.reference_scores),
        "scores_here": dict(found.scores),
        "objective_f32": found.reference_scores[metric],
        "objective_here": found.scores[metric],
        "metric": metric,
        "direction": direction,
    }


def _scores(data: OpenDataset, outputs: np.ndarray, targets: np.ndarray) -> Mapping[str, float]:
    """Returns the loss and the task's metrics, by name."""
    import torch

    from scalelab.train.losses import resolve_loss
    from scalelab.train.metrics import resolve_metrics

    loss = resolve_loss(data.task.loss)(torch.from_numpy(outputs), torch.from_numpy(targets))
    metrics = {metric.name: metric.compute(outputs, targets) for metric in resolve_metrics(data.task)}
    return {"loss": float(loss)} | metrics
