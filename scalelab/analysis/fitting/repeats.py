"""Rows at the same scales, such as the seeds of a design: a law has one value there, and one derivative."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scalelab.arrays import Array, Index

_WORTH = 2
"""Rows a scale, on average, from which on it pays to keep scales apart from rows."""


class Repeats(NamedTuple):
    """Which rows are at the same scales.

    Attributes:
        of: The axes of the rows, each of shape (n,).
        scales: The axes of each scale once, each of shape (scales,).
        order: The rows in the order of their scales, shape (n,).
        place: The scale of each row in that order, shape (n,).
        begins: Where the rows of each scale begin in that order, shape (scales,).
    """

    of: tuple[Array, ...]
    scales: tuple[Array, ...]
    order: Index
    place: Index
    begins: Index

    @classmethod
    def among(cls, u: tuple[Array, ...]) -> Repeats | None:
        """Returns the repeats among rows with these axes, each of shape (n,); `None` where they are few."""
        order = np.lexsort(u)
        ordered = [column[order] for column in u]
        new = np.ones(order.size, dtype=bool)
        new[1:] = np.any([column[1:] != column[:-1] for column in ordered], axis=0)
        begins = np.flatnonzero(new)
        if begins.size * _WORTH > order.size:
            return None
        scales = tuple(column[begins] for column in ordered)
        return cls(u, scales, order, np.cumsum(new) - 1, begins)
