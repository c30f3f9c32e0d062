"""How long work that counts its steps is shown: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from scalelab.report.numbers import short

SECONDS_BETWEEN_LINES = 10.0

Progress = Callable[[int, int, str], None]


@contextmanager
def work_display(stream: TextIO, unit: str = "") -> Iterator[Progress]:
    """Gives `progress(done, total, what)` to whoever works; safe to call from several threads.

    Args:
        stream: Where to show it, standard error as a rule.
        unit: `"B"` where bytes are counted.
    """
    if not stream.isatty():
        yield _Lines(stream, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[count]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=stream), transient=True) as bars:
        tasks = {}

        def show(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=None, count="")
            bars.update(tasks[what], completed=done, total=total or None, count=_count(done, total, unit))

        yield show


class _Lines:
    """A line when something begins, every ten seconds, and when it is done."""

    def __init__(self, stream: TextIO, unit: str) -> None:
        self._stream, self._unit = stream, unit
        self._what = ""
        self._next = 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if what != self._what or now >= self._next or done == total:
            self._what, self._next = what, now + SECONDS_BETWEEN_LINES
            clock = time.strftime("%H:%M:%S")
            print(clock, what, _count(done, total, self._unit), file=self._stream, flush=True)


def _count(done: int, total: int, unit: str) -> str:
    if unit:
        return f"{short(done, unit)} of {short(total, unit)}" if total else short(done, unit)
    return f"{done:,} of {total:,}" if total else f"{done:,}"
