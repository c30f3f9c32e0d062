"""One process per target: a runtime that crashes, hangs or runs out of memory takes nothing else with it."""

from __future__ import annotations

import queue
from pathlib import Path

from scalelab.bench.jobs import Answer, BenchJob, Devices, Hello, Refused, Sliced, answer_from_json
from scalelab.plugins import Catalog
from scalelab.supervise.log import Log
from scalelab.supervise.process import Supervised
from scalelab.supervise.workbench import Selection


class Lane:
    """A process that measures for one target, started when it is asked and none is there.

    Invariant: one thread asks, and every question has one answer before the next one is asked.

    Args:
        threads: CPU threads of its libraries.
        log: File that gets what the runtime prints, if anybody is to read it.
    """

    def __init__(self, threads: int, log: Path | None = None) -> None:
        self._threads = threads
        self._log = Log(log) if log else None
        self._process: Supervised[Answer] | None = None

    def devices(self, backend: str, catalog: Catalog, patience: float) -> Devices | Refused:
        """Returns the devices of a backend, or why they cannot be listed."""
        answer = self._ask(Hello(backend=backend, plugins=Selection.of(catalog)), patience)
        if isinstance(answer, Refused):
            return answer.model_copy(update={"reason": f"listing its devices failed: {answer.reason}"})
        assert isinstance(answer, Devices)
        return answer

    def slice(self, job: BenchJob, patience: float) -> Sliced | Refused:
        """Returns timed calls, or the outcome of the benchmark.

        What fails in a runtime may leave it in a state that breaks the next model, so its process ends then.
        Models that were loaded in it are loaded again when they are next asked for.

        Args:
            job: What to time.
            patience: Seconds that loading, comparing and timing may take together.
        """
        answer = self._ask(job, patience)
        assert isinstance(answer, (Sliced, Refused))
        if isinstance(answer, Refused) and answer.status == "failed":
            self.close()
        return answer

    def close(self) -> None:
        """Ends the process, with every model that is loaded in it."""
        if self._process is not None:
            self._process.close()
            self._process = None
        if self._log is not None:
            self._log.close()

    def _ask(self, question: Hello | BenchJob, patience: float) -> Answer:
        process = self._process = self._process or Supervised(
            "scalelab.bench.worker", answer_from_json, threads=self._threads, output=self._note
        )
        process.send(question)
        try:
            _, answer = process.heard.get(timeout=patience)
        except queue.Empty:
            process.kill()
            self._process = None
            return Refused(status="timeout", reason=f"no answer for {patience:.0f} s; its process was killed")
        if answer is None:
            self._process = None
            return Refused(status="failed", reason=process.why_lost())
        return answer

    def _note(self, printed: bytes) -> None:
        if self._log is not None:
            self._log.write(printed)
