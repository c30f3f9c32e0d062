"""What passes between the coordinator and whatever runs its trials.

A `Job` and an `Event` are JSON all the way through, so that an executor may put processes, a queue or another
machine between the two; `scalelab.execute.cluster` does.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import Field, TypeAdapter

from scalelab.execute.crew import Crew
from scalelab.records import Direction, Frozen, Record, Status, Trial
from scalelab.study import Expansion
from scalelab.study.expansion import Place
from scalelab.supervise.workbench import Selection


class Job(Frozen):
    """One attempt at one trial, with everything that a worker needs to make it.

    Attributes:
        trial: What to train.
        study: The study on whose behalf.
        attempt: 1 for the first attempt at this trial.
        dataset_options: The dataset's resolved options, locations included, as JSON values.
        files: Paths of the files that the trial names by the digest of their content.
        store: Path of the store, whose journal gets the record.
        device: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"`.
        crew: The workers that it is one of, with the CPU threads that there are for it.
        precision: What a trial of precision `"auto"` is trained in; `None` for what suits the device.
        sharers: How many jobs of a cluster share what it is trained on; 1 where it has that for itself, 0
            where nobody can say.
        keep_weights: Whether the trained weights go into the journal.
        plugins: Which plugins to load.
        place: Where the trial's command runs; `None` where scalelab trains it.
    """

    trial: Trial
    study: str
    attempt: int = Field(ge=1)
    dataset_options: dict[str, Any]
    files: dict[str, str] = Field(default_factory=dict)
    store: str
    crew: Crew
    precision: Literal["fp32", "bf16"] | None = None
    device: str = "auto"
    sharers: int = Field(1, ge=0)
    keep_weights: bool = False
    plugins: Selection = Selection()
    place: Place | None = None

    @classmethod
    def of(cls, trial: Trial, expansion: Expansion, **rest: Any) -> Self:
        """Returns an attempt at a trial of an expansion.

        Args:
            trial: The trial.
            expansion: What it is of, which knows its data and files.
            rest: The other attributes.
        """
        if expansion.place is not None:
            return cls(trial=trial, dataset_options={}, place=expansion.place, **rest)
        options = expansion.opened(trial).params.model_dump(mode="json")
        return cls(trial=trial, dataset_options=options, files=expansion.files, **rest)

    @property
    def record_id(self) -> str:
        """The id that the attempt's record will have, and its log."""
        return f"{self.trial.id}-{self.attempt}"

    def record(self, began: float, **facts: Any) -> Record:
        """Returns a record of the attempt, which ends now.

        Args:
            began: When it began, in seconds since the epoch.
            facts: The record's other fields.
        """
        attempt = {"trial": self.trial, "study": self.study, "attempt": self.attempt}
        return Record(started_at=began, finished_at=time.time(), **attempt, **facts)


class Begun(Frozen):
    """A machine elsewhere has taken up a trial that waited for it."""

    kind: Literal["begun"] = "begun"
    trial_id: str


class Progressed(Frozen):
    """A trial is alive and got this far."""

    kind: Literal["progressed"] = "progressed"
    trial_id: str
    step: int
    n_steps: int
    loss: float | None = None
    examples_per_second: float | None = None


class Warned(Frozen):
    """Something that whoever runs the study should know; the trial goes on.

    Attributes:
        trial_id: The trial that is under way.
        place: File and line that said it, by which warnings of one kind are known.
        message: What was said.
    """

    kind: Literal["warned"] = "warned"
    trial_id: str
    place: str
    message: str


class Finished(Frozen):
    """A record of this attempt is in the journal."""

    kind: Literal["finished"] = "finished"
    trial_id: str
    status: Status
    wall_seconds: float
    loss: float | None = None
    objective: float | None = None
    direction: Direction = "minimize"
    error: str | None = None


class Lost(Frozen):
    """The attempt ended without a record: its worker was killed, hung, or ran out of memory.

    Attributes:
        trial_id: The trial.
        reason: What happened, in one line.
        out_of_memory: Whether memory ran out, which fewer workers may be the cure for.
        counts: Whether it is one of the losses after which a trial counts as failed; a machine that was taken
            away says nothing about the trial.
    """

    kind: Literal["lost"] = "lost"
    trial_id: str
    reason: str
    out_of_memory: bool = False
    counts: bool = True


class Requeued(Frozen):
    """An attempt ended with a checkpoint, and whoever ran it has put the next one into the queue.

    Attributes:
        trial_id: The trial.
        attempt: The next attempt.
        reason: Why, such as a time limit that came near.
    """

    kind: Literal["requeued"] = "requeued"
    trial_id: str
    attempt: int
    reason: str


class Withdrawn(Frozen):
    """A job that waited was taken back before anybody began it."""

    kind: Literal["withdrawn"] = "withdrawn"
    trial_id: str


class Broken(Frozen):
    """No trial can be recorded any more: the journal cannot be written."""

    kind: Literal["broken"] = "broken"
    trial_id: str
    message: str


Event = Annotated[
    Begun | Progressed | Warned | Finished | Lost | Requeued | Withdrawn | Broken, Field(discriminator="kind")
]
FINAL = ("finished", "lost", "requeued", "broken")
"""The kinds of event that end an attempt."""
event_from_json = TypeAdapter[Event](Event).validate_json


class Executor(Protocol):
    """Runs jobs somewhere; driven by one thread, the coordinator's.

    Every submitted job yields exactly one `Finished`, `Lost`, `Withdrawn` or `Broken`, after any number of
    `Progressed`
    and `Warned`.
    """

    @property
    def slots(self) -> int:
        """How many jobs may be under way at once, by now."""

    @property
    def threads(self) -> int:
        """CPU threads that there are for each job."""

    @property
    def run(self) -> str | None:
        """The run on a cluster that claims are to name, whose jobs live on without their coordinator."""

    def worker_pids(self, n: int) -> list[int | None]:
        """Returns the local processes that the next `n` jobs will run in, `None` where that means nothing.

        Only called where there are so many free slots.
        """

    def submit(self, job: Job) -> None:
        """Starts a job; only called while fewer than `slots` are under way."""

    def poll(self, timeout: float, /) -> list[Event]:
        """Returns what happened, waiting up to `timeout` seconds for something to."""

    def adopt(self, job: Job) -> None:
        """Takes over a job that an earlier coordinator of the run submitted."""

    def standing(self) -> str:
        """Returns in a line where it stands with its machines; empty where there is nothing to say."""

    def interrupt(self) -> bool:
        """Asks the jobs under way to write a checkpoint and end as `interrupted`.

        Returns:
            Whether they will; `False` where they are to go on without a coordinator.
        """

    def close(self) -> None:
        """Ends every worker now; what was under way is left to the next run."""
