"""The types of arrays that numbers travel in, and rows of arrays that may lie on a disk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[Any]
"""Row numbers or a mask of rows."""


def rows_of(array: Any, rows: Index) -> NDArray[Any]:
    """Returns rows of an array, of one that reads from a file as much as is asked for.

    Such an array need understand nothing but slices, `array[a:b]`: HDF5, Zarr and their like are read in
    stretches of consecutive rows. One that has `take(rows)`, as NumPy's arrays do, is asked for all at once.

    Args:
        array: A NumPy array or memory map, or anything with a shape, a type and slices.
        rows: Row numbers, in any order, repeats included.
    """
    if isinstance(array, np.ndarray):
        return np.take(array, rows, axis=0)
    if hasattr(array, "take"):
        return np.asarray(array.take(rows))
    wanted, places = np.unique(rows, return_inverse=True)
    ends = np.flatnonzero(np.diff(wanted) > 1) + 1
    stretches = np.split(wanted, ends)
    parts = [np.asarray(array[int(one[0]) : int(one[-1]) + 1]) for one in stretches if len(one)]
    return np.concatenate(parts)[places] if parts else np.asarray(array[:0])
