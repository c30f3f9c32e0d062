"""A trial that is a command: started, heard, watched, asked to stop, and ended with all that it started.

A script reports in a file of its trial, which its attempts share, so that one that goes on from a checkpoint
goes on with its curve. What it prints and is a report is added there.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.cache import file_digest
from scalelab.errors import InputError, KilledError, StoreError, brief
from scalelab.execute.jobs import Job
from scalelab.measure.machine import machine_facts
from scalelab.records import Trial
from scalelab.regular_files import open_regular
from scalelab.script_files import begin, read_reports
from scalelab.script_log import RECORD, append
from scalelab.script_reports import LENGTH, NO_RESULT, Reports
from scalelab.store import Journal
from scalelab.store.files import writing
from scalelab.study.expansion import Place
from scalelab.supervise.descriptors import PIPE_BYTES
from scalelab.supervise.process import TAIL_BYTES, last_words
from scalelab.train.results import Progress
from scalelab.version import __version__

if TYPE_CHECKING:
    import psutil

STOPPED = "stopped before it finished"
LOOK_SECONDS, ASKED_SECONDS = 0.1, 2.0
LIFE_SECONDS, LIFE_CPU = 5.0, 0.05
"""How often one looks whether a silent command works, and the CPU seconds by which it does."""
_KILLED = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}


def attempt_command(
    job: Job,
    journal: Journal,
    on_progress: Callable[[Progress], None] | None,
    should_stop: Callable[[], bool] | None,
) -> dict[str, Any]:
    """Runs the command of a trial to its end; returns the fields of its record.

    Raises:
        InputError: It cannot be started, or its files are others by now.
        KilledError: It was killed, not by this process.
        StoreError: The journal cannot be written.
    """
    trial, place = job.trial, job.place
    assert place is not None, "a job of a command has one"
    _refuse_changed(trial, place)
    file = journal.reports(trial.id)
    with writing(file.parent):
        begin(file, job.attempt, place.metric, place.direction)
    run = _Run(job, place, file, on_progress or (lambda _progress: None))
    began = time.monotonic()
    ended = run.watch(should_stop or (lambda: False))
    reports = read_reports(file, place.metric, place.direction)
    facts = reports.facts(trial)
    status, error = ended or reports.outcome()
    return {
        **facts,
        **(NO_RESULT if status == "failed" else {}),
        "status": status,
        "error": error,
        "peak_memory_bytes": facts["peak_memory_bytes"] or run.peak,
        "wall_seconds": reports.spent + time.monotonic() - began,
        "machine": machine_facts("", threads=job.crew.threads, workers=job.crew.workers),
        "scalelab_version": __version__,
        "libraries": {name: digest[:12] for name, digest in _files_of(trial).items()},
    }


def _soon(should_stop: Callable[[], bool]) -> bool:
    """Whether somebody asks to stop: a cluster, or Ctrl-C, may tell the command before its worker."""
    deadline = time.monotonic() + ASKED_SECONDS
    while not should_stop() and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return should_stop()


def _files_of(trial: Trial) -> Mapping[str, str]:
    return {} if trial.script is None else trial.script.files


def _refuse_changed(trial: Trial, place: Place) -> None:
    if not Path(place.folder).is_dir():
        raise InputError(f"the command's folder {place.folder} is not there")
    for name, digest in _files_of(trial).items():
        try:
            now = file_digest(Path(place.folder, name))
        except OSError as error:
            raise InputError(f"{name} of the command cannot be read: {error.strerror or error}") from error
        if now != digest:
            raise InputError(f"{name} changed since the study was planned; run the study again")


def words_of(trial: Trial, place: Place, checkpoint: Path, record: Path) -> list[str]:
    """Returns the words of a trial's command: texts as they are, lists as JSON, `true` and `false`."""
    assert trial.script is not None, "a trial of a command has a script"
    given = {
        "seed": trial.seed, "checkpoint": str(checkpoint), "record": str(record), "python": sys.executable,
    }  # fmt: skip
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in {**trial.architecture.params, **given}.items()
    }
    return [word.format_map(texts) for word in (place.program, *trial.script.command[1:])]


@dataclass
class _Run:
    """One process of a command; the fields are what is known of it so far."""

    job: Job
    place: Place
    file: Path
    on_progress: Callable[[Progress], None]
    peak: int | None = None
    _tail: bytes = b""
    _torn: bytes = b""
    _family: dict[int, psutil.Process] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._live = Reports(self.place.metric, self.place.direction)
        self._offset = self.file.stat().st_size
        self._worked = 0.0
        self._looked = time.monotonic()
        self._process = self._start()
        out, err = self._process.stdout, self._process.stderr
        assert out is not None, "a pipe was asked for"
        assert err is not None, "likewise"
        self._pipes = {out.fileno(): 1, err.fileno(): 2}

    def _start(self) -> subprocess.Popen[bytes]:
        checkpoint = self.file.with_name("checkpoint")
        trial, threads = self.job.trial, str(self.job.crew.threads)
        words = words_of(trial, self.place, checkpoint, self.file)
        own = {
            RECORD: str(self.file),
            "SCALELAB_CHECKPOINT": str(checkpoint),
            "SCALELAB_PARAMS": json.dumps(trial.architecture.params),
            "SCALELAB_SEED": str(trial.seed),
            "SCALELAB_TRIAL": trial.id,
            "OMP_NUM_THREADS": threads,
            "PYTHONUNBUFFERED": "1",
        }
        try:
            return subprocess.Popen(
                words,
                cwd=self.place.folder,
                env={**os.environ, **own, **self.place.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"the command {brief(words[0])} cannot be started: {reason}") from error

    def watch(self, should_stop: Callable[[], bool]) -> tuple[str, str] | None:
        """Hears the process until it ends.

        Returns:
            Status and reason where it did not end well by itself.
        """
        began = looked = time.monotonic()
        deadline, why = float("inf"), ""
        with selectors.DefaultSelector() as selector:
            for pipe in self._pipes:
                os.set_blocking(pipe, False)
                selector.register(pipe, selectors.EVENT_READ)
            try:
                while self._process.poll() is None:
                    for key, _ in selector.select(LOOK_SECONDS):
                        if not self._heard(key.fd):
                            selector.unregister(key.fd)
                    now = time.monotonic()
                    if now - looked > LOOK_SECONDS:
                        self._look()
                        looked = now
                    limit = self.place.time_limit
                    if not why and should_stop():
                        why, deadline = STOPPED, now + self.place.stop_seconds
                        self._process.terminate()
                    elif not why and limit is not None and now - began > limit:
                        why = f"it took longer than command.time_limit = {limit:g} s"
                        deadline = now + min(self.place.stop_seconds, 10.0)
                        self._process.terminate()
                    elif now > deadline:
                        self._process.kill()
                for pipe in self._pipes:
                    while self._heard(pipe, over=True):
                        pass
            finally:
                self._end()
        if why:
            return "interrupted" if why == STOPPED else "failed", why
        return self._verdict(should_stop)

    def _verdict(self, should_stop: Callable[[], bool]) -> tuple[str, str] | None:
        code = self._process.returncode
        if code == 0:
            return None
        words = last_words(self._tail)
        said = f": {words}" if words else ""
        number = -code if code < 0 else code - 128
        named = {one.value: one for one in signal.Signals}.get(number)
        if named in _KILLED - {signal.SIGKILL} and _soon(should_stop):
            return "interrupted", STOPPED
        if named in _KILLED:
            raise KilledError(f"its command was killed by {named.name}{said}")
        how = f"was killed by {named.name}" if code < 0 and named else f"ended with exit code {code}"
        return "failed", f"its command {how}{said}"

    def _heard(self, pipe: int, *, over: bool = False) -> bool:
        """Passes on what was printed, as narration; returns whether there may be more."""
        try:
            printed = os.read(pipe, PIPE_BYTES)
        except BlockingIOError:
            return not over
        self._alive()
        with contextlib.suppress(OSError):
            os.write(2, printed)  # standard output is for results; a worker's log has both
        self._tail = (self._tail + printed)[-TAIL_BYTES:] if printed else self._tail
        if self._pipes[pipe] == 1:
            *lines, self._torn = (self._torn + printed).split(b"\n")
            if not printed:
                lines, self._torn = [self._torn], b""
            for line in lines:
                shown = line.rstrip().rpartition(b"\r")[2].lstrip()  # what a progress bar leaves of it
                if shown.startswith(b"{"):
                    self._overhear(shown)
            self._torn = self._torn[-LENGTH - 1 :]
        return bool(printed)

    def _overhear(self, line: bytes) -> None:
        report = self._live.overheard(line)
        if report is None:
            return
        try:
            append(str(self.file), report)
        except StoreError as error:  # it may have removed the folder; of a full disk its record tells
            raise InputError(f"what the command printed cannot be kept: {error}") from error

    def _alive(self) -> None:
        step, loss = self._live.last
        self.on_progress(Progress(step, max(step, self._live.n_steps), loss))

    def _look(self) -> None:
        """Reads new reports; takes note of memory, of what it started, and of work without a word."""
        with contextlib.suppress(OSError), open_regular(self.file) as file:
            file.seek(self._offset)
            *lines, torn = file.read().split(b"\n")
            self._offset = file.tell() - len(torn)
            for line in lines:
                self._live.read(line)
            if lines:
                self._alive()
        if time.monotonic() - self._looked < min(LIFE_SECONDS, 1.0 + self._worked):
            return
        self._looked = time.monotonic()
        worked = self._used()
        if worked > self._worked + LIFE_CPU:
            self._worked = worked
            self._alive()

    def _used(self) -> float:
        """Returns CPU seconds of the process and all that it started, and notes their memory."""
        import psutil

        seconds, memory = 0.0, 0
        with contextlib.suppress(psutil.Error):
            leader = psutil.Process(self._process.pid)
            self._family |= {one.pid: one for one in leader.children(recursive=True)}
            for process in (leader, *self._family.values()):
                with contextlib.suppress(psutil.Error):
                    times = process.cpu_times()
                    seconds += times.user + times.system
                    memory += process.memory_info().rss
        self.peak = max(self.peak or 0, memory) or None
        return seconds

    def _end(self) -> None:
        """Ends what is left of the process and of what it started."""
        import psutil

        with contextlib.suppress(psutil.Error):
            leader = psutil.Process(self._process.pid)
            self._family |= {one.pid: one for one in leader.children(recursive=True)}
        self._process.kill()
        self._process.wait()
        own = {RECORD: str(self.file), "SCALELAB_TRIAL": self.job.trial.id}
        for process in psutil.process_iter():  # daemons among them, which have no parent any more
            with contextlib.suppress(psutil.Error, OSError):
                if own.items() <= process.environ().items():
                    process.kill()
        for process in self._family.values():
            with contextlib.suppress(psutil.Error):
                process.kill()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
