"""Ctrl-C: once to end cleanly, twice to end now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class StopSignal:
    """Counts requests to stop; as a context manager it takes over SIGINT and SIGTERM for its duration.

    `level` is 0 while nobody asked, 1 after the first request (running trials write a checkpoint and end),
    2 after the second (workers are killed; the last checkpoints stay). While `graceful` is false, before
    the first trial, there is nothing to end cleanly: a signal raises `KeyboardInterrupt` at once. Outside the
    main thread no signal can be taken over; `request` works everywhere.

    Args:
        on_request: Called with the new level, from the signal handler: keep it short.
    """

    def __init__(self, on_request: Callable[[int], None] | None = None) -> None:
        self.level = 0
        self.graceful = False
        self._on_request = on_request
        self._before: dict[int, Any] = {}

    def request(self) -> None:
        """Asks once more."""
        self.level = min(2, self.level + 1)
        if self._on_request:
            self._on_request(self.level)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if not self.graceful:
            raise KeyboardInterrupt
        self.request()

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
