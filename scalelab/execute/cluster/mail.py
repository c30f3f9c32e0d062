"""What passes between a coordinator and the jobs of its run on a cluster.

A coordinator posts trials into one inbox that all jobs of its run share; a job takes the next one when it is
free, which leases it, and tells what becomes of it. So a trial is at most with one job, no job waits for
another, and what is posted is done whether or not the coordinator lives. There are two ways to pass it,
`scalelab.execute.cluster.folder` and `.ray`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import Field, TypeAdapter

from scalelab.execute.jobs import Event, Job
from scalelab.plugins import Catalog, Kind
from scalelab.plugins.libraries import files_of
from scalelab.records import Frozen, Trial
from scalelab.supervise.workbench import Selection
from scalelab.trainers import components_of
from scalelab.version import __version__

Wish = Literal["go on", "interrupt", "end"]
"""What the coordinator wants: on `"interrupt"` trials write a checkpoint; then, as on `"end"`, jobs end."""


class Needs(Frozen):
    """What a job must find on its machine before it takes a trial.

    Attributes:
        plugins: Which plugins to load.
        components: Kind, name and version of what the study's trials are made of.
        files: Digests of the loose files that these are made of, such as a plugin of `--plugins-dir`.
        scalelab_version: The coordinator's, whose records have the same form.
        device: Where to train, see `Job.device`.
        precision: What in; `None` for what suits the device.
    """

    plugins: Selection = Selection()
    components: tuple[tuple[Kind, str, int], ...] = ()
    files: dict[str, str] = Field(default_factory=dict)
    scalelab_version: str = ""
    device: str = "auto"
    precision: Literal["fp32", "bf16"] | None = None

    @classmethod
    def of(cls, trials: Iterable[Trial], catalog: Catalog, **rest: Any) -> Self:
        """Returns what jobs must find to train trials; `rest` are the other attributes."""
        found = {
            (kind, spec.name, spec.version) for trial in trials for kind, spec in components_of(trial).items()
        }
        files = files_of(catalog, [(kind, name) for kind, name, _ in found])
        return cls(components=tuple(sorted(found)), files=files, scalelab_version=__version__, **rest)


class Orders(Frozen):
    """What a job is told when it starts.

    Attributes:
        run: The run that it is of.
        store: Path of the store; empty where its folder is not shared.
        needs: What it must find.
        threads: CPU threads of its worker.
        stall_seconds: Silence after which its worker counts as hung.
        time_limit: Seconds that it has, `None` for no limit.
        grace_seconds: How long before that it ends: what a step, a checkpoint and a record may take.
    """

    run: str
    store: str
    needs: Needs = Needs()
    threads: int = 1
    stall_seconds: float = 900.0
    time_limit: float | None = None
    grace_seconds: float = 45.0


class Hello(Frozen):
    """A job is there.

    Attributes:
        kind: Tells it from other messages.
        job: What the cluster calls it.
        host: Its machine.
        device: What it sees to train on.
        restarts: How often the cluster has started it again.
        complaint: Why it cannot take a trial, in one line; it ends then.
    """

    kind: Literal["hello"] = "hello"
    job: str
    host: str
    device: str = ""
    restarts: int = 0
    complaint: str | None = None


class Told(Frozen):
    """What became of an attempt so far.

    Attributes:
        kind: Tells it from other messages.
        record_id: The attempt, by the id of its record.
        event: What happened.
    """

    kind: Literal["told"] = "told"
    record_id: str
    event: Event


class Taken(Frozen):
    """A job has begun an attempt."""

    kind: Literal["taken"] = "taken"
    record_id: str


class Bye(Frozen):
    """A job ends by itself.

    Attributes:
        kind: Tells it from other messages.
        reason: Why.
        again: Whether its cluster starts it again by itself, as after a preemption.
    """

    kind: Literal["bye"] = "bye"
    reason: str
    again: bool = False


Message = Annotated[Hello | Told | Taken | Bye, Field(discriminator="kind")]
message_from_json = TypeAdapter[Message](Message).validate_json


class Mail(Protocol):
    """A job's side."""

    def say(self, message: Message) -> None:
        """Tells the coordinator something; the last event of an attempt ends its lease."""

    def take(self) -> Job | None:
        """Leases the trial that has waited longest; `None` where none waits."""

    def put_back(self, job: Job) -> Job | None:
        """Puts the next attempt at a leased trial at the head of the inbox.

        Returns:
            That attempt; `None` where the coordinator is to put it there.
        """

    def left_over(self) -> Job | None:
        """Returns what an earlier life of this job has leased and not brought to an end."""

    def wish(self) -> Wish:
        """Returns what the coordinator wants."""

    def deserted(self) -> bool:
        """Whether no coordinator has been seen for long, so that an idle job has nothing to wait for."""

    def beat(self) -> None:
        """Shows that the job lives; called from a thread of its own."""


class Post(Protocol):
    """The coordinator's side."""

    def post(self, jobs: Sequence[Job]) -> None:
        """Puts trials into the inbox, in this order."""

    def hear(self) -> list[tuple[str, Message]]:
        """Returns what jobs said since the last call, each with the job that said it, in order."""

    def waiting(self) -> list[str]:
        """Returns the record ids of the attempts in the inbox."""

    def leases(self) -> dict[str, str]:
        """Returns the attempts that are leased, by record id, each with the job that has it."""

    def end_lease(self, agent: str, record_id: str) -> None:
        """Frees an attempt whose job is gone."""

    def withdraw(self) -> list[str]:
        """Empties the inbox; returns the record ids of what was in it."""

    def want(self, wish: Wish) -> None:
        """Says what the coordinator wants from now on."""

    def renew(self, facts: dict[str, Any]) -> None:
        """Shows jobs that a coordinator is there, and others what it knows of the run."""
