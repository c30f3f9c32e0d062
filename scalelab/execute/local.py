"""Trials in supervised processes on this machine.

Each worker is one process that serves many trials, so that importing torch is paid once. A worker that is
killed, runs out of memory or falls silent is replaced; only the attempt that it was at is lost. What a worker
prints while it is at a trial goes to the log of the attempt, and to standard error otherwise.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import sys
import time
from dataclasses import dataclass, field

from scalelab.execute.devices import Device, devices_for, failed_alone
from scalelab.execute.jobs import Event, Job, Lost, Progressed, Warned, event_from_json
from scalelab.store import Journal
from scalelab.supervise.log import Log
from scalelab.supervise.process import Supervised
from scalelab.supervise.workbench import INTERRUPT_LINE


@functools.lru_cache(maxsize=8)
def _journal(store: str) -> Journal:
    """Returns a store's journal, whose links are followed once for many attempts."""
    return Journal(store)


@dataclass
class _Attempt:
    """What a worker is at, when it was last heard of, and where its prints go."""

    job: Job
    began: float = field(default_factory=time.time)
    heard: float = field(default_factory=time.monotonic)
    log: Log = field(init=False)

    def __post_init__(self) -> None:
        self.log = Log(_journal(self.job.store).log(self.job.record_id))

    def named(self, reason: str) -> str:
        """Returns the reason of a loss with the name of the log, where anything was printed."""
        return f"{reason} (log: {self.log.path.name})" if self.log.path.exists() else reason


class _Shown:
    """Shows what a worker prints on standard error, by whole lines."""

    def __init__(self) -> None:
        self._torn = b""

    def __call__(self, printed: bytes) -> None:
        *lines, self._torn = (self._torn + printed).split(b"\n")
        with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it is closed
            for line in lines:
                print(line.decode(errors="replace"), file=sys.stderr)


@dataclass
class _Seat:
    """Where a worker is, and what it is at.

    Attributes:
        device: What it shares with others.
        slots: Of the device, when it was started.
        attempt: What it is at.
    """

    device: Device
    slots: int
    attempt: _Attempt | None = None


class LocalExecutor:
    """Runs jobs in `workers` processes of this machine; see `scalelab.execute.jobs.Executor`.

    Workers take GPUs in turn, and several on one GPU have equal parts of its memory. Where memory runs out,
    fewer of them are at a trial there from then on.

    Invariants: one thread drives it; a job that was submitted ends in exactly one final event; after `close`
    no process of it lives.

    Args:
        workers: How many processes.
        threads: CPU threads each.
        device: What they train on, as jobs say.
        stall_seconds: A worker at a job that says nothing for so long counts as hung and is killed.
    """

    run = None

    def __init__(
        self, workers: int, *, threads: int, device: str = "auto", stall_seconds: float = 900.0
    ) -> None:
        self.slots = workers
        self.threads = threads
        self._stall = stall_seconds
        self._heard: queue.SimpleQueue[tuple[Supervised[Event], Event | None]] = queue.SimpleQueue()
        self._workers: dict[Supervised[Event], _Seat] = {}
        self._devices = devices_for(workers, device)
        for shared in self._devices:
            self._fit(shared)

    def _fit(self, device: Device) -> None:
        """Makes the workers of a device as many as its slots; one at a trial is kept until that ends."""
        own = [worker for worker, seat in self._workers.items() if seat.device is device]
        idle = [worker for worker in own if self._workers[worker].attempt is None]
        for worker in idle[: max(0, len(own) - device.slots)]:
            self._dismiss(worker)
        for _ in range(device.slots - len(own)):
            self._start(device)
        self.slots = sum(one.slots for one in self._devices)

    def _start(self, device: Device) -> Supervised[Event]:
        worker = Supervised(
            "scalelab.execute.worker",
            event_from_json,
            threads=self.threads,
            output=_Shown(),
            environment=device.environment,
            heard=self._heard,
        )
        self._workers[worker] = _Seat(device, device.slots)
        return worker

    def _dismiss(self, worker: Supervised[Event]) -> None:
        del self._workers[worker]
        worker.redirect(lambda _printed: None)  # helpers complain that they end with their worker
        worker.close()

    def _free(self) -> list[Supervised[Event]]:
        """Returns the workers for the next jobs, in order; new where their part of the memory changed."""
        for worker, seat in list(self._workers.items()):
            if seat.attempt is None and seat.slots != seat.device.slots:
                self._dismiss(worker)
                self._start(seat.device)
        room = {device: device.slots for device in self._devices}
        for seat in self._workers.values():
            room[seat.device] -= seat.attempt is not None
        free = []
        for worker, seat in self._workers.items():
            if seat.attempt is None and room[seat.device] > 0:
                room[seat.device] -= 1
                free.append(worker)
        return free

    def worker_pids(self, n: int) -> list[int | None]:
        """Returns the processes that the next jobs will run in."""
        return [worker.pid for worker in self._free()[:n]]

    def submit(self, job: Job) -> None:
        """Hands a job to an idle worker."""
        worker = next(iter(self._free()), None)
        if worker is None:
            raise RuntimeError("submit() without a free slot")
        attempt = self._workers[worker].attempt = _Attempt(job)
        worker.redirect(attempt.log.write)
        worker.send(job)

    def poll(self, timeout: float) -> list[Event]:
        """Returns what the workers said, the loss of a worker among it."""
        events: list[Event] = []
        wait = timeout
        while True:
            try:
                worker, event = self._heard.get(timeout=wait) if wait > 0 else self._heard.get_nowait()
            except queue.Empty:
                break
            wait = 0.0
            seat = self._workers.get(worker)
            if event is None:
                events += self._replace(worker, None)
            elif seat and seat.attempt and event.trial_id == seat.attempt.job.trial.id:
                seat.attempt.heard = time.monotonic()
                if isinstance(event, (Progressed, Warned)):
                    events.append(event)
                else:
                    events += self._ended(worker, seat, seat.attempt, event)
        for worker, seat in list(self._workers.items()):
            if seat.attempt is not None and time.monotonic() - seat.attempt.heard > self._stall:
                events += self._replace(worker, f"no sign of life for {self._stall:.0f} s; killed")
        return events

    def _ended(self, worker: Supervised[Event], seat: _Seat, attempt: _Attempt, event: Event) -> list[Event]:
        """Takes note of the end of an attempt whose worker lives."""
        seat.attempt = None
        worker.redirect(_Shown())
        attempt.log.close()
        if isinstance(event, Lost) and event.out_of_memory:
            self._dismiss(worker)  # with what is left in its memory
            return self._ran_out(seat, attempt, event)
        self._fit(seat.device)
        return [event]

    def _ran_out(self, seat: _Seat, attempt: _Attempt, event: Lost) -> list[Event]:
        """Takes a slot of the device away, or fails a trial that had the device for itself."""
        device, trial_id = seat.device, event.trial_id
        lost = event.model_copy(update={"reason": attempt.named(event.reason)})
        if seat.slots == 1:
            device.too_small(trial_id)
            self._fit(device)
            alone = attempt.job.sharers == 1
            return [failed_alone(attempt.job, event, attempt.began) if alone else lost]
        fewer = device.ran_out(trial_id, seat.slots)
        self._fit(device)
        if not fewer:
            return [lost]
        where = ", ".join(f"{name}={value}" for name, value in device.choice.items()) or "this machine"
        left = "one trial at a time" if device.slots == 1 else f"{device.slots} trials at a time"
        said = f"memory ran out on {where} with {seat.slots} trials at a time; from now on {left} there"
        return [Warned(trial_id=trial_id, place=f"memory of {where}: {device.slots}", message=said), lost]

    def _replace(self, worker: Supervised[Event], reason: str | None) -> list[Event]:
        if worker not in self._workers:
            return []
        worker.kill()
        seat = self._workers.pop(worker)
        self._fit(seat.device)
        if seat.attempt is None:
            return []
        seat.attempt.log.close()
        reason = seat.attempt.named(reason or worker.why_lost())
        return [Lost(trial_id=seat.attempt.job.trial.id, reason=reason)]

    def adopt(self, job: Job) -> None:
        """Refuses: a worker of this machine ends with its coordinator."""
        raise RuntimeError(f"{job.record_id} is under way in no local worker")

    def standing(self) -> str:
        """Returns nothing: workers are here at once."""
        return ""

    def interrupt(self) -> bool:
        """Asks every worker to write a checkpoint and end its trial as interrupted."""
        for worker in self._workers:
            worker.send(INTERRUPT_LINE)
        return True

    def close(self) -> None:
        """Ends all workers; one at a job is killed, which its next attempt makes good."""
        for worker, seat in list(self._workers.items()):
            if seat.attempt is not None:
                worker.kill()
                seat.attempt.log.close()
            self._dismiss(worker)
