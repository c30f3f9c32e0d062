"""Work dealt out to processes, for the bundled plugins that go through many records."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import scalelab

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_jobs() -> int:
    """Returns how many processes to start by default: one per usable core, up to 8."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, usable)


def in_processes(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], *, jobs: int, size: int
) -> Iterator[Result]:
    """Yields `work(part)` for consecutive parts of `items`, in their order.

    Args:
        work: A function at the top of a module, so that another process finds it.
        items: What to work on.
        jobs: Processes. With 1, or where there is one part only, everything happens in this one.
        size: Items of a part.

    Raises:
        scalelab.DataError: A process was killed.
    """
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    if jobs == 1 or len(parts) < 2:
        yield from map(work, parts)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # Forking a process that has threads (a progress bar, BLAS) can deadlock; a fresh interpreter cannot.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(parts)), mp_context=context, initializer=_end_with_parent)
    try:
        yield from pool.map(work, parts)
    except BrokenProcessPool as error:
        raise scalelab.DataError(
            "a process was killed, perhaps out of memory; run the same again with jobs = 1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Lets this process end when its parent does: a pool's process waits for work even after a kill."""
    import multiprocessing

    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
