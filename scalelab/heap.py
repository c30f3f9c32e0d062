"""The C library's heap, of which long computations free and take the same pages again and again."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's mallopt(3)."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Makes glibc keep memory that is freed inside for what is allocated next, and give it back at the end.

    A training step and a batch of fits free what they allocate, and by default glibc may return much of that
    to the system, which clears every page again at the next one: up to 23,000 a step of training, a fifth of
    the time of an analysis of families of a thousand runs. With another C library nothing happens.
    """
    libc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if libc is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)  # the most that it takes
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        if libc is not None:
            libc.mallopt(_M_TRIM_THRESHOLD, 64 * 2**20)  # what glibc's own adaptation ends at
            libc.malloc_trim(0)
