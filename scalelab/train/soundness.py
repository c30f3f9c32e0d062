"""Data that cannot be trained on, found before a step is wasted on them.

A run on inputs with a NaN diverges whatever is trained, and says nothing of the network or its learning rate.
Arrays are therefore looked through once: large ones leave a mark in the cache, under their dataset's
fingerprint. An array that reads from a file is looked at as it is read.
"""

from __future__ import annotations

import hashlib
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from scalelab.arrays import at_hand
from scalelab.cache import cached_arrays
from scalelab.components import OpenDataset
from scalelab.errors import DataError
from scalelab.study.opened import verify_opened
from scalelab.train.losses import check_targets, resolve_loss
from scalelab.train.metrics import objective_of

LOOKED_AT = 1 << 24
"""Values that are looked at at a time; an array of more leaves a mark in the cache."""

_KNOWN: WeakValueDictionary[int, Any] = WeakValueDictionary()
"""Arrays that this process looked through, by identity: a worker opens data once for all its trials."""


def check_data(data: OpenDataset) -> None:
    """Refuses a dataset that cannot be trained on.

    Raises:
        DataError: A split is empty, no array, cannot be read, does not fit the task, or holds a NaN or an
            infinity.
        InputError: The task names a loss, a metric or an objective that there is not.
    """
    verify_opened(data)
    resolve_loss(data.task.loss)
    objective_of(data.task)
    for name, split in (("training", data.train), ("validation", data.validation), ("test", data.test)):
        if split is None or (name == "test" and not len(split)):
            continue  # a dataset need not have a test split
        if len(split) == 0:
            raise DataError(f"the {name} split is empty")
        targets = _read(split.targets, name)
        if len(split) != len(targets):
            raise DataError(f"the {name} split has {len(split)} inputs but {len(targets)} targets")
        check_targets(targets, data.task, name)
        shape = tuple(split.inputs.shape[1:])
        if data.prepare is None and shape != tuple(data.task.input_shape):
            raise DataError(
                f"{name} inputs have shape {shape} but the task says {tuple(data.task.input_shape)} "
                "and there is no prepare function"
            )
        _check_finite(split.inputs, name, data.fingerprint)


def _read(targets: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(targets)
    except Exception as error:  # whatever an array in a file may raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise DataError(f"{name} targets cannot be read: {reason}") from error


def _check_finite(inputs: Any, name: str, fingerprint: str) -> None:
    """Looks through an array, or trusts the mark that says it was done."""
    if not at_hand(inputs) or inputs.dtype.kind != "f" or _KNOWN.get(id(inputs)) is inputs:
        return
    if inputs.size <= LOOKED_AT:
        refuse_broken(np.asarray(inputs), np.arange(len(inputs)), f"{name} inputs")
        _KNOWN[id(inputs)] = inputs
        return
    content = f"{fingerprint} {name} {inputs.shape} {inputs.dtype}"
    digest = hashlib.sha256(content.encode()).hexdigest()[:32]

    def look() -> dict[str, np.ndarray]:
        n = max(1, LOOKED_AT * len(inputs) // inputs.size)
        for first in range(0, len(inputs), n):
            rows = np.arange(first, min(first + n, len(inputs)))
            refuse_broken(inputs[first : first + n], rows, f"{name} inputs")
        return {"looked_through": np.ones(1, dtype=bool)}

    try:
        cached_arrays(f"finite-{digest}", look)
    except DataError:  # of the data, which looking says again, or there is no room for the mark
        look()
    _KNOWN[id(inputs)] = inputs


def refuse_broken(values: np.ndarray, rows: np.ndarray, what: str) -> None:
    """Refuses values that are not finite.

    Args:
        values: Of shape (n, …).
        rows: Where they stand in their split, shape (n,).
        what: What they are, for the message.

    Raises:
        DataError: One is a NaN or an infinity; the message says the first one's place.
    """
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    broken = np.argwhere(~np.isfinite(values))
    first = (int(rows[broken[0][0]]), *map(int, broken[0][1:]))
    examples = len(np.unique(broken[:, 0]))
    raise DataError(
        f"{what} are not finite: {values[tuple(broken[0])]} at {list(first)}, and in {examples} of the "
        f"{len(values)} examples looked at; fill or drop them where the dataset is made"
    )
