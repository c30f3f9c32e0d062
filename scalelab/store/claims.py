"""Claims: who is at which trial right now.

A claim is a file `claims/<trial_id>.json` in the journal's folder, made and removed under one lock file, so
that two coordinators on one store, on one machine or on a shared file system, never attempt a trial at the
same time. Nothing has to be tidied after a crash: a claim dies with the processes that it names.

- On the host that made it, a claim is live while the coordinator or the worker that it names is alive, both
  told from later processes of the same id by the time they started.
- From another host a claim is live while the coordinator's heartbeat file is younger than
  `HEARTBEAT_LIMIT` seconds, by the file system's clock. Coordinators that share a store between hosts call
  `Claims.beat` from time to time; it touches the file at most every `HEARTBEAT_SECONDS`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from scalelab.permissions import make_folder, share
from scalelab.records import Record, Status, Trial
from scalelab.store.files import locked, set_aside, writing
from scalelab.store.journal import Journal
from scalelab.store.processes import is_alive, started, this_place

HEARTBEAT_SECONDS = 30.0
HEARTBEAT_LIMIT = 600.0
LOCK_SECONDS = 30.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt at a trial that is under way.

    Attributes:
        trial_id: The trial.
        study: The study for which it is attempted.
        attempt: Number of the attempt.
        host: Where the processes are.
        pid: The coordinator.
        pid_start: Tells it from later processes of that id.
        worker_pid: The worker, where it is known.
        worker_start: Tells it from later processes of that id.
        started_at: Seconds since the epoch.
    """

    trial_id: str
    study: str
    attempt: int
    host: str
    pid: int
    pid_start: str | None
    worker_pid: int | None
    worker_start: str | None
    started_at: float

    def record(self, trial: Trial, status: Status, error: str) -> Record:
        """Returns the record of this attempt, made now because it could not write its own."""
        return Record(
            trial=trial,
            study=self.study,
            attempt=self.attempt,
            status=status,
            error=error,
            started_at=self.started_at,
            finished_at=time.time(),
        )

    @property
    def record_id(self) -> str:
        """The id that the attempt's record will have."""
        return f"{self.trial_id}-{self.attempt}"


class Claims:
    """The claims on one store; any number of coordinators may use it at once.

    Args:
        journal: The store's journal.
        settle: Called with a dead claim before it is removed, to record the attempt as interrupted; where it
            raises, the claim stays.
    """

    def __init__(self, journal: Journal, settle: Callable[[Claim], None] | None = None) -> None:
        self.folder = journal.folder / "claims"
        self._journal = journal
        self._settle = settle
        self._beaten = float("-inf")

    def claim(self, trial_id: str, study: str, attempt: int, worker_pid: int | None = None) -> Claim | None:
        """Claims a trial for this process.

        Returns:
            The claim, or `None` where a living process has the trial, or where the journal has a record of
            this attempt already: look at `Store.outcomes` again.

        Raises:
            StoreError: The journal's folder cannot be written.
        """
        mine = Claim(
            trial_id=trial_id,
            study=study,
            attempt=attempt,
            host=this_place(),
            pid=os.getpid(),
            pid_start=started(os.getpid()),
            worker_pid=worker_pid,
            worker_start=started(worker_pid) if worker_pid is not None else None,
            started_at=time.time(),
        )
        with self._lock():
            path = self._path(trial_id)
            there = self._read(path)
            if there is not None:
                if self._is_live(there):
                    return None
                self._bury(there)
            if self._journal.has(mine.record_id):
                return None
            part = path.with_suffix(".part")
            part.write_text(json.dumps(asdict(mine)), encoding="utf-8")
            share(part)
            part.replace(path)
        self.beat()
        return mine

    def release(self, claim: Claim) -> None:
        """Gives a claim back; nothing happens where another process holds it by now.

        Raises:
            StoreError: The journal's folder cannot be written.
        """
        with self._lock():
            path = self._path(claim.trial_id)
            if self._read(path) == claim:
                path.unlink()

    def live(self) -> list[Claim]:
        """Returns the claims whose process is alive, oldest first."""
        return [claim for claim in self._all() if self._is_live(claim)]

    def dead(self) -> list[Claim]:
        """Returns the claims whose processes have ended, oldest first."""
        return [claim for claim in self._all() if not self._is_live(claim)]

    def reap(self) -> list[Claim]:
        """Removes dead claims and returns them, oldest first.

        Raises:
            StoreError: The journal's folder cannot be written, or an attempt could not be recorded.
        """
        if not self.dead() and not any(self._read(path) is None for path in self._paths()):
            return []
        with self._lock():
            for path in self._paths():
                if self._read(path) is None:
                    target = set_aside(path, self._journal.quarantine)
                    log.warning("warning: claim %s cannot be read; it was moved to %s", path, target)
            dead = self.dead()
            for claim in dead:
                self._bury(claim)
        return dead

    def beat(self) -> None:
        """Shows other hosts that this process is alive; costs nothing between two beats."""
        if time.monotonic() - self._beaten < HEARTBEAT_SECONDS:
            return
        with writing(self.folder):
            make_folder(self.folder)
            heart = self._heart(this_place(), os.getpid())
            heart.touch()
            share(heart)
        self._beaten = time.monotonic()

    def _bury(self, claim: Claim) -> None:
        if self._settle is not None and not self._journal.has(claim.record_id):
            self._settle(claim)
        self._path(claim.trial_id).unlink(missing_ok=True)
        if not any((other.host, other.pid) == (claim.host, claim.pid) for other in self._all()):
            self._heart(claim.host, claim.pid).unlink(missing_ok=True)

    def _is_live(self, claim: Claim) -> bool:
        if claim.host == this_place():
            return is_alive(claim.pid, claim.pid_start) or is_alive(claim.worker_pid, claim.worker_start)
        try:
            beat = self._heart(claim.host, claim.pid).stat().st_mtime
            return self._now() - beat < HEARTBEAT_LIMIT
        except OSError:
            return time.time() - claim.started_at < HEARTBEAT_LIMIT

    def _now(self) -> float:
        """Returns the time by the clock that stamps the heartbeats, which may be a file server's."""
        probe = self.folder / f".now-{os.getpid()}"
        try:
            probe.touch()
            return probe.stat().st_mtime
        except OSError:
            return time.time()
        finally:
            probe.unlink(missing_ok=True)

    def _path(self, trial_id: str) -> Path:
        return self.folder / f"{trial_id}.json"

    def _heart(self, host: str, pid: int) -> Path:
        return self.folder / f"{hashlib.sha256(host.encode()).hexdigest()[:12]}-{pid}.beat"

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.json"))

    def _all(self) -> list[Claim]:
        claims = (self._read(path) for path in self._paths())
        return sorted((claim for claim in claims if claim is not None), key=lambda claim: claim.started_at)

    @staticmethod
    def _read(path: Path) -> Claim | None:
        """Returns the claim in a file; `None` where the file no longer exists or holds none."""
        try:
            return Claim(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @contextmanager
    def _lock(self) -> Iterator[None]:
        refusal = (
            f"the claims in {self.folder} were locked by another process for {LOCK_SECONDS:.0f} s; "
            "see whether one hangs, then run again"
        )
        with writing(self.folder), locked(self.folder / "claims.lock", LOCK_SECONDS, refusal):
            yield
