"""Claims: who is at which trial right now.

A claim is a file `claims/<trial_id>.json` in the journal's folder, made and removed under one lock file, so
that two coordinators on one store, on one machine or on a shared file system, never attempt a trial at the
same time. Nothing has to be tidied after a crash: a claim dies with the processes that it names.

- On the host that made it, a claim is live while the coordinator or the worker that it names is alive, both
  told from later processes of the same id by the time they started. Hosts are told apart by their boot.
- From another host a claim is live while the coordinator's heartbeat file is younger than
  `HEARTBEAT_LIMIT` seconds, by the file system's clock alone. Coordinators that share a store between
  hosts call `Claims.beat` from time to time; it touches the file at most every `HEARTBEAT_SECONDS`.
- A claim that names a run on a cluster is live, too, while a job of that run lives (`scalelab.store.fleet`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

from pydantic import Field

from scalelab.permissions import make_folder, share
from scalelab.records import Record, Status, Trial
from scalelab.store.files import locked, replace_whole, set_aside, writing
from scalelab.store.fleet import HEARTBEAT_LIMIT, Fleet, Pid, coordinator_here, read_note
from scalelab.store.journal import Journal
from scalelab.store.kind import LATEST
from scalelab.store.processes import is_alive, is_here, own_start, started, this_place, was_here

HEARTBEAT_SECONDS = 30.0
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
        run: The run on a cluster whose jobs attempt it, see `scalelab.store.fleet`.
    """

    trial_id: str
    study: str
    attempt: Annotated[int, Field(ge=1, lt=LATEST)]
    host: str
    pid: Pid
    pid_start: str | None
    worker_pid: Pid | None
    worker_start: str | None
    started_at: Annotated[float, Field(allow_inf_nan=False)]
    run: Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]+$")] | None = None

    def record(self, trial: Trial, status: Status, error: str, **facts: Any) -> Record:
        """Returns the record of this attempt, made now because it could not write its own."""
        return Record(
            trial=trial,
            study=self.study,
            attempt=self.attempt,
            status=status,
            error=error,
            started_at=self.started_at,
            finished_at=time.time(),
            **facts,
        )

    @property
    def record_id(self) -> str:
        """The id that the attempt's record will have."""
        return f"{self.trial_id}-{self.attempt}"


_FIELDS = tuple(field.name for field in fields(Claim))


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

    def claim(
        self,
        trial_id: str,
        study: str,
        attempt: int,
        worker_pid: int | None = None,
        run: str | None = None,
    ) -> Claim | None:
        """Claims a trial for this process; see `turn_over`.

        Returns:
            The claim; `None` where the trial could not be claimed.

        Raises:
            StoreError: The journal's folder cannot be written.
        """
        claims = self.turn_over([], [(trial_id, attempt)], study, workers=[worker_pid], run=run)
        return claims[0] if claims else None

    def turn_over(
        self,
        ended: Iterable[Claim],
        wanted: Iterable[tuple[str, int]],
        study: str,
        *,
        workers: Iterable[int | None],
        run: str | None = None,
    ) -> list[Claim]:
        """Gives claims back and claims other trials for this process, in one go.

        Args:
            ended: The claims; nothing happens to one that another process holds by now.
            wanted: The trials, with the number of the attempt.
            study: The study for which they are attempted.
            workers: The local workers of those that can be claimed, in their order; at least as many.
            run: The run on a cluster whose jobs will make the attempts.

        Returns:
            The claims in order, without trials that a living process has, or of whose attempt the journal has
            a record already: look at `Store.outcomes` again.

        Raises:
            StoreError: The journal's folder cannot be written.
        """
        claims: list[Claim] = []
        host, pid, pid_start, pids = this_place(), os.getpid(), own_start(), iter(workers)
        with self.alone():
            self._remove(ended)
            for trial_id, attempt in wanted:
                if not self._is_free(trial_id, attempt):
                    continue
                worker = next(pids)
                claim = Claim(
                    trial_id=trial_id,
                    study=study,
                    attempt=attempt,
                    host=host,
                    pid=pid,
                    pid_start=pid_start,
                    worker_pid=worker,
                    worker_start=started(worker) if worker is not None else None,
                    started_at=time.time(),
                    run=run,
                )
                self._write(claim)
                claims.append(claim)
        self.beat()
        return claims

    def _is_free(self, trial_id: str, attempt: int) -> bool:
        """Whether an attempt may be claimed; a dead claim of the trial is settled."""
        there = self._read(self._path(trial_id))
        if there is not None:
            if self._is_live(there):
                return False
            self._bury([there])
        return not self._journal.has(f"{trial_id}-{attempt}")

    def _write(self, claim: Claim) -> None:
        content = {name: getattr(claim, name) for name in _FIELDS}
        replace_whole(self._path(claim.trial_id), json.dumps(content))

    def _remove(self, claims: Iterable[Claim]) -> None:
        for claim in filter(self.stands, claims):
            self._path(claim.trial_id).unlink()

    def lead(self, run: str) -> bool:
        """Makes this process the coordinator of a run on a cluster, unless another one is by now.

        Returns:
            Whether it is; not where the run has been cleared away, either.

        Raises:
            StoreError: The journal's folder cannot be written.
        """
        fleet = Fleet(self._journal, run)
        with self.alone():
            facts = fleet.read()
            if not facts or fleet.coordinated(self.now()):
                return False
            fleet.write({**facts, **coordinator_here()})
        return True

    def take_over(self, run: str) -> list[Claim]:
        """Makes this process the coordinator of all that a run on a cluster is at; returns those claims.

        Raises:
            StoreError: The journal's folder cannot be written.
        """
        pid, taken = os.getpid(), []
        with self.alone():
            for claim in self._all():
                if claim.run == run:
                    taken.append(replace(claim, host=this_place(), pid=pid, pid_start=own_start()))
                    self._write(taken[-1])
        return taken

    def end_run(self, run: str) -> None:
        """Removes the claims of a run on a cluster that is over, whoever made them; see `reap`.

        Raises:
            StoreError: The journal's folder cannot be written, or an attempt could not be recorded.
        """
        with self.alone():
            self._bury([claim for claim in self._all() if claim.run == run])

    def advance(self, run: str, trial_id: str, attempt: int) -> bool:
        """Turns a run's claim of an attempt into that of the next one.

        Returns:
            Whether the run had that claim.

        Raises:
            StoreError: The journal's folder cannot be written.
        """
        with self.alone():
            there = self._read(self._path(trial_id))
            if there is None or (there.run, there.attempt) != (run, attempt):
                return False
            self._write(replace(there, attempt=attempt + 1))
        return True

    def holds(self, run: str, trial_id: str, attempt: int) -> bool:
        """Whether a run may still make an attempt: nobody has taken it for dead meanwhile."""
        there = self._read(self._path(trial_id))
        return there is not None and (there.run, there.attempt) == (run, attempt)

    def release(self, *claims: Claim) -> None:
        """Gives claims back; nothing happens to one that another process holds by now.

        Raises:
            StoreError: The journal's folder cannot be written.
        """
        if claims:
            with self.alone():
                self._remove(claims)

    def stands(self, claim: Claim) -> bool:
        """Whether a claim is still what was claimed: nobody took its process for dead."""
        there = self._read(self._path(claim.trial_id))
        same = ("attempt", "host", "pid")
        return there is not None and all(getattr(there, name) == getattr(claim, name) for name in same)

    def live(self) -> list[Claim]:
        """Returns the claims whose process is alive, oldest first."""
        runs: dict[str, bool] = {}
        return [claim for claim in self._all() if self._is_live(claim, runs)]

    def dead(self) -> list[Claim]:
        """Returns the claims whose processes have ended, oldest first."""
        runs: dict[str, bool] = {}
        return [claim for claim in self._all() if not self._is_live(claim, runs)]

    def unreadable(self) -> list[Path]:
        """Returns the files of claims that hold none; `reap` sets them aside."""
        return [path for path in self._paths() if self._read(path) is None and os.path.lexists(path)]

    def reap(self) -> list[Claim]:
        """Removes dead claims and returns them, oldest first.

        Raises:
            StoreError: The journal's folder cannot be written, or an attempt could not be recorded.
        """
        if not self.dead() and not self.unreadable():
            return []
        with self.alone():
            for path in self.unreadable():
                target = set_aside(path, self._journal.quarantine)
                log.warning("warning: claim %s cannot be read; it was moved to %s", path, target)
            dead = self.dead()
            self._bury(dead)
        return dead

    def rest(self) -> None:
        """Shows that this process, which has no claims any more, coordinates nothing."""
        with suppress(OSError):
            self._heart(this_place(), os.getpid()).unlink(missing_ok=True)
        self._beaten = float("-inf")

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

    def _bury(self, dead: Sequence[Claim]) -> None:
        """Settles and removes dead claims, and the hearts of coordinators that have no other."""
        for claim in dead:
            if self._settle is not None and not self._journal.has(claim.record_id):
                self._settle(claim)
            self._path(claim.trial_id).unlink(missing_ok=True)
        silent = {(claim.host, claim.pid) for claim in dead}
        for host, pid in silent - {(claim.host, claim.pid) for claim in self._all()}:
            self._heart(host, pid).unlink(missing_ok=True)

    def _is_live(self, claim: Claim, runs: dict[str, bool] | None = None) -> bool:
        """Whether somebody is at a claim's trial; runs on clusters are looked at once for many claims."""
        if claim.run:
            runs = {} if runs is None else runs
            if claim.run not in runs:
                runs[claim.run] = bool(Fleet(self._journal, claim.run).living(self.now()))
            if runs[claim.run]:
                return True
        if is_here(claim.host, claim.pid_start):
            alive = (
                is_alive(claim.pid, claim.pid_start),
                is_alive(claim.worker_pid, claim.worker_start),
            )
            if True in alive or None not in alive:
                return True in alive
        silent = self._silent_for(claim)
        if silent is None:
            return False
        booted = was_here(claim.host, claim.pid_start)
        if booted is not None and silent > booted:
            return False  # it was this machine, before it booted
        # A beat far in the future is one of before the clock was set back, and no other came since.
        return abs(silent) < HEARTBEAT_LIMIT

    def _silent_for(self, claim: Claim) -> float | None:
        """Returns the seconds since a claim's last beat; `None` where there is neither beat nor claim.

        Both times are of the clock that stamps files, which may be a file server's, and the first beat is the
        claim's own file: what a host takes for the time plays no part.
        """
        for file in (self._heart(claim.host, claim.pid), self._path(claim.trial_id)):
            with suppress(OSError):
                return self.now() - file.stat().st_mtime
        return None

    def now(self) -> float:
        """Returns the time by the clock that stamps the heartbeats."""
        try:
            with TemporaryFile(dir=self.folder) as probe:  # a name that no other host's has
                probe.write(b".")
                probe.flush()
                return os.fstat(probe.fileno()).st_mtime
        except OSError:
            return time.time()  # who may not write here takes no claim over

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
        """Returns the claim in a file; `None` where the file no longer exists or holds none of its name."""
        claim = read_note(Claim, path)
        return claim if claim is not None and claim.trial_id == path.stem else None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps all others from claiming and releasing."""
        held = f"the claims in {self.folder} were locked by another process for {LOCK_SECONDS:.0f} s"
        refusal = f"{held}; see whether one hangs, then run again"
        with writing(self.folder), locked(self.folder / "claims.lock", LOCK_SECONDS, refusal):
            yield
