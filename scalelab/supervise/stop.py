"""Ctrl-C: once to end cleanly, twice to end now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any


class StopSignal:
    """Counts requests to stop; as a context manager it takes over SIGINT and SIGTERM for its duration.

    `level` is 0 before any request, 1 after the first request (running trials write a checkpoint and end),
    2 after the second (workers are killed; the last checkpoints stay). The coordinator enters it once there
    is something to end cleanly; before, a signal does what it always does. A SIGINT that was inherited as
    ignored (by `nohup scalelab run … &`) is taken over too: who sends one to this process means it. Outside
    the main thread no signal can be taken over; `request` works everywhere.

    Args:
        on_request: Called with the new level, from the signal handler: keep it short.
    """

    def __init__(self, on_request: Callable[[int], None] | None = None) -> None:
        self.level = 0
        self._on_request = on_request
        self._before: dict[int, Any] = {}

    def request(self, *_signal: object) -> None:
        """Asks once more."""
        self.level = min(2, self.level + 1)
        if self._on_request:
            self._on_request(self.level)

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self.request)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
