"""Where the laws of two families cross."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from scalelab.analysis.estimate import Estimate
from scalelab.arrays import Array


@dataclass(frozen=True)
class Crossing:
    """Where the laws of two families cross.

    Attributes:
        winner: The family of the lower loss beyond it.
        scale: Where; the interval is that of the refits that cross so.
        share: The share of refits that do.
    """

    winner: str
    scale: Estimate
    share: float

    json_fields: ClassVar = ("winner_beyond=winner", "scale", "share")

    @property
    def said(self) -> str:
        """The scale with its interval, as text."""
        low, high = self.scale.ends
        return f"{self.scale.value:.2g} ({low:.2g} to {high:.2g}, in {self.share:.0%} of refits)"


def sign_changes(gap: Array, grid: Array) -> list[list[tuple[float, bool]]]:
    """Returns for each draw where on a grid of logs a gap changes sign, and whether it is negative beyond."""
    found: list[list[tuple[float, bool]]] = [[] for _ in range(len(gap))]
    for row, at in zip(*np.nonzero((gap[:, :-1] > 0) != (gap[:, 1:] > 0)), strict=True):
        before, after = gap[row, at], gap[row, at + 1]
        place = grid[at] + before / (before - after) * (grid[1] - grid[0])
        found[row].append((float(place), bool(after <= 0)))
    return found


def nearest(crossings: list[tuple[float, bool]], place: float, falls: bool) -> float | None:
    """Returns the crossing of the same kind that is nearest to a place."""
    alike = [own for own, kind in crossings if kind == falls]
    return min(alike, key=lambda own: abs(own - place)) if alike else None
