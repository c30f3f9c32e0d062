"""Pieces of an analysis that do not need each other: one after the other or on all cores; how far they are.

Each piece has its own seed, so that its result does not depend on where it is made, nor on how many cores
there are.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from scalelab.heap import kept_memory

T = TypeVar("T")

Progress = Callable[[str, int, int], None]
"""Is told what is being made, how many pieces of it are done, and how many there are."""

MANY = 12
"""From so many pieces on, what starting processes takes (a second or two of each core) is worth it."""


def each(
    function: Callable[[Any], T],
    pieces: Sequence[Any],
    what: str,
    progress: Progress | None = None,
    *,
    heavy: bool = False,
) -> tuple[T, ...]:
    """Returns what a function makes of each piece, in their order; of `MANY` or more on all cores.

    Args:
        function: A function at the top of a module, or a `functools.partial` of one.
        pieces: What it is called with, one at a time.
        what: What is being made, for the progress.
        progress: Is told before the first piece and after each.
        heavy: Whether two pieces are already worth all cores.
    """
    found: list[T] = []
    if progress:
        progress(what, 0, len(pieces))
    for result in _made(function, pieces, 2 if heavy else MANY):
        found.append(result)
        if progress:
            progress(what, len(found), len(pieces))
    return tuple(found)


def _made(function: Callable[[Any], T], pieces: Sequence[Any], many: int) -> Iterable[T]:
    if len(pieces) < many:
        return map(function, pieces)
    from joblib import Parallel, cpu_count, delayed

    if cpu_count() == 1:
        return map(function, pieces)
    # A few pieces at a time, so that the last ones do not wait in one process while others idle.
    with _deaf_to_interrupts():
        spread: Iterable[T] = Parallel(n_jobs=cpu_count(), return_as="generator", batch_size=1)(
            delayed(_kept)(function, piece) for piece in pieces
        )
    return spread


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Starts processes that Ctrl-C does not reach: this one hears it, ends them, and they print nothing.

    A mask of signals is inherited, also by the thread that starts processes later; what came meanwhile
    reaches this process afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kept(function: Callable[[Any], T], piece: Any) -> T:
    with kept_memory():
        return function(piece)
