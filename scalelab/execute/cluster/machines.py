"""What a cluster does for a run: it starts jobs, and tells which of them wait, live and have ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from scalelab.execute.cluster.mail import Orders, Post
from scalelab.store import Journal
from scalelab.store.fleet import Fleet


@dataclass(frozen=True)
class Gone:
    """A job that the cluster no longer has.

    Attributes:
        agent: Its name within the run.
        reason: What the cluster says about its end.
        counts: Whether trials that it was at count it as a loss: not where its machine failed or was taken
            away.
        expected: Whether it ended in order.
    """

    agent: str
    reason: str
    counts: bool = True
    expected: bool = False


@dataclass(frozen=True)
class Standing:
    """Where the jobs of a run stand.

    Attributes:
        running: Jobs that the cluster runs, by name within the run, each with its machine.
        queued: Jobs that wait for a machine.
        why: What the cluster says that they wait for.
    """

    running: dict[str, str]
    queued: int = 0
    why: str = ""

    @property
    def alive(self) -> int:
        """Jobs that run or will."""
        return len(self.running) + self.queued

    def __str__(self) -> str:
        parts = []
        if self.running:
            hosts = sorted(set(self.running.values()))
            shown = ", ".join(hosts[:4]) + (f" and {len(hosts) - 4} more" if len(hosts) > 4 else "")
            parts.append(f"{_jobs(len(self.running))} on {shown}")
        if self.queued:
            parts.append(f"{_jobs(self.queued)} in the queue" + (f" ({self.why})" if self.why else ""))
        return ", ".join(parts) or "no job"


def _jobs(n: int) -> str:
    return f"{n} job{'s' * (n != 1)}"


class Site(Protocol):
    """A cluster that was reached; nothing is asked of it yet."""

    @property
    def address(self) -> str:
        """What tells it from others of its kind; empty where the user's name for it does."""

    def room(self) -> int:
        """Returns how many jobs to ask for where the user does not say."""

    def knows(self, run: str) -> bool:
        """Whether it may have jobs of a run that are still to be heard."""

    def over(self, run: str) -> bool:
        """Whether it says that no job of a run waits or runs; not where it gives no answer."""

    def clear(self, fleet: Fleet, journal: Journal) -> None:
        """Takes in what jobs of a run that is over said last, and clears it away.

        Raises:
            StoreError: What was said cannot be taken in; the run stays.
        """

    def machines(self, fleet: Fleet, journal: Journal, orders: Orders, *, joined: bool) -> Machines:
        """Returns what it does for a run, which an earlier coordinator may have begun."""

    def leave(self) -> None:
        """Lets go of it, once nothing is asked of it any more."""


class Machines(Protocol):
    """A cluster, for one run; driven by one thread, the coordinator's."""

    @property
    def post(self) -> Post:
        """The run's mail."""

    @property
    def look_seconds(self) -> float:
        """How often it may be asked."""

    @property
    def lasting(self) -> bool:
        """Whether jobs go on without their coordinator."""

    def start(self, n: int) -> None:
        """Asks for further jobs.

        Raises:
            InputError: The cluster refuses them.
        """

    def look(self) -> tuple[Standing, list[Gone]]:
        """Returns where the jobs stand, and those that ended since the last look."""

    def cancel(self) -> None:
        """Ends all jobs now."""

    def close(self, *, leave: bool) -> None:
        """Lets go of the cluster; what the run's mail took up is cleared away unless jobs are left."""
