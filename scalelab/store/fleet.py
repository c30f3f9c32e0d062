"""The jobs of a run on a cluster, as a store's journal knows them: who lives, and since when.

`cluster/<run>/` has `run.json`, which its coordinator writes, and `hearts/`, a file for each job whose time
of change is its last heartbeat. A claim that names the run is live while any of these lives, so that a
coordinator may die and its jobs go on.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self, TypeVar, cast

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from scalelab.permissions import make_folder
from scalelab.regular_files import read_regular
from scalelab.store.files import replace_whole, writing
from scalelab.store.journal import Journal
from scalelab.store.processes import is_alive, is_here, own_start, this_place

HEARTBEAT_LIMIT = 600.0
QUEUE = "queue"
NOTE_BYTES = 1_000_000
Pid = Annotated[int, Field(gt=0, lt=2**31)]
NoteT = TypeVar("NoteT")


@cache
def _notes(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_note(kind: type[NoteT], path: Path) -> NoteT | None:
    """Returns what a small file notes; `None` where there is none, or it notes nothing of that kind."""
    notes = _notes(cast(Any, kind))
    try:
        return cast(NoteT, notes.validate_json(read_regular(path, NOTE_BYTES), strict=True))
    except (OSError, ValueError):
        return None


class Facts(TypedDict, total=False):
    """What a coordinator notes of its run in `run.json`; what `status` shows and others go by."""

    run: str
    study: str
    on: str
    cluster: dict[str, Any]
    address: str
    host: str
    place: str
    pid: Pid | None
    pid_start: str | None
    began: float
    standing: str
    waiting: int
    at: dict[str, str]
    lasting: bool


@dataclass(frozen=True, slots=True)
class Heart:
    """A job that lives, or that waits in a cluster's queue.

    Attributes:
        agent: Its name within the run; `QUEUE` stands for all that wait.
        job: What the cluster calls it.
        host: The machine that it is on, for people.
        place: Where its process id means something, see `scalelab.store.processes.this_place`.
        pid: Its process.
        pid_start: Tells that from later processes of the id.
        device: What it trains on.
        began: Seconds since the epoch.
    """

    agent: str
    job: str = ""
    host: str = ""
    place: str = ""
    pid: Pid | None = None
    pid_start: str | None = None
    device: str = ""
    began: float = 0.0

    @classmethod
    def here(cls, agent: str, host: str) -> Self:
        """Returns the heart of a job that this process is."""
        return cls(
            agent=agent, job=agent, host=host, place=this_place(), pid=os.getpid(), pid_start=own_start(),
            device=os.environ.get("CUDA_VISIBLE_DEVICES", ""), began=time.time(),
        )  # fmt: skip


class Fleet:
    """The folder of one run on a cluster.

    Args:
        journal: The store's journal.
        run: The run's name.
    """

    def __init__(self, journal: Journal, run: str) -> None:
        self.run = run
        self.folder = journal.folder / "cluster" / run
        self._hearts = self.folder / "hearts"

    def write(self, facts: dict[str, Any]) -> None:
        """Notes what a coordinator knows of the run, in place of what it noted before.

        Raises:
            StoreError: The journal cannot be written.
        """
        with writing(self.folder):
            make_folder(self._hearts)
            replace_whole(self.folder / "run.json", json.dumps(facts))

    def read(self) -> Facts:
        """Returns what a coordinator noted; empty where that is gone or cannot be read."""
        return read_note(Facts, self.folder / "run.json") or {}

    def coordinated(self, now: float) -> bool:
        """Whether the run has a coordinator that lives.

        Args:
            now: By the file system's clock.
        """
        try:
            noted = (self.folder / "run.json").stat().st_mtime
        except OSError:
            return False
        facts = self.read()
        if facts.get("pid") is None:
            return False  # left, which holds on every host at once
        return _lives(facts.get("place"), facts.get("pid"), facts.get("pid_start"), now - noted)

    def led_elsewhere(self) -> str:
        """Returns the coordinator that is noted, for people, where it is another process; else nothing."""
        facts, here = self.read(), coordinator_here()
        if facts.get("pid") is None or all(
            facts.get(key) == here[key] for key in ("place", "pid", "pid_start")
        ):
            return ""
        return f"{facts.get('host', '')}, process {facts['pid']}"

    def leave(self) -> None:
        """Notes that nobody coordinates the run from here on, though this process may live.

        Raises:
            StoreError: The journal cannot be written.
        """
        self.write({**self.read(), "pid": None})

    def remove(self) -> None:
        """Clears the run away, once it is over."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def unfinished(self, now: float) -> bool:
        """Whether another process may be making the folder: it has no `run.json`, and is young.

        Args:
            now: By the file system's clock.
        """
        try:
            return now - self.folder.stat().st_mtime < HEARTBEAT_LIMIT
        except OSError:
            return False

    def beat(self, heart: Heart) -> None:
        """Shows that a job lives.

        Raises:
            StoreError: The journal cannot be written.
        """
        path = self._hearts / f"{heart.agent}.json"
        with writing(self._hearts):
            try:
                os.utime(path)
            except FileNotFoundError:
                make_folder(self._hearts)
                replace_whole(path, json.dumps(asdict(heart)))
                if heart.agent != QUEUE:
                    self.stop(QUEUE)  # from here on the job tells; who watches the queue beats for it again

    def stop(self, agent: str) -> None:
        """Shows that a job has ended."""
        with contextlib.suppress(OSError):
            (self._hearts / f"{agent}.json").unlink(missing_ok=True)

    def hearts(self) -> list[tuple[Heart, float]]:
        """Returns the jobs that live or did, each with its last beat by the file system's clock."""
        found = []
        for path in sorted(self._hearts.glob("*.json")):
            heart = read_note(Heart, path)
            if heart is not None and heart.agent == path.stem:
                with contextlib.suppress(OSError):
                    found.append((heart, path.stat().st_mtime))
        return found

    def living(self, now: float) -> list[Heart]:
        """Returns the jobs that live, the queue among them while somebody watches it.

        The queue of a run that was left lives until a job has come, however long that takes, or until the
        cluster says that there is none.

        Args:
            now: By the file system's clock.
        """
        left = self.read().get("pid", 0) is None
        return [
            heart
            for heart, beat in self.hearts()
            if (left and heart.agent == QUEUE) or _lives(heart.place, heart.pid, heart.pid_start, now - beat)
        ]


def coordinator_here() -> dict[str, Any]:
    """Returns how `run.json` names this process as the coordinator."""
    return {"place": this_place(), "pid": os.getpid(), "pid_start": own_start(), "host": platform.node()}


class ClusterJob(NamedTuple):
    """A job of a run on a cluster.

    Attributes:
        job: What the cluster calls it.
        host: Its machine.
        device: What it trains on; empty where it did not say.
        record_id: The attempt that it is at; `None` while it waits for one.
        silent: Seconds since it was last heard of.
    """

    job: str
    host: str
    device: str
    record_id: str | None
    silent: float


class ClusterRun(NamedTuple):
    """A run on a cluster that has not ended.

    Attributes:
        run: Its name.
        study: The study.
        on: The cluster, as `--on` named it.
        coordinator: Where its coordinator is, as host and process id; `None` where that has died or left.
        standing: Where its jobs stood when the coordinator last looked.
        waiting: Trials that wait for a job.
        jobs: The jobs that live.
    """

    run: str
    study: str
    on: str
    coordinator: str | None
    standing: str
    waiting: int
    jobs: tuple[ClusterJob, ...]


def cluster_runs(journal: Journal, now: float) -> list[ClusterRun]:
    """Returns the runs on clusters that have not ended, oldest first.

    Args:
        journal: The store's journal.
        now: By the file system's clock.
    """
    return [run for fleet in fleets(journal) if (run := _seen(fleet, now)) is not None]


def _seen(fleet: Fleet, now: float) -> ClusterRun | None:
    facts = fleet.read()
    if not facts:
        return None
    leases = fleet.folder / "leases"
    at = {path.parent.name: path.name.split(".")[1] for path in leases.glob("*/*.json")} or facts.get(
        "at", {}
    )
    beats = {heart.agent: beat for heart, beat in fleet.hearts()}
    inbox = fleet.folder / "inbox"
    jobs = tuple(
        ClusterJob(
            heart.job,
            heart.host,
            heart.device,
            at.get(heart.agent),
            round(max(0.0, now - beats[heart.agent]), 1),
        )
        for heart in fleet.living(now)
        if heart.agent != QUEUE
    )
    return ClusterRun(
        run=fleet.run,
        study=facts.get("study", ""),
        on=facts.get("on", ""),
        coordinator=f"{facts.get('host', '')}, process {facts.get('pid')}"
        if fleet.coordinated(now)
        else None,
        standing=facts.get("standing", ""),
        waiting=len(list(inbox.glob("*.json"))) if inbox.is_dir() else facts.get("waiting", 0),
        jobs=jobs,
    )


def fleets(journal: Journal) -> list[Fleet]:
    """Returns the runs on clusters that have not been cleared away, by name."""
    folder = journal.folder / "cluster"
    return [Fleet(journal, path.name) for path in sorted(folder.glob("*")) if path.is_dir()]


def strangers(journal: Journal) -> list[Path]:
    """Returns what lies among the runs on clusters and is none: no folder, or one without its `run.json`."""
    folder = journal.folder / "cluster"
    return [
        path for path in sorted(folder.glob("*")) if not path.is_dir() or not Fleet(journal, path.name).read()
    ]


def _lives(place: str | None, pid: int | None, start: str | None, silent: float) -> bool:
    """Whether a process lives: for certain on this machine, elsewhere by the seconds since its last beat."""
    alive = is_alive(pid, start) if place and is_here(place, start) else None
    # A beat far in the future is one of before the clock was set back, and no other came since.
    return abs(silent) < HEARTBEAT_LIMIT if alive is None else alive
