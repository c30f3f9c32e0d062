"""One process a target: a runtime that crashes, hangs or runs out of memory takes nothing else with it."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.bench.jobs import (
    Answer,
    Devices,
    Forget,
    Hello,
    Refused,
    Slice,
    Sliced,
    answer_from_json,
)
from scalelab.supervise.process import kill_process, why_lost

if TYPE_CHECKING:
    from scalelab.plugins import Catalog

GRACE_SECONDS = 5.0


class Lane:
    """A process that measures for one target, started when it is first asked and again after it is lost.

    Invariant: one thread asks, and every question has one answer before the next one is asked.

    Args:
        threads: CPU threads of its libraries.
        log: File that gets what the runtime prints.
    """

    def __init__(self, threads: int, log: Path | None = None) -> None:
        self._threads = threads
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._heard: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()

    def devices(self, backend: str, target: str | None, catalog: Catalog, patience: float) -> Devices:
        """Returns the devices of a backend, and whether a target can be used; a lost process says why not."""
        question = Hello(
            backend=backend,
            target=target,
            plugins_dirs=tuple(str(folder) for folder in catalog.plugins_dirs),
            select=catalog.select,
        )
        answer = self._ask(question, patience)
        if isinstance(answer, Devices):
            return answer
        assert isinstance(answer, Refused)
        return Devices(rows=(), unusable=f"listing its devices failed: {answer.reason}")

    def slice(self, question: Slice, patience: float) -> Sliced | Refused:
        """Returns timed calls, or what became of the benchmark.

        Args:
            question: What to time.
            patience: Seconds that loading, comparing and timing may take together.
        """
        answer = self._ask(question, patience)
        assert isinstance(answer, (Sliced, Refused))
        return answer

    def forget(self, patience: float) -> None:
        """Drops every loaded model."""
        if self._process is not None:
            self._ask(Forget(), patience)

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                kill_process(process)

    def _ask(self, question: Hello | Slice | Forget, patience: float) -> Answer:
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(question.model_dump_json() + "\n")
            process.stdin.flush()
            answer = self._heard.get(timeout=patience)
        except queue.Empty:
            self._lose(process)
            return Refused(status="timeout", reason=f"no answer for {patience:.0f} s; its process was ended")
        except (BrokenPipeError, ValueError):
            answer = None
        if answer is None:
            self._lose(process)
            return Refused(status="failed", reason=f"{why_lost(process)}{self._last_words()}")
        return answer

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._heard = queue.SimpleQueue()
            self._process = self._spawn()
            threading.Thread(target=_read, args=(self._process, self._heard), daemon=True).start()
        return self._process

    def _spawn(self) -> subprocess.Popen[str]:
        threads = str(self._threads)
        # Before a runtime reads them; most take the number of threads as an option as well.
        env = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
        log = self._log.open("w") if self._log is not None else None
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "scalelab.bench.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log or subprocess.DEVNULL,
                text=True,
                env=env,
                start_new_session=True,
            )
        finally:
            if log is not None:
                log.close()

    def _lose(self, process: subprocess.Popen[str]) -> None:
        kill_process(process)
        self._process = None

    def _last_words(self) -> str:
        """Returns the last line that the process printed, which is often the reason."""
        if self._log is None or not self._log.exists():
            return ""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f": {' '.join(lines[-1].split())[:200]}" if lines else ""


def _read(process: subprocess.Popen[str], heard: queue.SimpleQueue[Answer | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        heard.put(answer_from_json(line))
    process.wait()
    heard.put(None)
