"""What a store answers: how far trials, benchmarks and studies have come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from scalelab.measurements import MeasurementStatus
from scalelab.reached import Reached
from scalelab.records import Direction, Machine, Status, Trial


class Outcome(NamedTuple):
    """How far a trial has come.

    Attributes:
        status: That of the attempt that counts: the last one that is done or diverged, else the last.
        attempts: The highest number of an attempt so far; the next attempt gets one more.
        error: The reason, where the attempt that counts failed or was interrupted.
        seconds: What the training of that attempt took.
        loss: The validation loss of that attempt.
        objective: Its objective.
        direction: Which way that is better.
        precision: What it was trained in, where that is known.
    """

    status: Status
    attempts: int
    error: str | None
    seconds: float | None
    loss: float | None
    objective: float | None
    direction: Direction
    precision: str | None

    @property
    def reached(self) -> Reached | None:
        """What the trial reached; `None` where it is not finished."""
        return Reached.of(self.status, self.loss, self.objective, self.direction)


def reached_of(outcomes: Mapping[str, Outcome]) -> dict[str, Reached]:
    """Returns what finished trials reached, by id."""
    found = {trial_id: outcome.reached for trial_id, outcome in outcomes.items()}
    return {trial_id: reached for trial_id, reached in found.items() if reached is not None}


class Tried(NamedTuple):
    """How far a benchmark has come.

    Attributes:
        status: That of the attempt that counts: the last successful one, else the last.
        attempts: The highest number of an attempt so far.
        reason: Why it did not go well.
    """

    status: MeasurementStatus
    attempts: int
    reason: str | None


class Timing(NamedTuple):
    """How long a finished trial took.

    Attributes:
        trial: The trial.
        machine: Where it was trained.
        precision: What in.
        step_flops: FLOPs of a step.
        step: Seconds a step, without validation.
        validation: Seconds a validation example.
        overhead: Seconds of the attempt outside of the training loop.
    """

    trial: Trial
    machine: Machine
    precision: str | None
    step_flops: float
    step: float
    validation: float
    overhead: float


class StoredStudy(NamedTuple):
    """A study that was run, as its store keeps it.

    Attributes:
        name: Its name.
        text: The study file.
        precision: What its trials of precision `"auto"` are trained in; `None` where none was yet.
    """

    name: str
    text: str
    precision: str | None


class StudySummary(NamedTuple):
    """How far a study has come; each planned trial counts once.

    Attributes:
        study: Its name.
        planned: Trials that it asks for.
        done: Trials with a finished attempt.
        diverged: Trials whose loss stopped being finite.
        failed: Trials that could not be trained.
        interrupted: Trials that were stopped and are to be attempted again.
        running: Trials that a living process is at.
        pending: Trials that were not attempted yet.
        registered_at: When it was last registered, as ISO 8601 in UTC; `None` where it never was.
        imported_from: The file that it was imported from; `None` where it was run here.
    """

    study: str
    planned: int
    done: int
    diverged: int
    failed: int
    interrupted: int
    running: int
    pending: int
    registered_at: str | None
    imported_from: str | None = None
