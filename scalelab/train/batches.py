"""Batches of a nested subset, in an order that is a pure function of the seed and the step.

Trade-off: a batch may run across the border of two epochs, so that every step sees exactly `batch_size`
examples and n epochs are n · n_examples / batch_size steps, whatever the sizes; an epoch is therefore a
stretch of the stream of examples, not of steps. In return a resumed run needs no iterator state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.arrays import rows_of
from scalelab.components import Split
from scalelab.errors import DataError, InputError
from scalelab.train.classes import balanced_epoch
from scalelab.train.soundness import refuse_broken

if TYPE_CHECKING:
    import torch

_PREPARED = 256
RESIDENT_BYTES = 2**30
"""A subset up to this size is kept on the GPU; a larger one travels a batch at a time."""


def subset_indices(n_total: int, n_examples: int, data_seed: int) -> np.ndarray:
    """Returns the training examples of a trial: the first `n_examples` of one seeded permutation.

    Subsets of one seed are nested, so that the curves of a study over data sizes share their examples.

    Raises:
        InputError: There are fewer than `n_examples`.
    """
    if n_examples > n_total:
        raise InputError(f"the trial asks for {n_examples} training examples; the dataset has {n_total}")
    return np.random.default_rng(data_seed).permutation(n_total)[:n_examples]


class BatchOrder:
    """The endless stream of positions in a subset: a fresh permutation each epoch, cut into equal batches.

    The permutation of an epoch depends on nothing but (seed, epoch), so any step can be asked for at any
    time. One thread uses it; it keeps the last few permutations.

    Args:
        n_examples: Size of the subset.
        batch_size: Positions a step.
        seed: Of the permutations.
        classes: The class of each example, shape (n_examples,), for epochs in which every class comes as
            often; `None` for those in which every example comes once.
    """

    def __init__(
        self, n_examples: int, batch_size: int, seed: int, classes: np.ndarray | None = None
    ) -> None:
        self._n, self._batch_size, self._seed, self._classes = n_examples, batch_size, seed, classes
        self._epochs: dict[int, np.ndarray] = {}

    def positions(self, step: int) -> np.ndarray:
        """Returns the positions of the batch of `step`, which counts from 1: (batch_size,) of int64."""
        first = (step - 1) * self._batch_size
        stop = first + self._batch_size
        epoch, last_epoch = first // self._n, (stop - 1) // self._n
        if epoch == last_epoch:
            start = first - epoch * self._n
            return self._epoch(epoch)[start : start + self._batch_size]
        stream = np.concatenate([self._epoch(e) for e in range(epoch, last_epoch + 1)])
        return stream[first - epoch * self._n : stop - epoch * self._n]

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            for past in [e for e in self._epochs if e < epoch - 1]:
                del self._epochs[past]
            generator = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(epoch,)))
            if self._classes is None:
                self._epochs[epoch] = generator.permutation(self._n)
            else:
                self._epochs[epoch] = balanced_epoch(self._classes, generator)
        return self._epochs[epoch]


class Examples:
    """Some rows of a split, delivered as float32 batches on a device.

    On the CPU, rows are gathered from the split's own array: a memory map stays shared between processes, and
    the page cache is the only copy; an array that reads from a file is read a batch at a time. Elsewhere a
    small subset is moved to the device once, in the type it is stored in, and a larger one is gathered a
    batch at a time.

    Args:
        split: Inputs and targets.
        rows: Indices into the split, or `None` for all, in order.
        device: Where batches go.
        resident_bytes: The largest subset that is kept on a device other than the CPU.

    Raises:
        DataError: Inputs or targets are not numbers, are not finite where they are read, or differ in length.
    """

    def __init__(
        self,
        split: Split,
        rows: np.ndarray | None,
        device: torch.device,
        *,
        resident_bytes: int = RESIDENT_BYTES,
    ) -> None:
        self._device = device
        self._inputs: Any = split.inputs
        self._rows = rows
        self._n = len(split) if rows is None else len(rows)
        targets = np.asarray(split.targets)
        if len(split) != len(targets):
            raise DataError(f"a split has {len(split)} inputs but {len(targets)} targets")
        self.targets = _target_tensor(targets if rows is None else targets[rows], device)
        size = self._n * np.asarray(self._inputs[:1]).nbytes
        self._resident: torch.Tensor | None = None
        if device.type != "cpu" and size <= resident_bytes:
            self._resident = self._gather(np.arange(self._n)).to(device)

    def __len__(self) -> int:
        return self._n

    def batch(self, positions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns inputs, float32 of (batch, …), and targets at `positions` of the subset."""
        import torch

        index = torch.from_numpy(positions).to(self._device)
        targets = self.targets.index_select(0, index)
        if self._resident is not None:
            return self._resident.index_select(0, index).float(), targets
        return self._gather(positions).to(self._device).float(), targets

    def refuse_prepared(
        self, positions: np.ndarray, prepare: Callable[[torch.Tensor], torch.Tensor] | None, name: str
    ) -> None:
        """Refuses examples that are not finite as a model sees them, such as a flat lead by its spread.

        Args:
            positions: Which of the subset to look at, shape (n,).
            prepare: That of the dataset, if it has one.
            name: Of the split.

        Raises:
            DataError: One is not finite.
        """
        what = f"{name} inputs" if prepare is None else f"prepare() makes {name} inputs that"
        for first in range(0, len(positions), _PREPARED):
            own = positions[first : first + _PREPARED]
            inputs = self.batch(own)[0]
            values = (inputs if prepare is None else prepare(inputs)).float().cpu().numpy()
            refuse_broken(values, own if self._rows is None else self._rows[own], what)

    def _gather(self, positions: np.ndarray) -> torch.Tensor:
        import torch

        rows = positions if self._rows is None else self._rows[positions]
        inputs = rows_of(self._inputs, rows)
        if not isinstance(self._inputs, np.ndarray):  # which were not looked through before
            refuse_broken(inputs, rows, "inputs")
        if inputs.dtype not in (np.float16, np.float32):
            inputs = inputs.astype(np.float32)
        return torch.from_numpy(inputs)


def _target_tensor(targets: np.ndarray, device: torch.device) -> torch.Tensor:
    """Class indices (n,) become int64; everything else becomes float32."""
    import torch

    targets = np.asarray(targets)
    if targets.dtype.kind not in "biuf":
        raise DataError(f"targets are of type {targets.dtype}; they must be numbers")
    kind = np.int64 if targets.ndim == 1 and targets.dtype.kind in "biu" else np.float32
    return torch.from_numpy(targets.astype(kind)).to(device)
