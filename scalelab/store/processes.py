"""Who a process is, so that it is not mistaken for a later one of the same id.

A process id is used again after a while; together with the time at which the process started, counted from
the boot of the machine, it is not. Counting from the boot keeps the answer right when the clock is set.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path


@cache
def this_place() -> str:
    """Returns the name of the place whose process ids we can see: the host, and the container if any."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}/{namespace}"


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def started(pid: int) -> str | None:
    """Returns what tells a process from others of its id, or `None` where none of that id is alive."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{_boot()}:{process.create_time() - psutil.boot_time():.2f}"
    except psutil.Error:
        return None


def is_alive(pid: int | None, start: str | None) -> bool:
    """Whether the process that had this id and this start is still there."""
    return pid is not None and start is not None and started(pid) == start
