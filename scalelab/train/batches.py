"""Batches of a nested subset, in an order that is a pure function of the seed and the step.

Trade-off: a batch may run across the border of two epochs, so that every step sees exactly `batch_size`
examples and n epochs are n · n_examples / batch_size steps, whatever the sizes; an epoch is therefore a
stretch of the stream of examples, not of steps. In return a resumed run needs no iterator state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from scalelab.arrays import at_hand, rows_of
from scalelab.components import OpenDataset, Split
from scalelab.errors import DataError
from scalelab.records import Trial
from scalelab.subsets import rows_of_examples, subset_indices
from scalelab.train.classes import balanced_epoch
from scalelab.train.soundness import refuse_broken

if TYPE_CHECKING:
    import torch

_PREPARED = 256
RESIDENT_BYTES = 2**30
"""A subset up to this size is kept on the GPU; a larger one travels a batch at a time."""


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
        windows: Rows of each example, shape (n_examples,), of which an epoch takes one at random. Positions
            are then among all rows, which stand example after example. The draw depends on nothing but
            (seed, epoch) and the example's place in the subset, so nested subsets draw alike.
    """

    def __init__(
        self,
        n_examples: int,
        batch_size: int,
        seed: int,
        classes: np.ndarray | None = None,
        windows: np.ndarray | None = None,
    ) -> None:
        self._n, self._batch_size, self._seed, self._classes = n_examples, batch_size, seed, classes
        self._windows = windows
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
                order = generator.permutation(self._n)
            else:
                order = balanced_epoch(self._classes, generator)
            self._epochs[epoch] = order if self._windows is None else self._rows(self._windows, epoch)[order]
        return self._epochs[epoch]

    def _rows(self, windows: np.ndarray, epoch: int) -> np.ndarray:
        """Returns the row of each example in an epoch."""
        generator = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(epoch, 1)))
        drawn = (generator.random(self._n) * windows).astype(np.int64)
        rows: np.ndarray = np.cumsum(windows) - windows + drawn
        return rows


@dataclass(frozen=True, eq=False)
class Material:
    """What a run trains on.

    Attributes:
        rows: Rows of the training inputs, example after example.
        targets: Of what an epoch draws: one for each example, or one for each row where it draws all.
        order: The positions of each step among the rows.
    """

    rows: np.ndarray
    targets: np.ndarray
    order: BatchOrder

    @classmethod
    def of(cls, trial: Trial, data: OpenDataset) -> Self:
        """Returns what a trial trains on.

        Raises:
            InputError: It asks for more examples than there are.
        """
        subset = subset_indices(len(data.train), trial.n_examples, trial.data_seed)
        rows, windows = rows_of_examples(data.train, subset)
        targets = np.asarray(data.train.targets)[subset]
        if windows is not None and data.train_windows == "all":
            targets, windows = np.repeat(targets, windows, axis=0), None
        classes = targets if trial.training.sampler == "balanced" else None
        order = BatchOrder(len(targets), trial.training.batch_size, trial.seed, classes, windows)
        return cls(rows, targets, order)

    @property
    def an_epoch(self) -> int:
        """Rows that an epoch draws."""
        return len(self.targets)


class Examples:
    """Some rows of a split, delivered as float32 batches on a device.

    On the CPU, rows are gathered from the split's own array: a memory map stays shared between processes, and
    the page cache is the only copy; an array that reads from a file is read a batch at a time. Elsewhere a
    small subset is moved to the device once, in the type it is stored in, and a larger one is gathered a
    batch at a time.

    Args:
        split: Inputs and targets.
        rows: Rows of its inputs, or `None` for all, in order. The target of a row is that of its example.
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
        targets = np.asarray(split.targets)
        if len(split) != len(targets):
            raise DataError(f"a split has {len(split)} inputs but {len(targets)} targets")
        if split.windows is not None:
            targets = np.repeat(targets, split.windows, axis=0)
        self._n = len(targets) if rows is None else len(rows)
        self.targets = target_tensor(targets if rows is None else targets[rows], device)
        size = self._n * np.asarray(self._inputs[:1]).nbytes
        self._resident: torch.Tensor | None = None
        if device.type != "cpu" and size <= resident_bytes:
            self._resident = self._gather(np.arange(self._n)).to(device)

    def __len__(self) -> int:
        return self._n

    def batch(self, positions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns inputs, float32 of (batch, …), and targets at `positions` of the subset."""
        import torch

        index = on_device(torch.from_numpy(positions), self._device)
        targets = self.targets.index_select(0, index)
        if self._resident is not None:
            return self._resident.index_select(0, index).float(), targets
        return on_device(self._gather(positions), self._device).float(), targets

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
        if not at_hand(self._inputs):  # what was not looked through before
            refuse_broken(inputs, rows, "inputs")
        if inputs.dtype not in (np.float16, np.float32):
            inputs = inputs.astype(np.float32)
        return torch.from_numpy(inputs)


def on_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Moves a tensor of the CPU to a device; to a GPU by way of pinned memory, without waiting for it."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def target_tensor(targets: np.ndarray, device: torch.device) -> torch.Tensor:
    """Class indices (n,) become int64; everything else becomes float32."""
    import torch

    targets = np.asarray(targets)
    if targets.dtype.kind not in "biuf":
        raise DataError(f"targets are of type {targets.dtype}; they must be numbers")
    kind = np.int64 if targets.ndim == 1 and targets.dtype.kind in "biu" else np.float32
    return torch.from_numpy(targets.astype(kind)).to(device)
