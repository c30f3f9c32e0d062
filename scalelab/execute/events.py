"""What a run tells of itself while it goes on, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scalelab.execute.crew import Crew
from scalelab.execute.forecast import Forecast
from scalelab.execute.jobs import Finished, Progressed, Warned
from scalelab.records import Frozen, Trial


class Compared(Frozen):
    """Some of the study's networks are timed in fp32 and in bf16, which decides what it is trained in."""


class Planned(Frozen):
    """The study was read; this much is to be done."""

    study: str
    trials: tuple[Trial, ...]
    n_kept: int
    n_elsewhere: int
    n_pending: int
    crew: Crew | None
    precision: str | None = None
    skipped: tuple[str, ...] = ()
    sweeping: str = ""
    refitting: str = ""
    changed: str = ""


class Started(Frozen):
    """A trial was handed to a worker."""

    trial: Trial
    attempt: int


class Grown(Frozen):
    """Sweeps or the refit ask for further trials, after what others gave."""

    trials: tuple[Trial, ...]
    n_kept: int
    why: str


class Retried(Frozen):
    """An attempt was lost and the trial will be attempted again."""

    trial_id: str
    reason: str


class Stood(Frozen):
    """Where the jobs of a run on a cluster stand now, in a line."""

    where: str


RunEvent = Compared | Planned | Started | Grown | Retried | Stood | Progressed | Warned | Finished
"""Of the warnings of one place, a run tells the first."""


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    Attributes:
        study: The study's name.
        n_trials: Trials of the study.
        kept: Trials that had a final record before.
        done: Trials that this run finished, `diverged` ones not counted.
        diverged: Trials whose loss stopped being finite in this run.
        failed: Trials that could not be trained, with the reason by trial id; earlier failures that were
            not retried among them.
        logs: By trial id the log of the last attempt at a failed or interrupted trial, where it printed
            anything.
        interrupted: Trials that were stopped and will go on from their checkpoint.
        elsewhere: Trials that another coordinator is at.
        left: Trials that were left to the jobs of a cluster.
        stopped: Whether somebody asked to stop.
        seconds: Wall time of the run.
        forecast: The least and the most seconds that the last plan of just these trials gave for this crew,
            where there was one and they were all finished.
        precision: What was trained in; `None` where nothing was to do.
        sweeping: How far sweeps are, in a line; empty where nothing is tuned.
        refitting: How far the refit is, likewise.
    """

    study: str
    n_trials: int
    kept: int
    done: int
    diverged: int
    failed: dict[str, str]
    logs: dict[str, Path]
    interrupted: int
    elsewhere: int
    left: int
    stopped: bool
    seconds: float
    forecast: Forecast | None
    precision: str | None = None
    sweeping: str = ""
    refitting: str = ""

    @property
    def complete(self) -> bool:
        """Whether every trial of the study has a final record."""
        return self.kept + self.done + self.diverged == self.n_trials
