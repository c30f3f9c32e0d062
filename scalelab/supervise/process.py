"""A supervised process: orders in and events out as JSON lines, and an end that costs nothing else.

It is in a session of its own, so that Ctrl-C reaches the coordinator alone, which decides. Orders and events
have pipes of their own; its standard input is empty, and what it prints is heard apart. So plugins may print,
read standard input, start processes, and fork.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from scalelab.errors import plain_line
from scalelab.records import Frozen
from scalelab.supervise.descriptors import PIPE_BYTES, private, write_whole
from scalelab.supervise.group import Guard, end_group

GRACE_SECONDS = 5.0
LOOK_SECONDS = 0.1
"""How often one looks whether the process lives, whoever holds its pipes open."""
TAIL_BYTES = 4096
_PRINTING = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
"""Whatever the locale, prints are UTF-8, as logs are. File names stay what they are for this process."""

EventT = TypeVar("EventT")


class Supervised(Generic[EventT]):
    """A process that runs a module which calls `scalelab.supervise.workbench.serve`.

    Invariants: one thread gives orders; what comes back is put into `heard` with the process that said it,
    and `None` once when it is gone, after all that it said. Its process group ends with it, whether it is
    closed, killed or dies, or this process does: everything that it started, but for a child that made a
    session of its own (a daemon).

    Args:
        module: What to run.
        parse: Makes an event of a line.
        threads: CPU threads of its libraries.
        output: Gets what it prints, in pieces, from another thread.
        environment: Variables that it has beside those of this process, or instead.
        heard: A queue that several processes share; one of its own by default.
    """

    def __init__(
        self,
        module: str,
        parse: Callable[[str], EventT],
        *,
        threads: int,
        output: Callable[[bytes], object],
        environment: Mapping[str, str] | None = None,
        heard: queue.SimpleQueue[tuple[Supervised[EventT], EventT | None]] | None = None,
    ) -> None:
        self.heard = heard or queue.SimpleQueue()
        self._parse = parse
        self._output = output
        self._torn = self._tail = self._nonsense = b""
        self._turn = threading.Lock()
        orders, self._orders = _pipe("wb")
        events, self._events = _pipe("rb")
        prints, self._prints = _pipe("rb")
        # Before a library reads them; most take the number of threads as an option as well.
        limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        try:
            self._process = subprocess.Popen(
                # -P: a json.py in the working folder is not Python's json. An option and no variable, which a
                # plugin's own scripts would have too, and they may import what lies beside them.
                [sys.executable, "-P", "-m", module, str(orders), str(events)],
                stdin=subprocess.DEVNULL,
                stdout=prints,
                stderr=prints,
                pass_fds=(orders, events),
                env={**os.environ, **limits, **_PRINTING, **(environment or {})},
                start_new_session=True,
            )
        finally:
            for end in (orders, events, prints):
                os.close(end)
        self.pid = self._process.pid
        self._guard = Guard(self.pid)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        """Hears the process until it is dead, then what its pipes still hold."""
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._events, selectors.EVENT_READ, self._hear)
                selector.register(self._prints, selectors.EVENT_READ, self._overhear)
                while self._process.poll() is None and not self._nonsense:
                    for key, _ in selector.select(LOOK_SECONDS):
                        if not key.data():
                            selector.unregister(key.fileobj)
        finally:
            self._process.kill()
            self._process.wait()
            end_group(self.pid)
            self._overhear()
            self._hear()
            self._guard.dismiss()
            with self._turn:
                self._prints.close()
            self._events.close()
            self.heard.put((self, None))

    def _hear(self) -> bool:
        """Takes the events that are there; returns whether there may be more."""
        said = self._events.read(PIPE_BYTES)
        *lines, self._torn = (self._torn + (said or b"")).split(b"\n")
        for line in lines:
            try:
                event = self._parse(line.decode())
            except ValueError:
                self._nonsense = line
                break
            self.heard.put((self, event))
        return said != b""

    def _overhear(self) -> bool:
        """Takes what was printed; returns whether there may be more."""
        with self._turn:
            return self._passed_on() != b""

    def _passed_on(self) -> bytes | None:
        printed = self._prints.read(PIPE_BYTES)
        if printed:
            self._tail = (self._tail + printed)[-TAIL_BYTES:]
            self._output(printed)
        return printed

    def redirect(self, output: Callable[[bytes], object]) -> None:
        """Says who gets what is printed from now on; what was printed until now goes where it went."""
        with self._turn:
            if not self._prints.closed:
                self._passed_on()
            self._output, self._tail = output, b""

    def send(self, order: Frozen | str) -> None:
        """Gives an order; that a process has ended is reported by its events, not found out here."""
        line = order if isinstance(order, str) else order.model_dump_json()
        with contextlib.suppress(BrokenPipeError, ValueError):
            write_whole(self._orders, line.encode() + b"\n")

    def kill(self) -> None:
        """Ends it now, with everything that it started, and waits until it is gone."""
        self._process.kill()
        self._listener.join()
        self._orders.close()

    def close(self) -> None:
        """Ends its orders, on which it ends, and kills it if it does not."""
        self._orders.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        self.kill()

    def why_lost(self) -> str:
        """Returns how a process ended, with the last line that it printed."""
        if self._nonsense:
            said = plain_line(self._nonsense.decode(errors="backslashreplace"), 100)
            return f"its worker was killed, because something in it wrote into the pipe of its events: {said}"
        code = self._process.returncode
        if code == -signal.SIGKILL:
            return "its worker was killed by SIGKILL (the kernel does this when memory runs out)"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        words = last_words(self._tail)
        return f"its worker {how}" + (f": {words}" if words else "")


def last_words(printed: bytes, without: tuple[str, ...] = ()) -> str:
    """Returns the last line that a process printed and that says something, made printable.

    Args:
        printed: The end of what it printed.
        without: How lines begin that are not its own.
    """
    text = printed.decode(errors="replace")
    lines = ("".join(c if c.isprintable() else " " for c in line) for line in text.splitlines())
    words = [" ".join(line.split()) for line in lines]
    return next((line for line in reversed(words) if line and not line.startswith(without)), "")[:200]


def _pipe(ours: str) -> tuple[int, io.FileIO]:
    """Returns the other's end of a new pipe and this process's, from which it reads without waiting."""
    reads, writes = os.pipe()
    if ours == "wb":
        return reads, private(writes, "wb")
    os.set_blocking(reads, False)
    return writes, private(reads, "rb")
