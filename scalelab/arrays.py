"""The types of arrays that numbers travel in, and rows of arrays that may lie on a disk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[Any]
"""Row numbers or a mask of rows."""


def at_hand(array: Any) -> bool:
    """Tells whether any rows of an array come at once and cheaply, as those of NumPy's arrays do.

    Such an array has `take(rows, axis=0)`. What it holds is looked through once, not whenever it is read.
    """
    return hasattr(array, "take")


def rows_of(array: Any, rows: Index) -> NDArray[Any]:
    """Returns rows of an array, of one that reads from a file as much as is asked for.

    Such an array need understand nothing but slices, `array[a:b]`: HDF5, Zarr and their like are read in
    stretches of consecutive rows.

    Args:
        array: A NumPy array or memory map, another that is `at_hand`, or anything with a shape, a type and
            slices.
        rows: Row numbers, in any order, repeats included.
    """
    if at_hand(array):
        return np.asarray(array.take(rows, axis=0))
    wanted, places = np.unique(rows, return_inverse=True)
    ends = np.flatnonzero(np.diff(wanted) > 1) + 1
    stretches = np.split(wanted, ends)
    parts = [np.asarray(array[int(one[0]) : int(one[-1]) + 1]) for one in stretches if len(one)]
    return np.concatenate(parts)[places] if parts else np.asarray(array[:0])
