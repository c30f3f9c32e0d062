"""Rows of a memory map that are not adjacent, without a copy of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class Gathered:
    """Some rows of an array, in an order of their own, read when they are asked for.

    A copy of them would take as much of the disk again for every choice of sources.

    Args:
        array: The array.
        rows: Rows of it, shape (n,).
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        self._array, self._rows = array, rows
        self.shape, self.dtype, self.ndim = (len(rows), *array.shape[1:]), array.dtype, array.ndim
        self.size = math.prod(self.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        rows: np.ndarray = self._array[self._rows[key]]
        return rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """Returns several rows at once."""
        taken: np.ndarray = np.take(self._array, self._rows[rows], axis=axis)
        return taken
