"""Mail in a folder that all machines of a cluster share: `<journal>/cluster/<run>/`.

    orders.json          what jobs are told when they start
    run.json             what the coordinator knows, and by its time that there is one
    hearts/<job>.json    a job lives
    inbox/               trials that wait, in order of their names
    leases/<job>/        the trial that a job is at
    told/<job>.jsonl     what a job said; its own, so that nobody else writes it
    wish                 what the coordinator wants

A trial is leased by renaming its file, which only one job can do, on NFS too (RFC 1813, 3.3.14); there a
rename whose answer got lost is repeated and fails, so a failed one is looked at again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from scalelab.execute.cluster.mail import Message, Orders, Wish, message_from_json
from scalelab.execute.jobs import FINAL, Job
from scalelab.permissions import make_folder
from scalelab.store import Journal
from scalelab.store.claims import Claims
from scalelab.store.files import replace_whole, writing
from scalelab.store.fleet import Fleet, Heart

DESERTED_SECONDS = 120.0
OPEN_SECONDS = 5.0
"""How often files of jobs are opened that seem not to have grown."""


def _names(folder: Path) -> list[str]:
    """Returns the files of a folder by name; one that is being written begins with a dot."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.name[0] != ".")
    except FileNotFoundError:
        return []


def _record_id(name: str) -> str:
    return name.partition(".")[2].removesuffix(".json")


def _leased(leases: Path) -> dict[str, str]:
    """Returns the attempts that are leased, each with the job that has it."""
    return {_record_id(name): agent for agent in _names(leases) for name in _names(leases / agent)}


class FolderPost:
    """The coordinator's side; see `scalelab.execute.cluster.mail.Post`.

    Args:
        fleet: The run's folder.
        orders: What jobs are told when they start; `None` where the folder has them.
        joined: Whether an earlier coordinator has heard jobs arrive.
    """

    def __init__(self, fleet: Fleet, orders: Orders | None = None, *, joined: bool = False) -> None:
        self.fleet = fleet
        self._read: dict[str, int] = {}
        self._heard: list[tuple[str, Message]] = []
        self._ended: set[str] = set()
        self._opened = float("-inf")
        with writing(fleet.folder):
            for name in ("inbox", "leases", "told"):
                make_folder(fleet.folder / name)
            if orders is not None:
                replace_whole(fleet.folder / "orders.json", orders.model_dump_json())
        if joined:  # what jobs said that have ended since is true, but for their being there
            living = {heart.agent for heart, _ in fleet.hearts()}
            self._heard = [(who, what) for who, what in self.hear() if who in living or what.kind != "hello"]

    def post(self, jobs: Sequence[Job]) -> None:
        """Puts trials into the inbox."""
        for job in jobs:
            post_job(self.fleet.folder, job, time.time_ns())

    def hear(self) -> list[tuple[str, Message]]:
        """Returns what jobs said since the last call."""
        heard, self._heard = self._heard, []
        for name in self._grown():
            at = self._read.get(name, 0)
            with (self.fleet.folder / "told" / name).open("rb") as file:
                file.seek(at)
                said = file.read()
            whole = said[: said.rfind(b"\n") + 1]  # a line may be half written
            self._read[name] = at + len(whole)
            agent = name.removesuffix(".jsonl")
            for line in whole.splitlines():
                with contextlib.suppress(ValueError):
                    message = message_from_json(line)
                    heard.append((agent, message))
                    over = message.kind == "bye" and not message.again
                    (self._ended.add if over else self._ended.discard)(name)
        return heard

    def _grown(self) -> list[str]:
        """Returns the files to which jobs may have added something.

        Now and then that is all of them, because NFS may show a size of a while ago until a file is opened.
        One whose job has ended is looked at as seldom, and by its size: somebody may start that job again.
        """
        thorough = time.monotonic() - self._opened > OPEN_SECONDS
        if thorough:
            self._opened = time.monotonic()
        grown = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.fleet.folder / "told") as entries:
            for entry in entries:
                ended = entry.name in self._ended
                if entry.name[0] == "." or (ended and not thorough):
                    continue
                if (thorough and not ended) or entry.stat().st_size > self._read.get(entry.name, 0):
                    grown.append(entry.name)
        return sorted(grown)

    def waiting(self) -> list[str]:
        """Returns the record ids of the attempts in the inbox."""
        return [_record_id(name) for name in _names(self.fleet.folder / "inbox")]

    def leases(self) -> dict[str, str]:
        """Returns the attempts that are leased, each with the job that has it."""
        return _leased(self.fleet.folder / "leases")

    def end_lease(self, agent: str, record_id: str) -> None:
        """Frees an attempt whose job is gone."""
        end_lease(self.fleet.folder / "leases" / agent, record_id)

    def withdraw(self) -> list[str]:
        """Empties the inbox."""
        withdrawn = []
        for name in _names(self.fleet.folder / "inbox"):
            with contextlib.suppress(FileNotFoundError):  # a job was quicker
                (self.fleet.folder / "inbox" / name).unlink()
                withdrawn.append(_record_id(name))
        return withdrawn

    def want(self, wish: Wish) -> None:
        """Says what the coordinator wants from now on."""
        with writing(self.fleet.folder):
            replace_whole(self.fleet.folder / "wish", wish)

    def renew(self, facts: dict[str, Any]) -> None:
        """Shows jobs that a coordinator is there, and others what it knows."""
        self.fleet.write(facts)


class FolderMail:
    """A job's side; see `scalelab.execute.cluster.mail.Mail`.

    Args:
        journal: The store's journal.
        heart: The job.
        run: Its run.
    """

    def __init__(self, journal: Journal, heart: Heart, run: str) -> None:
        self.heart = heart
        self.fleet = Fleet(journal, run)
        self._claims = Claims(journal)
        self._leases = self.fleet.folder / "leases" / heart.agent
        make_folder(self._leases)
        self._told = (self.fleet.folder / "told" / f"{heart.agent}.jsonl").open("ab", buffering=0)
        self._seen: tuple[float, float] = (0.0, time.monotonic())

    def say(self, message: Message) -> None:
        """Tells the coordinator something; how far a trial is only where there is one."""
        if message.kind == "told" and message.event.kind == "progressed" and self.deserted():
            return
        with writing(self.fleet.folder):
            self._told.write(message.model_dump_json().encode() + b"\n")
        if message.kind == "told" and message.event.kind in FINAL:
            end_lease(self._leases, message.record_id)

    def take(self) -> Job | None:
        """Leases the trial that has waited longest."""
        inbox = self.fleet.folder / "inbox"
        for name in _names(inbox):
            leased = self._leases / name
            try:
                os.rename(inbox / name, leased)
            except FileNotFoundError:
                if not leased.exists():
                    continue  # another job was quicker
            job = _read_job(leased)
            if job is not None and self._claims.holds(self.fleet.run, job.trial.id, job.attempt):
                return job
            # Its coordinator was taken for dead, and somebody else has the trial by now.
            leased.unlink(missing_ok=True)
        return None

    def put_back(self, job: Job) -> Job | None:
        """Puts the next attempt at a leased trial at the head of the inbox."""
        following = job.model_copy(update={"attempt": job.attempt + 1})
        run, trial_id = self.fleet.run, job.trial.id
        # Killed between the two steps, an earlier life of this job has done the first.
        if not (
            self._claims.advance(run, trial_id, job.attempt)
            or self._claims.holds(run, trial_id, following.attempt)
        ):
            return None
        if following.record_id not in _leased(self._leases.parent):
            post_job(self.fleet.folder, following, 0)
        return following

    def waits(self) -> bool:
        """Whether any trial waits."""
        return bool(_names(self.fleet.folder / "inbox"))

    def left_over(self) -> Job | None:
        """Returns what an earlier life of this job has leased."""
        names = _names(self._leases)
        return _read_job(self._leases / names[0]) if names else None

    def wish(self) -> Wish:
        """Returns what the coordinator wants."""
        try:
            said = (self.fleet.folder / "wish").read_text(encoding="utf-8")
            return next((wish for wish in get_args(Wish) if wish == said), "go on")
        except FileNotFoundError:
            return "go on" if (self.fleet.folder / "orders.json").exists() else "end"
        except OSError:
            return "go on"

    def deserted(self) -> bool:
        """Whether no coordinator has renewed what it knows for long, by this machine's own clock."""
        try:
            renewed = (self.fleet.folder / "run.json").stat().st_mtime
        except OSError:
            renewed = 0.0
        if renewed != self._seen[0]:
            self._seen = renewed, time.monotonic()
        return time.monotonic() - self._seen[1] > DESERTED_SECONDS

    def beat(self) -> None:
        """Shows that the job lives, and sees whether a coordinator does."""
        self.deserted()
        self.fleet.beat(self.heart)


def post_job(folder: Path, job: Job, order: int) -> None:
    """Puts a trial into an inbox; those of lower order are taken first."""
    with writing(folder):
        replace_whole(folder / "inbox" / f"{order:020d}.{job.record_id}.json", job.model_dump_json())


def end_lease(leases: Path, record_id: str) -> None:
    """Removes a job's lease of an attempt."""
    for path in leases.glob(f"*.{record_id}.json"):
        path.unlink(missing_ok=True)


def _read_job(path: Path) -> Job | None:
    try:
        return Job.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
