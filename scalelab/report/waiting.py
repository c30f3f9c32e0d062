"""What an analysis looks like while it goes on: a bar on a terminal, a line now and then elsewhere.

Nothing is shown of one that is over in two seconds. Everything goes to standard error.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

PATIENCE = 2.0
"""Seconds after which somebody who waits wants to know for what."""
BETWEEN_LINES = 10.0
"""Seconds between lines where there is no bar."""


class PlainWaiting:
    """A line now and then, for logs and pipes; a context manager that is called with each step.

    Args:
        stream: Where the lines go.
        clock: Tells seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._next = clock() + PATIENCE

    def __call__(self, what: str, done: int, total: int) -> None:
        """Says what is being made and how many of its pieces are done, if it is time for a line."""
        now = self._clock()
        if now >= self._next and done < total:
            self._next = now + BETWEEN_LINES
            print(time.strftime("%H:%M:%S"), f"{what}: {done} of {total}", file=self._stream, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class LiveWaiting:
    """A bar, from the first step after two seconds on; a context manager that is called with each step.

    Args:
        console: A rich console on standard error.
        clock: Tells seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None)
        self._what = ""
        self._clock, self._begin = clock, clock()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Moves the bar; what is new begins a bar of its own in the same place."""
        if what != self._what:
            self._what = what
            self._progress.reset(self._task, total=total, description=what)
        self._progress.update(self._task, completed=done)
        if self._clock() - self._begin >= PATIENCE:
            self._progress.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
