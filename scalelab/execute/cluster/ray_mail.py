"""The two sides of the office of a run on Ray: the coordinator's and a job's."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scalelab.errors import StoreError
from scalelab.execute.cluster.folder import DESERTED_SECONDS
from scalelab.execute.cluster.mail import Bye, Hello, Message, Orders, Told, Wish, message_from_json
from scalelab.execute.cluster.ray_office import Files, Posted
from scalelab.execute.jobs import FINAL, Job, Progressed, Requeued
from scalelab.permissions import make_folder
from scalelab.records import trial_of
from scalelab.store import Journal
from scalelab.store.claims import Claims
from scalelab.store.files import replace_whole, writing
from scalelab.store.fleet import Fleet, Heart
from scalelab.store.kinds import RECORDS

ANSWER_SECONDS = 60.0
CHECKPOINT_SECONDS = 60.0


def answer(reference: Any) -> Any:
    """Returns what an office answers.

    Raises:
        StoreError: The office or the cluster is gone.
    """
    import ray

    try:
        return ray.get(reference, timeout=ANSWER_SECONDS)
    except ray.exceptions.RayError as error:
        raise StoreError(
            "the Ray actor that keeps the run's mail is gone or does not answer "
            f"({type(error).__name__}); what was acknowledged is in the journal, run the same command again"
        ) from error


class RayPost:
    """The coordinator's side; see `scalelab.execute.cluster.mail.Post`.

    Args:
        office: The handle of the run's office.
        fleet: The run's folder.
        journal: The store's journal.
        travels: Whether files come with what is said, there being no shared folder.
        joined: Whether an earlier coordinator has heard jobs arrive.
    """

    def __init__(
        self, office: Any, fleet: Fleet, journal: Journal, *, travels: bool, joined: bool = False
    ) -> None:
        self.office = office
        self._fleet = fleet
        self._journal = journal
        self._claims = Claims(journal)
        self._travels = travels
        self._heard = 0
        self._greeted: list[tuple[str, Message]] = []
        if joined:
            hellos = answer(office.roll.remote()).hellos
            self._greeted = [(agent, message_from_json(text)) for agent, text in hellos.items()]

    def post(self, jobs: Sequence[Job]) -> None:
        """Puts trials into the inbox."""
        self.office.post.remote([self._posted(job) for job in jobs])

    def _posted(self, job: Job) -> Posted:
        checkpoint = None
        if self._travels:
            job = job.model_copy(update={"store": ""})  # which is nowhere that its worker could reach
            with contextlib.suppress(FileNotFoundError):
                checkpoint = self._journal.checkpoint(job.trial.id).read_bytes()
        return job.record_id, job.model_dump_json(), checkpoint

    def hear(self) -> list[tuple[str, Message]]:
        """Returns what jobs said since the last call; files that came with it are on the disk by then."""
        heard, self._greeted = self._greeted, []
        for number, agent, text, files in answer(self.office.hear.remote(self._heard)):
            for path, content in files.items():
                self._take_in(path, content if isinstance(content, bytes) else answer(content))
            self._heard = number
            if text is not None:
                message = message_from_json(text)
                self._settle(message)
                heard.append((agent, message))
        return heard

    def _take_in(self, path: str, content: bytes) -> None:
        """Puts a file into the store's journal."""
        kind, _, name = path.partition("/")
        if kind == "new":
            record_id = name.removesuffix(RECORDS.suffix)
            entry = RECORDS.open(record_id, content)
            if not self._journal.adopt(record_id, content, RECORDS, durable=True):
                self._journal.write(RECORDS.content(entry))  # the same once more, or one that came late
            return
        target = self._journal.folder / kind / name
        with writing(target):
            make_folder(target.parent)
            replace_whole(target, content)

    def _settle(self, message: Message) -> None:
        """Does to the store what a job without its folder could not."""
        if not (self._travels and isinstance(message, Told)):
            return
        event = message.event
        if isinstance(event, Requeued):
            self._claims.advance(self._fleet.run, event.trial_id, event.attempt - 1)
        elif event.kind == "finished" and event.status in ("done", "diverged"):
            self._journal.checkpoint(event.trial_id).unlink(missing_ok=True)

    def waiting(self) -> list[str]:
        """Returns the record ids of the attempts in the inbox."""
        return list(answer(self.office.waiting.remote()))

    def leases(self) -> dict[str, str]:
        """Returns the attempts that are leased, each with the job that has it."""
        return dict(answer(self.office.leases.remote()))

    def end_lease(self, agent: str, record_id: str) -> None:
        """Frees an attempt whose job is gone."""
        del agent
        answer(self.office.end_lease.remote(record_id))

    def withdraw(self) -> list[str]:
        """Empties the inbox."""
        return list(answer(self.office.withdraw.remote()))

    def want(self, wish: Wish) -> None:
        """Says what the coordinator wants from now on."""
        answer(self.office.want.remote(wish))

    def renew(self, facts: dict[str, Any]) -> None:
        """Shows that there is a coordinator, and beats the hearts of jobs that have no folder to do so.

        What waits and what jobs are at is noted, too, which stands in no folder here.
        """
        at = {agent: record_id for record_id, agent in self.leases().items()}
        self._fleet.write({**facts, "waiting": len(self.waiting()), "at": at})
        self.office.renew.remote()
        if self._travels:
            for heart, _ in answer(self.office.roll.remote()).hearts.values():
                self._fleet.beat(Heart(**json.loads(heart)))


class RayMail:
    """A job's side; see `scalelab.execute.cluster.mail.Mail`.

    Args:
        office: The handle of the run's office.
        heart: The job.
        orders: What the run is about.
        scratch: A store of this job alone in place of the run's, where there is no shared folder.
    """

    def __init__(self, office: Any, heart: Heart, orders: Orders, scratch: Path | None) -> None:
        self._office = office
        self._heart = heart
        self._scratch = None if scratch is None else Journal(scratch)
        self._store = scratch
        journal = self._scratch or Journal(Path(orders.store))
        self.fleet = Fleet(journal, orders.run)
        self._claims = Claims(journal)
        self._wish: tuple[Wish, float] = ("go on", 0.0)
        self._turn = threading.Lock()
        self._at: Job | None = None
        self._sent = (0.0, time.monotonic())

    def _ask(self, method: Any, *given: Any) -> Any:
        import ray

        return ray.get(method.remote(self._heart.agent, *given))

    def say(self, message: Message) -> None:
        """Tells the coordinator something, with the files of an attempt that ended and was not put back."""
        text = message.model_dump_json()
        if isinstance(message, Hello):
            self._ask(self._office.greet, text)
        elif isinstance(message, Told) and message.event.kind in FINAL and message.event.kind != "requeued":
            with self._turn:
                self._at = None
                self._ask(self._office.tell, text, message.record_id, self._files(message.record_id))
                self._clear(message.record_id)
        elif isinstance(message, Bye):
            self._ask(self._office.tell, text)
            self._ask(self._office.leave, True, message.reason)
        elif isinstance(message, Told) and isinstance(message.event, Progressed):
            self._office.progress.remote(self._heart.agent, text, message.record_id)
        else:
            self._office.tell.remote(self._heart.agent, text)

    def _paths(self, record_id: str) -> list[Path]:
        journal, trial_id = self._scratch, trial_of(record_id)
        if journal is None:
            return []
        record = journal.new / f"{record_id}{RECORDS.suffix}"
        return [record, journal.weights(trial_id), journal.log(record_id), journal.checkpoint(trial_id)]

    def _files(self, record_id: str) -> Files:
        files: Files = {}
        for path in self._paths(record_id):
            with contextlib.suppress(FileNotFoundError):
                files[f"{path.parent.name}/{path.name}"] = path.read_bytes()
        return files

    def _clear(self, record_id: str) -> None:
        for path in self._paths(record_id):
            path.unlink(missing_ok=True)

    def take(self) -> Job | None:
        """Leases the trial that has waited longest."""
        import ray

        while (taken := self._ask(self._office.take)) is not None:
            record_id, text, checkpoint = taken
            job = Job.model_validate_json(text)
            if self._store is None:
                if self._claims.holds(self.fleet.run, job.trial.id, job.attempt):
                    return job
                # Its coordinator was taken for dead, and somebody else has the trial by now.
                ray.get(self._office.end_lease.remote(record_id))
                continue
            job = job.model_copy(update={"store": str(self._store)})
            if checkpoint is not None:
                content = checkpoint if isinstance(checkpoint, bytes) else ray.get(checkpoint)
                Journal(self._store).checkpoint(job.trial.id).write_bytes(content)
            with self._turn:
                self._at, self._sent = job, (time.time(), time.monotonic())
            return job
        return None

    def put_back(self, job: Job) -> Job | None:
        """Puts the next attempt at a leased trial at the head of the inbox, its checkpoint with it."""
        following = job.model_copy(update={"attempt": job.attempt + 1})
        if self._scratch is None and not self._claims.advance(self.fleet.run, job.trial.id, job.attempt):
            return None
        with self._turn:
            self._at = None
            files = self._files(job.record_id)
            text = following.model_dump_json()
            self._ask(self._office.put_back, job.record_id, following.record_id, text, files)
            self._clear(job.record_id)
        return following

    def left_over(self) -> Job | None:
        """Returns nothing: Ray starts no job again."""
        return None

    def wish(self) -> Wish:
        """Returns what the coordinator wants."""
        import ray

        self._wish = ray.get(self._office.wish.remote())
        return self._wish[0]

    def deserted(self) -> bool:
        """Whether no coordinator has been there for long, as of the last question for its wish."""
        return self._wish[1] > DESERTED_SECONDS

    def beat(self) -> None:
        """Shows that the job lives; where there is no shared folder, hands in a checkpoint that is new."""
        if self._scratch is None:
            self.fleet.beat(self._heart)
            return
        with self._turn:
            job, (sent, when) = self._at, self._sent
            if job is None or time.monotonic() - when < CHECKPOINT_SECONDS:
                return
            path = self._scratch.checkpoint(job.trial.id)
            if path.exists() and path.stat().st_mtime > sent:
                self._sent = path.stat().st_mtime, time.monotonic()
                self._ask(self._office.hand_in, {f"checkpoints/{path.name}": path.read_bytes()})

    def clear(self) -> None:
        """Removes what the job has on its machine."""
        if self._store is None:
            self.fleet.stop(self._heart.agent)
        else:
            shutil.rmtree(self._store.parent, ignore_errors=True)
