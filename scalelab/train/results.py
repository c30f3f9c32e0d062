"""What training tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: Optimizer steps taken.
        n_steps: Optimizer steps there will be.
        loss: Mean training loss since the last validation, where it is known.
        examples_per_second: Training examples per second since the last report, validation included, where
            that is known.
    """

    step: int
    n_steps: int
    loss: float | None
    examples_per_second: float | None = None
