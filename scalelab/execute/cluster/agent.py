"""A job of a cluster: serves trial after trial in a worker that it supervises, until its time is over.

Start-up is paid once a job. The job beats its own heart and needs no coordinator: it goes on with what waits,
and ends when nothing does. A signal or a time limit that comes near has the trial write a checkpoint, and its
next attempt waits at the head of the inbox before the job ends.
"""

from __future__ import annotations

import contextlib
import platform
import threading
import time
from collections.abc import Callable
from pathlib import Path

from scalelab.errors import ScalelabError, StoreError
from scalelab.execute.cluster.ended import finished_of
from scalelab.execute.cluster.mail import Bye, Hello, Mail, Needs, Orders, Taken, Told
from scalelab.execute.jobs import FINAL, Event, Finished, Job, Lost, Progressed, Requeued
from scalelab.execute.local import LocalExecutor
from scalelab.plugins import load_plugins
from scalelab.plugins.libraries import files_of
from scalelab.store import Journal
from scalelab.supervise.workbench import one_line
from scalelab.version import __version__

BEAT_SECONDS = 30.0
POLL_SECONDS = 0.2
IDLE_SECONDS = (0.02, 1.0)
WISH_SECONDS = 1.0
TAKEN_AWAY = "its machine is taken away"
"""How a reason to end begins when the cluster may start the job again by itself."""


class Agent:
    """Serves the trials of a run.

    It ends also where memory ran out that others may share, so that there is more for them.

    Args:
        mail: To and from the coordinator.
        orders: What the run is about.
        hello: Who this job is.
        stop: Returns why the job is to end now, empty while it is not; see `TAKEN_AWAY`.
    """

    def __init__(self, mail: Mail, orders: Orders, hello: Hello, stop: Callable[[], str]) -> None:
        self._mail = mail
        self._orders = orders
        self._hello = hello
        self._stop = stop
        self._ends = time.monotonic() + (orders.time_limit or float("inf")) - orders.grace_seconds
        self._wished = ("go on", float("-inf"))
        self._moved = False
        self._n_taken = 0
        self._reason = ""

    def serve(self) -> str:
        """Serves until there is a reason to end; returns it."""
        beating = threading.Event()
        threading.Thread(target=self._beat, args=[beating], daemon=True).start()
        try:
            complaint = complaint_about(self._orders.needs, self._orders.store)
            self._mail.say(self._hello.model_copy(update={"complaint": complaint}))
            if complaint:
                return complaint
            self._settle_earlier_life()
            executor = LocalExecutor(
                1,
                threads=self._orders.threads,
                device=self._orders.needs.device,
                stall_seconds=self._orders.stall_seconds,
            )
            with contextlib.closing(executor):
                reason = self._work(executor)
            self._mail.say(Bye(reason=reason, again=reason.startswith(TAKEN_AWAY)))
            return reason
        finally:
            beating.set()

    def _beat(self, over: threading.Event) -> None:
        while True:
            with contextlib.suppress(Exception):  # a file system that stumbles; the next beat tries again
                self._mail.beat()
            if over.wait(BEAT_SECONDS):
                return

    def _settle_earlier_life(self) -> None:
        """Brings what this job was at, before the cluster started it again, to an end."""
        job = self._mail.left_over()
        if job is None:
            return
        ended = finished_of(Journal(Path(job.store)), job.trial.id, job.attempt)
        if ended is None or ended.status == "interrupted":
            self._requeue(job, f"job {self._hello.job} was taken from its machine and started again")
        else:
            self._mail.say(Told(record_id=job.record_id, event=ended))

    def _requeue(self, job: Job, reason: str) -> None:
        """Brings an attempt to an end as interrupted, and puts the next one at the head of the inbox."""
        record = job.record(time.time(), status="interrupted", error=reason)
        Journal(Path(job.store)).settle(record)  # where its worker could not
        following = self._mail.put_back(job)
        event: Event = _lost(job, reason)
        if following is not None:
            event = Requeued(trial_id=job.trial.id, attempt=following.attempt, reason=reason)
        self._mail.say(Told(record_id=job.record_id, event=event))

    def _work(self, executor: LocalExecutor) -> str:
        pause = IDLE_SECONDS[0]
        while True:
            reason = self._reason_to_end()
            if reason:
                return reason
            job = self._mail.take()
            if job is None:
                if self._mail.deserted():
                    return "nothing waits and no coordinator is there"
                time.sleep(pause)
                pause = min(2 * pause, IDLE_SECONDS[1])
                continue
            pause = IDLE_SECONDS[0]
            self._attempt(executor, job)

    def _reason_to_end(self) -> str:
        """Returns why the job is to end; it stays so, for what was interrupted takes no further trial."""
        self._reason = self._reason or self._reason_now()
        return self._reason

    def _reason_now(self) -> str:
        said = self._stop()
        if said:
            return said
        if time.monotonic() > self._ends:
            return "its time limit is near"
        wish, looked = self._wished
        if time.monotonic() - looked > WISH_SECONDS:
            wish = self._mail.wish()
            self._wished = wish, time.monotonic()
        return "" if wish == "go on" else f"its coordinator said {wish}"

    def _attempt(self, executor: LocalExecutor, job: Job) -> None:
        """Makes one attempt, or gives it back with a checkpoint when the job has to end."""
        self._mail.say(Taken(record_id=job.record_id))
        executor.submit(job)
        self._n_taken += 1
        self._moved, interrupted = False, ""
        while True:
            if not interrupted and (interrupted := self._reason_to_end()):
                executor.interrupt()
            for event in executor.poll(POLL_SECONDS):
                self._moved |= isinstance(event, Progressed)
                if event.kind in FINAL:
                    self._end(job, event, interrupted)
                    return
                self._mail.say(Told(record_id=job.record_id, event=event))

    def _end(self, job: Job, event: Event, interrupted: str) -> None:
        """Tells how an attempt ended; one that ended because its job does is put back."""
        ran_out = isinstance(event, Lost) and event.out_of_memory
        if ran_out:
            self._reason = self._reason or "memory ran out, and others may share it"
        stopped = isinstance(event, Lost) and not ran_out
        stopped |= isinstance(event, Finished) and event.status == "interrupted"
        if not (stopped and interrupted and self._mail.wish() == "go on"):
            self._mail.say(Told(record_id=job.record_id, event=event))
        elif self._too_slow(interrupted):
            said = f"{interrupted}, and the trial, its first, has made no step"
            self._mail.say(Told(record_id=job.record_id, event=_lost(job, said, counts=True)))
        else:
            self._requeue(job, interrupted)

    def _too_slow(self, reason: str) -> bool:
        """Whether the attempt had all of a job's time and made no step, as further ones would."""
        return self._n_taken == 1 and not self._moved and "time limit" in reason


def _lost(job: Job, reason: str, *, counts: bool = False) -> Lost:
    return Lost(trial_id=job.trial.id, reason=reason, counts=counts)


def complaint_about(needs: Needs, store: str) -> str | None:
    """Returns why this machine cannot train trials of these components, in one line; `None` where it can."""
    here = platform.node()
    if needs.scalelab_version not in ("", __version__):
        return (
            f"{here} has scalelab {__version__}, the coordinator {needs.scalelab_version}; "
            "install the same version on both"
        )
    try:
        catalog = load_plugins(
            plugins_dirs=[Path(folder) for folder in needs.plugins.dirs], select=needs.plugins.select
        )
        for kind, name, version in needs.components:
            found = getattr(catalog.find(kind, name), "version", None)
            if found != version:
                return (
                    f"{here} has {kind} {name!r} of version {found}, the coordinator {version}; "
                    "install the same plugin on both"
                )
        own = files_of(catalog, [(kind, name) for kind, name, _ in needs.components])
        for file, digest in needs.files.items():
            if own.get(file) != digest:
                return f"{here} has another {file} than the coordinator; bring the coordinator's there"
        if needs.device not in ("auto", "cpu") or needs.precision == "bf16":  # else torch is not needed
            from scalelab.train.device import resolve_device, resolve_precision

            device = resolve_device(needs.device)
            if needs.precision == "bf16":
                resolve_precision("bf16", device)
    except StoreError:
        raise
    except ScalelabError as error:
        return f"{here}: {one_line(error)} (Python there: {platform.python_version()}, store {store})"
    return None
