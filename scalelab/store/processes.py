"""Who a process is, so that it is not mistaken for a later one of the same id, or for one elsewhere.

A process id is used again after a while; together with the time at which the process started, counted from
the boot of the machine, it is not. Counting from the boot keeps the answer right when the clock is set.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

_ZOMBIE = "Z", "X"


@cache
def this_place() -> str:
    """Returns the name of the place whose process ids we can see: host, boot of the machine, container.

    Hosts may share a name (clones, `localhost`), containers of a host share its boot, and a host may get
    another name while it runs: see `is_here`.
    """
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}/{_boot()}/{namespace}"


def is_here(place: str, start: str | None) -> bool:
    """Whether the process ids of a place are those that this process sees.

    Args:
        place: What `this_place` said there. Names of an earlier form have no boot.
        start: What `started` said of a process there, which begins with the boot; `None` where it is unknown.
    """
    here, place = _parts(this_place()), _with_boot(place, start)
    name, boot, namespace = _parts(place)
    if boot and here[1]:
        return (boot, namespace) == here[1:]
    return (name, namespace) == (here[0], here[2])


def was_here(place: str, start: str | None) -> float | None:
    """Returns how many seconds ago this machine booted, if a place may be this one before that.

    That is one of the same host name and container. `None` where it cannot be, or nothing is known of boots.
    """
    (name, boot, namespace), here = _parts(_with_boot(place, start)), _parts(this_place())
    alike = (name, namespace) == (here[0], here[2])
    return _uptime() if alike and boot and here[1] and boot != here[1] else None


def _with_boot(place: str, start: str | None) -> str:
    if place.count("/") > 1:
        return place
    name, _, namespace = place.partition("/")
    return f"{name}/{(start or '').partition(':')[0]}/{namespace}"


def _parts(place: str) -> tuple[str, str, str]:
    name, boot, namespace = place.split("/", 2)
    return name, boot, namespace


@cache
def _boot() -> str:
    """Returns what tells this boot of this machine from every other; empty where the system has no such."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        try:
            return subprocess.run(command, capture_output=True, text=True, encoding="utf-8").stdout.strip()
        except OSError:
            return ""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _uptime() -> float | None:
    """Returns the seconds since the boot, those of a suspended machine counted; `None` where unknown."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return None


def started(pid: int) -> str | None:
    """Returns what tells a process from others of its id, or `None` where none of that id is alive."""
    since_boot = _started_on_linux(pid) if sys.platform == "linux" else _started_elsewhere(pid)
    return None if since_boot is None else f"{_boot()}:{since_boot:.2f}"


@cache
def _own_start(pid: int) -> str | None:
    return started(pid)


def own_start() -> str | None:
    """Returns what tells this process from others of its id."""
    return _own_start(os.getpid())


def _started_on_linux(pid: int) -> float | None:
    """Returns the seconds from the boot to the start of a process, `None` where it has ended.

    It is what the kernel counts, whatever is set: `psutil` adds a time of the boot that goes with the clock,
    and differs between its versions in what it takes off again.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name, in parentheses, may hold blanks and parentheses. The state follows, and the start is 19 later.
    state, *rest = stat.rpartition(b")")[2].split()
    if state.decode() in _ZOMBIE:
        return None
    return int(rest[18]) / os.sysconf("SC_CLK_TCK")


def _started_elsewhere(pid: int) -> float | None:
    """Likewise by `psutil`; the time of the boot goes with the clock there, as that of the start does."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time() - psutil.boot_time()
    except psutil.Error:
        return None


def is_alive(pid: int | None, start: str | None) -> bool | None:
    """Whether the process that had this id and this start is still there.

    `None` where that cannot be told: there is one of the id, but when it started or was to have started is
    unknown.
    """
    if pid is None:
        return False
    since = started(pid)
    if since is not None and start is not None:
        return since == start
    return None if since is not None or _is_hidden(pid) else False


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process, which `/proc` does not show (`hidepid`): another user's."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return False
