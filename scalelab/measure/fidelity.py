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
from scalelab.subsets import rows_of_examples

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

Infer = Callable[["np.ndarray"], "np.ndarray"]
Score = Callable[["np.ndarray", "np.ndarray"], Mapping[str, float]]
"""`score(outputs, targets)`: numbers by name, such as the task's metrics."""

REFERENCE_BATCH = 256
"""Examples that f32 PyTorch answers at a time."""
F32_BOUND = 1e-3
"""Relative error beyond which outputs in f32 are wrong: rounding in another order stays far below it."""
ZERO = 1e-6
"""Outputs of at most this size are zero: an error relative to them says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How near outputs are to those of eager f32 PyTorch on the same examples.

    Attributes:
        n_examples: Examples compared.
        max_error: Largest absolute difference of an output.
        largest: Largest absolute output of the reference.
        relative_error: `max_error` over `largest`; `None` where that is zero (`ZERO`), as with a head that
            starts at zero.
        rms_error: Root mean square of the differences, over that of the reference; `None` likewise.
        agreement: Fraction of examples that get the same answer: the same largest output.
        scores: Numbers of the outputs by name, where targets were given.
        reference_scores: The same numbers of the reference.
    """

    n_examples: int
    max_error: float
    largest: float
    relative_error: float | None
    rms_error: float | None
    agreement: float
    scores: Mapping[str, float] = field(default_factory=dict)
    reference_scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def changes(self) -> dict[str, float]:
        """What each score changed by: negative is lower than the reference."""
        return {name: self.scores[name] - value for name, value in self.reference_scores.items()}

    @property
    def fault(self) -> str | None:
        """Why these cannot be outputs of the same network in f32; `None` where they can."""
        if self.relative_error is None:
            wrong = self.max_error > ZERO
            return f"outputs are up to {self.max_error:.2g} where PyTorch's are all 0" if wrong else None
        if self.relative_error <= F32_BOUND:
            return None
        return (
            f"outputs are off from PyTorch's by up to {self.max_error:.2g}, {self.relative_error:.2g} of the "
            f"largest one; in f32 at most {F32_BOUND:g} is right"
        )


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
        BackendError: An output is not finite, in the reference or here.
    """
    import numpy as np

    if outputs.shape != reference.shape or not reference.size:
        raise InputError(f"outputs of shape {outputs.shape} cannot be compared with {reference.shape}")
    n = len(outputs)
    if broken := _n_not_finite(reference):
        raise BackendError(
            f"PyTorch's own outputs of {broken} of {n} examples are not finite: nothing to compare with"
        )
    if broken := _n_not_finite(outputs):
        raise BackendError(f"outputs of {broken} of {n} examples are not finite; in f32 they are")
    exact = reference.astype(np.float64)
    difference = np.abs(outputs - exact)
    largest, error = float(np.abs(exact).max()), float(difference.max())
    several = outputs.ndim > 1 and outputs.shape[-1] > 1
    same = outputs.argmax(-1) == reference.argmax(-1) if several else (outputs > 0) == (reference > 0)
    scored = score is not None and targets is not None
    return Fidelity(
        n_examples=len(outputs),
        max_error=error,
        largest=largest,
        relative_error=error / largest if largest > ZERO else None,
        rms_error=float(np.sqrt((difference**2).mean() / (exact**2).mean())) if largest > ZERO else None,
        agreement=float(same.reshape(len(outputs), -1).all(axis=1).mean()),
        scores=dict(score(outputs, targets)) if scored else {},  # type: ignore[misc, arg-type]
        reference_scores=dict(score(reference, targets)) if scored else {},  # type: ignore[misc, arg-type]
    )


def _n_not_finite(outputs: np.ndarray) -> int:
    import numpy as np

    return int((~np.isfinite(outputs)).any(axis=tuple(range(1, outputs.ndim))).sum())


def check_outputs(infer: Infer, module: nn.Module, inputs: np.ndarray, batch_size: int) -> None:
    """Checks that a network in a runtime, in f32, gives the outputs that it gives in PyTorch.

    Args:
        infer: Runs it there, `batch_size` examples a call.
        module: The network; a copy of it answers in evaluation mode, on the CPU.
        inputs: Examples that differ, (n, *input_shape), float32.
        batch_size: Examples per call; the last call is filled up.

    Raises:
        BackendError: Outputs differ by more than 1e-3 of the largest one (`F32_BOUND`), or are not finite.
    """
    wanted = reference_outputs(module, inputs)
    fault = compare(outputs_of(infer, inputs, batch_size), wanted).fault
    if fault is not None:
        raise BackendError(explained(fault, module, inputs, wanted))


def explained(fault: str, module: nn.Module, inputs: np.ndarray, wanted: np.ndarray) -> str:
    """Returns what is wrong with outputs; that PyTorch's own vary is said where they do.

    Args:
        fault: What is wrong (`Fidelity.fault`).
        module: The network.
        inputs: The examples that were compared.
        wanted: What PyTorch gave on them.
    """
    import numpy as np

    if np.array_equal(reference_outputs(module, inputs), wanted):
        return fault
    return f"{fault}; the network is random: PyTorch's own outputs differ from call to call"


def reference_outputs(module: nn.Module, inputs: np.ndarray) -> np.ndarray:
    """Returns what a copy of the module answers in evaluation mode, in f32 on the CPU: (n, n_outputs).

    Complex weights stay complex, and integers integers.
    """
    import torch

    # Not .to(torch.float32), which drops imaginary parts.
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
    Of an example with several windows the first is taken.
    """
    import numpy as np

    n = min(n, len(data.train))
    chosen = np.sort(np.random.default_rng(seed).choice(len(data.train), n, replace=False))
    rows, windows = rows_of_examples(data.train, chosen)
    if windows is not None:
        rows = rows[np.cumsum(windows) - windows]
    return model_inputs(data, rows_of(data.train.inputs, rows))
