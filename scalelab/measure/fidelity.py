"""What a runtime or a lower precision costs in exactness: outputs against f32 PyTorch, and the objective.

A precision that is twice as fast is no gain where its answers are wrong, and the error of outputs alone does
not tell: the objective on validation data does. So both stand beside each other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scalelab.arrays import rows_of
from scalelab.components import OpenDataset
from scalelab.errors import BackendError, InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

Infer = Callable[["np.ndarray"], "np.ndarray"]
Score = Callable[["np.ndarray", "np.ndarray"], Mapping[str, float]]
"""`score(outputs, targets)`: numbers by name, such as the task's metrics."""

REFERENCE_BATCH = 256
"""Examples that f32 PyTorch answers at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How near outputs are to those of eager f32 PyTorch on the same examples.

    Attributes:
        n_examples: Examples compared.
        max_error: Largest absolute difference of an output.
        relative_error: That, over the largest absolute output of the reference.
        rms_error: Root mean square of the differences, over that of the reference.
        agreement: Fraction of examples that get the same answer: the same largest output.
        scores: Numbers of the outputs by name, where targets were given.
        reference_scores: The same numbers of the reference.
    """

    n_examples: int
    max_error: float
    relative_error: float
    rms_error: float
    agreement: float
    scores: Mapping[str, float] = field(default_factory=dict)
    reference_scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def changes(self) -> dict[str, float]:
        """What each score changed by: negative is lower than the reference."""
        return {name: self.scores[name] - value for name, value in self.reference_scores.items()}


def compare(
    outputs: np.ndarray,
    reference: np.ndarray,
    *,
    targets: np.ndarray | None = None,
    score: Score | None = None,
) -> Fidelity:
    """Compares outputs with a reference, both (n, n_outputs).

    Args:
        outputs: What the runtime gave.
        reference: What eager f32 PyTorch gave on the same examples (`reference_outputs`).
        targets: The examples' targets, for `score`.
        score: What to compute from outputs and targets; nothing by default.

    Raises:
        InputError: The shapes differ, or there is nothing to compare.
        BackendError: An output is not finite though the reference's are.
    """
    import numpy as np

    if outputs.shape != reference.shape or not reference.size:
        raise InputError(f"outputs of shape {outputs.shape} cannot be compared with {reference.shape}")
    broken = int((~np.isfinite(outputs)).any(axis=tuple(range(1, outputs.ndim))).sum())
    if broken and np.isfinite(reference).all():
        raise BackendError(f"outputs of {broken} of {len(outputs)} examples are not finite; in f32 they are")
    exact = reference.astype(np.float64)
    difference = np.abs(outputs - exact)
    largest = max(float(np.abs(exact).max()), np.finfo(float).tiny)
    scale = max(float(np.sqrt((exact**2).mean())), np.finfo(float).tiny)
    several = outputs.ndim > 1 and outputs.shape[-1] > 1
    same = outputs.argmax(-1) == reference.argmax(-1) if several else (outputs > 0) == (reference > 0)
    scored = score is not None and targets is not None
    return Fidelity(
        n_examples=len(outputs),
        max_error=float(difference.max()),
        relative_error=float(difference.max()) / largest,
        rms_error=float(np.sqrt((difference**2).mean())) / scale,
        agreement=float(same.reshape(len(outputs), -1).all(axis=1).mean()),
        scores=dict(score(outputs, targets)) if scored else {},  # type: ignore[misc, arg-type]
        reference_scores=dict(score(reference, targets)) if scored else {},  # type: ignore[misc, arg-type]
    )


def reference_outputs(module: nn.Module, inputs: np.ndarray) -> np.ndarray:
    """Returns what a copy of the module answers in evaluation mode, in f32 on the CPU: (n, n_outputs)."""
    import torch

    model = copy.deepcopy(module).cpu().float().eval()
    with torch.inference_mode():
        outputs: np.ndarray = torch.cat([model(batch) for batch in _batches(inputs)]).numpy()
    return outputs


def outputs_of(infer: Infer, inputs: np.ndarray, batch_size: int) -> np.ndarray:
    """Returns a runtime's outputs on all examples, (n, n_outputs), in calls of exactly `batch_size`.

    A runtime is loaded for inputs of one shape, so the last batch is filled up with the first examples, whose
    outputs are dropped.
    """
    import numpy as np

    n = len(inputs)
    if not n:
        raise InputError("there are no examples to run")
    outputs = []
    for first in range(0, n, batch_size):
        batch = np.asarray(inputs[first : first + batch_size], dtype=np.float32)
        outputs.append(infer(np.resize(batch, (batch_size, *batch.shape[1:])))[: len(batch)])
    return np.concatenate(outputs)


def model_inputs(data: OpenDataset, inputs: np.ndarray, n: int | None = None) -> np.ndarray:
    """Returns the first n examples as a model sees them without augmentation: (n, *input_shape), float32."""
    import torch

    batches = _batches(inputs[: len(inputs) if n is None else n])
    prepared = list(batches if data.prepare is None else map(data.prepare, batches))
    if not prepared:
        raise InputError("there are no examples to run")
    return torch.cat(prepared).numpy()


def _batches(inputs: np.ndarray) -> Iterator[torch.Tensor]:
    """Yields copies of all examples in float32, `REFERENCE_BATCH` at a time."""
    import numpy as np
    import torch

    for first in range(0, len(inputs), REFERENCE_BATCH):
        yield torch.from_numpy(np.array(inputs[first : first + REFERENCE_BATCH], dtype=np.float32))


def calibration_inputs(data: OpenDataset, n: int, seed: int = 0) -> np.ndarray:
    """Returns n training examples as a model sees them, drawn at random: (n, *input_shape), float32.

    Files order examples by patient or class, and the first ones would calibrate quantization for few of them.
    """
    import numpy as np

    n = min(n, len(data.train))
    chosen = np.sort(np.random.default_rng(seed).choice(len(data.train), n, replace=False))
    return model_inputs(data, rows_of(data.train.inputs, chosen))
