"""What trials have to do, and times that are not known exactly."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from scalelab.execute.crew import Crew
from scalelab.measurements import Complexity
from scalelab.records import Trial


@dataclass(frozen=True)
class Work:
    """A trial and what it has to do.

    Attributes:
        trial: The trial.
        cost: What an example costs.
        n_steps: Steps of its training.
        n_validation: Examples of the validation split.
        counting: Seconds that its worker counts FLOPs for, which the cache does not have.
        evaluations: Gradients that a step evaluates at most.
        an_epoch: Rows that an epoch draws, see `scalelab.subsets`.
        passes: Forward passes that a validation example takes, on average.
    """

    trial: Trial
    cost: Complexity
    n_steps: int
    n_validation: int
    counting: float = 0.0
    evaluations: int = 1
    an_epoch: int = 1
    passes: float = 1.0

    @property
    def step_flops(self) -> float:
        """FLOPs of a step, at most."""
        return self.evaluations * self.cost.step_flops(self.trial.training.batch_size)


@dataclass(frozen=True)
class Span:
    """A time in seconds that is not known exactly.

    Attributes:
        low: The least that is to be expected.
        middle: The best guess.
        high: The most that is to be expected.
    """

    json_fields: ClassVar[tuple[str, ...]] = ("low", "middle", "high")

    low: float
    middle: float
    high: float

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.middle + other.middle, self.high + other.high)

    @classmethod
    def around(cls, seconds: float, factor: float) -> Span:
        """Returns the span of that factor on either side."""
        return cls(seconds / factor, seconds, seconds * factor)

    @classmethod
    def exactly(cls, seconds: float) -> Span:
        """Returns a span without width."""
        return cls(seconds, seconds, seconds)


def makespan(trials: Sequence[Span], crew: Crew, opening: Span) -> Span:
    """Returns how long a crew takes for trials, each worker taking the next one when it is free."""

    def end(seconds: Iterable[float], start: float) -> float:
        free = [start] * max(1, crew.workers)
        for own in seconds:
            heapq.heapreplace(free, free[0] + own)
        return max(free)

    return Span(
        end((span.low for span in trials), opening.low),
        end((span.middle for span in trials), opening.middle),
        end((span.high for span in trials), opening.high),
    )
