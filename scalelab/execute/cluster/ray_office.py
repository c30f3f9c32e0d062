"""Mail through an actor of a Ray cluster, the office of a run; `ray_mail` has its two sides.

The office belongs to no process (a detached actor), so that jobs go on without their coordinator and what
they said waits for the next one. Where the cluster's machines share no folder, files come with what is said:
records, checkpoints, weights and logs wait in Ray's object store until a coordinator has them on its disk.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

from scalelab.execute.cluster.mail import Wish
from scalelab.records import trial_of

NAMESPACE = "scalelab"
STORED_BYTES = 100_000
"""A file of so many bytes goes into Ray's object store; a smaller one stays with what is said."""

Files = dict[str, Any]
"""Contents of files by their path within a journal; a large one is a reference into Ray's object store."""
Posted = tuple[str, str, bytes | None]
"""A trial that is to wait: its record id, the job as JSON, and the checkpoint that it goes on from."""
Said = tuple[int, str, str | None, Files]
"""Its number, the job that said it, the message (`None` where only files come), and files."""


class Roll(NamedTuple):
    """The jobs of a run.

    Attributes:
        jobs: Those that the cluster was asked for and has not been seen without.
        hearts: Of those that have started and not ended: the heart as JSON, and the machine's id.
        hellos: What they said first, as JSON.
        ends: Of those that ended by themselves: whether in order, and why.
    """

    jobs: list[str]
    hearts: dict[str, tuple[str, str]]
    hellos: dict[str, str]
    ends: dict[str, tuple[bool, str]]


def _stored(files: Files) -> Files:
    import ray

    return {
        path: ray.put(content) if len(content) > STORED_BYTES else content for path, content in files.items()
    }


class Office:
    """Keeps the mail of one run; an actor, so that one call is answered at a time.

    What was said and is not heard yet is kept by its number, in order; `_unheard` has the numbers of the last
    checkpoint at each path, `_progress` those of the last progress of each attempt.
    """

    def __init__(self) -> None:
        self._inbox: OrderedDict[str, str] = OrderedDict()
        self._leases: dict[str, tuple[str, str]] = {}
        self._said: dict[int, Said] = {}
        self._unheard: dict[str, int] = {}
        self._progress: dict[str, int] = {}
        self._n_said = 0
        self._jobs: list[str] = []
        self._hellos: dict[str, str] = {}
        self._hearts: dict[str, tuple[str, str]] = {}
        self._ends: dict[str, tuple[bool, str]] = {}
        self._checkpoints: dict[str, Any] = {}
        self._wish: Wish = "go on"
        self._renewed = time.monotonic()

    def expect(self, names: list[str]) -> None:
        """Takes note of jobs that a coordinator asks the cluster for."""
        self._jobs += names

    def arrive(self, agent: str, heart: str, node: str) -> None:
        """Takes note of a job that has started, and of the machine that it is on."""
        self._hearts[agent] = heart, node

    def leave(self, agent: str, in_order: bool, reason: str) -> None:
        """Takes note of a job that ends by itself."""
        self._ends[agent] = in_order, reason
        self._hearts.pop(agent, None)
        self._hellos.pop(agent, None)

    def bury(self, agent: str) -> None:
        """Forgets a job that the cluster no longer has, which may be told more than once."""
        with contextlib.suppress(ValueError):
            self._jobs.remove(agent)
        self._hearts.pop(agent, None)
        self._hellos.pop(agent, None)
        self._ends.pop(agent, None)

    def roll(self) -> Roll:
        """Returns who is there."""
        return Roll(self._jobs, self._hearts, self._hellos, self._ends)

    def post(self, jobs: list[Posted]) -> None:
        """Puts trials into the inbox."""
        for record_id, job, checkpoint in jobs:
            self._inbox[record_id] = job
            if checkpoint is not None:
                self._keep_checkpoint(record_id, checkpoint)

    def take(self, agent: str) -> tuple[str, str, Any] | None:
        """Leases the trial that has waited longest: its record id, job, and checkpoint if there is one."""
        if not self._inbox:
            return None
        record_id, job = self._inbox.popitem(last=False)
        self._leases[record_id] = agent, job
        return record_id, job, self._checkpoints.get(trial_of(record_id))

    def put_back(self, agent: str, record_id: str, following: str, job: str, files: Files) -> None:
        """Ends a lease and puts the next attempt at the head of the inbox."""
        self._leases.pop(record_id, None)
        self.hand_in(agent, files)
        self._inbox[following] = job
        self._inbox.move_to_end(following, last=False)

    def hand_in(self, agent: str, files: Files) -> None:
        """Keeps files of a job until the coordinator takes them."""
        if files:
            self._say(agent, None, files)

    def tell(self, agent: str, message: str, ended: str | None = None, files: Files | None = None) -> None:
        """Keeps what a job said until the coordinator hears it, and ends a lease."""
        if ended is not None:
            self._leases.pop(ended, None)
            self._checkpoints.pop(trial_of(ended), None)
        self._say(agent, message, files or {})

    def progress(self, agent: str, message: str, record_id: str) -> None:
        """Likewise how far an attempt is, in place of what was said of that and not heard yet."""
        self._said.pop(self._progress.get(record_id, 0), None)
        self._say(agent, message, {})
        self._progress[record_id] = self._n_said

    def greet(self, agent: str, message: str) -> None:
        """Likewise the first message of a job, which later coordinators hear as well."""
        self._hellos[agent] = message
        self._say(agent, message, {})

    def _say(self, agent: str, message: str | None, files: Files) -> None:
        checkpoints = [path for path in files if path.startswith("checkpoints/")]
        for path in checkpoints:
            self._forget(path)
        self._n_said += 1
        stored = _stored(files)
        self._said[self._n_said] = self._n_said, agent, message, stored
        for path in checkpoints:
            self._unheard[path] = self._n_said
            self._checkpoints[Path(path).stem] = stored[path]

    def _forget(self, path: str) -> None:
        """Lets go of a checkpoint that a later one makes needless, and of a message that only brought it."""
        number = self._unheard.pop(path, 0)
        if number in self._said:
            _, _, message, files = self._said[number]
            del files[path]
            if message is None and not files:
                del self._said[number]

    def _keep_checkpoint(self, record_id: str, content: bytes) -> None:
        self._checkpoints[trial_of(record_id)] = _stored({"": content})[""]

    def hear(self, heard: int) -> list[Said]:
        """Returns what was said after that number, and lets go of what was said up to it."""
        self._said = {number: said for number, said in self._said.items() if number > heard}
        self._progress = {name: number for name, number in self._progress.items() if number > heard}
        self._unheard = {path: number for path, number in self._unheard.items() if number > heard}
        return list(self._said.values())

    def waiting(self) -> list[str]:
        """Returns the attempts in the inbox."""
        return list(self._inbox)

    def leases(self) -> dict[str, str]:
        """Returns the attempts that are leased, each with its job."""
        return {record_id: agent for record_id, (agent, _) in self._leases.items()}

    def end_lease(self, record_id: str) -> None:
        """Frees an attempt."""
        self._leases.pop(record_id, None)

    def withdraw(self) -> list[str]:
        """Empties the inbox."""
        withdrawn, self._inbox = list(self._inbox), OrderedDict()
        return withdrawn

    def want(self, wish: Wish) -> None:
        """Keeps what the coordinator wants."""
        self._wish = wish

    def wish(self) -> tuple[Wish, float]:
        """Returns what the coordinator wants, and for how many seconds it has not been heard of."""
        return self._wish, time.monotonic() - self._renewed

    def renew(self) -> None:
        """Takes note that there is a coordinator."""
        self._renewed = time.monotonic()
