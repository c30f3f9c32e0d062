"""What a trial reached: the best point of its curve, and by what sweeps and the refit of a study choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from scalelab.records import FINAL_STATUSES, CurvePoint, Direction, Status


class Reached(NamedTuple):
    """What a finished trial reached on validation.

    Attributes:
        loss: Its loss, infinite where it diverged.
        objective: Its objective; `None` where it diverged or has none.
        direction: Which way the objective is better.
    """

    loss: float
    objective: float | None
    direction: Direction

    @property
    def score(self) -> float:
        """The objective, negated where a higher one is better; infinite where there is none."""
        if self.objective is None:
            return math.inf
        return self.objective if self.direction == "minimize" else -self.objective

    @classmethod
    def of(
        cls, status: Status, loss: float | None, objective: float | None, direction: Direction
    ) -> Reached | None:
        """Returns it for the record of a trial; `None` where that is not final."""
        if status not in FINAL_STATUSES:
            return None
        if status == "diverged":
            return cls(math.inf, None, direction)
        return cls(math.inf if loss is None else loss, objective, direction)


def objective_at(point: CurvePoint, name: str) -> float | None:
    """Returns the objective of a curve's point: a metric by name, or `"loss"`."""
    return point.loss if name == "loss" else point.metrics.get(name)


def best_point(curve: Sequence[CurvePoint], name: str, direction: Direction) -> CurvePoint | None:
    """Returns the point with the best objective, the earliest of equals; `None` where none is defined."""
    sign = 1.0 if direction == "minimize" else -1.0
    best, best_value = None, float("inf")
    for point in curve:
        value = objective_at(point, name)
        if value is not None and sign * value < best_value:
            best, best_value = point, sign * value
    return best
