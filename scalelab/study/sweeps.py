"""Sweeps: the values of an optimizer's option that are tried for one size, until the best is bracketed.

A sweep is a function of what its trials gave, and of nothing else: run again, on another machine or after a
stop, it asks for the same trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from scalelab.errors import StudyError
from scalelab.reached import Reached
from scalelab.records import Trial
from scalelab.study.model import Tune

State = Literal["going on", "bracketed", "at an end"]
STATES: tuple[State, ...] = ("going on", "bracketed", "at an end")


@dataclass(frozen=True, eq=False)
class Sweep:
    """One option, tuned for everything else fixed.

    Attributes:
        option: Its name, one of the optimizer's.
        tune: How it varies.
        start: The value in the middle.
        trials_at: Returns the trials of a value, one for each seed; raises a `StudyError` where the option
            cannot have it.
    """

    option: str
    tune: Tune
    start: float
    trials_at: Callable[[float], tuple[Trial, ...]]
    _known: dict[int, tuple[Trial, ...]] = field(default_factory=dict)

    def trials(self, step: int) -> tuple[Trial, ...]:
        """Returns the trials of the value so many factors above the start; none where it cannot be had."""
        if step not in self._known:
            value = float(f"{self.start * self.tune.factor**step:.8g}")
            try:
                self._known[step] = self.trials_at(value)
            except StudyError:
                self._known[step] = ()
        return self._known[step]

    def steps(self, reached: Mapping[str, Reached]) -> tuple[list[int], State]:
        """Returns which values are asked for, as factors above the start, and how far the sweep is.

        It begins with `first` values around the start. Where the least loss (mean over seeds) is that of the
        lowest or the highest value, the next one in that direction follows, until it is neither, `most`
        values were tried, or the option cannot go further. Where all diverged, lower values follow.

        Args:
            reached: What finished trials reached, by id.
        """
        low = -(self.tune.first // 2)
        steps = [step for step in range(low, low + self.tune.first) if self.trials(step)]
        while steps:
            losses = [self._loss(step, reached) for step in steps]
            if any(math.isnan(loss) for loss in losses):
                return steps, "going on"
            best = losses.index(min(losses))
            if math.isinf(losses[best]):
                best = 0
            if 0 < best < len(steps) - 1:
                return steps, "bracketed"
            further = steps[0] - 1 if best == 0 else steps[-1] + 1
            if len(steps) >= self.tune.most or not self.trials(further):
                return steps, "at an end"
            steps = sorted([*steps, further])
        return steps, "at an end"

    def _loss(self, step: int, reached: Mapping[str, Reached]) -> float:
        """Returns the mean loss of a value; NaN where one of its trials is not finished."""
        own = [reached[trial.id].loss if trial.id in reached else math.nan for trial in self.trials(step)]
        return sum(own) / len(own)
