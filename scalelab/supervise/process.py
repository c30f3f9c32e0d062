"""A supervised process: orders in and events out as JSON lines, and an end that costs nothing else.

It is in a session of its own, so that Ctrl-C reaches the coordinator alone, which decides. It ends when its
standard input does (and on Linux with its parent), so that a coordinator that is killed leaves no orphan.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from scalelab.records import Frozen

GRACE_SECONDS = 5.0

EventT = TypeVar("EventT")


class Supervised(Generic[EventT]):
    """A process that runs a module which calls `scalelab.supervise.workbench.serve`.

    Invariants: one thread gives orders; what comes back is put into `heard` with the process that said it,
    and `None` once when it is gone. Whatever it started is killed with it.

    Args:
        module: What to run.
        parse: Makes an event of a line.
        threads: CPU threads of its libraries.
        tell: Gets each line of its standard error.
        heard: A queue that several processes share; one of its own by default.
    """

    def __init__(
        self,
        module: str,
        parse: Callable[[str], EventT],
        *,
        threads: int,
        tell: Callable[[str], object],
        heard: queue.SimpleQueue[tuple[Supervised[EventT], EventT | None]] | None = None,
    ) -> None:
        self.heard = heard or queue.SimpleQueue()
        self._parse = parse
        self._tell = tell
        self._last_words = ""
        # Before a library reads them; most take the number of threads as an option as well.
        limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **limits, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._errors = threading.Thread(target=self._overhear, daemon=True)
        self._errors.start()
        threading.Thread(target=self._hear, daemon=True).start()

    def _overhear(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._last_words = " ".join(line.split())[:200] or self._last_words
            self._tell(line)

    def _hear(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.heard.put((self, self._parse(line)))
        self.kill()
        self.heard.put((self, None))

    def send(self, order: Frozen | str) -> None:
        """Gives an order; that a process has ended is reported by its events, not found out here."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write((order if isinstance(order, str) else order.model_dump_json()) + "\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        """Ends it now, with everything that it started, and waits until it is gone."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._errors.join(1.0)

    def close(self) -> None:
        """Closes its standard input, on which it ends, and kills it if it does not."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        self.kill()

    def why_lost(self) -> str:
        """Returns how a process ended, with the last line that it printed."""
        code = self._process.returncode
        if code == -signal.SIGKILL:
            return "its worker was killed by SIGKILL (the kernel does this when memory runs out)"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"its worker {how}" + (f": {self._last_words}" if self._last_words else "")
