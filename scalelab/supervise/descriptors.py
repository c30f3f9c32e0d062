"""Pipes that two processes have to themselves.

A program that either of them starts does not get the ends (close-on-exec), and a child that it forks closes
them at once. So foreign code may fork as it likes: no helper of it reads orders, writes events, or keeps a
pipe open whose end somebody waits for.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Literal
from weakref import WeakSet

PIPE_BYTES = 2**20
"""What one read takes at most: all that a pipe holds (64 KiB, on Linux 1 MiB where somebody asked for it)."""

_PRIVATE: WeakSet[io.FileIO] = WeakSet()


def private(descriptor: int, mode: Literal["rb", "wb"]) -> io.FileIO:
    """Returns one end of a pipe as a file that stays in this process.

    It has no buffer and so no lock, which a thread could hold while another one forks.
    """
    os.set_inheritable(descriptor, False)
    file = io.FileIO(descriptor, mode)
    _PRIVATE.add(file)
    return file


def write_whole(file: io.FileIO, data: bytes) -> None:
    """Writes all of it, where one call of the system may write a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _close_in_child() -> None:
    for file in list(_PRIVATE):
        with contextlib.suppress(OSError):
            file.close()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_close_in_child)
