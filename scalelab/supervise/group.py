"""The end of a process group: of a process that leads it, and of everything that it started.

A child that made a session of its own (a daemon) has left the group and lives on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

from scalelab.supervise.descriptors import private

ASK_SECONDS = 1.0
"""How long children may take to end when asked."""

_GUARD = (  # of POSIX; signals that a cluster sends to all processes of a job are not for it
    'trap "" TERM INT USR1 USR2; '
    'read -r _; kill -s KILL "$0"; kill -s TERM -- "-$0"; sleep {ask}; kill -s KILL -- "-$0"'
)


def end_group(group: int) -> None:
    """Ends what is left of a group whose leader is gone.

    Its members are asked before they are killed: the resource tracker of `multiprocessing` does not heed
    that, outlives the others and frees their shared memory.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)
        deadline = time.monotonic() + ASK_SECONDS
        while _lives(group) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(group, signal.SIGKILL)


def _lives(group: int) -> bool:
    """Whether any of a group lives, and is no zombie, which in a container may be there for long."""
    import psutil

    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return True
    return False


class Guard:
    """A process outside a group that ends the group when this process dies, however it dies.

    What this process dies of (SIGKILL, say) may leave it no moment to do that itself, and Linux's
    parent-death signal reaches the leader of the group alone.

    Args:
        group: The group, by the process that leads it.
    """

    def __init__(self, group: int) -> None:
        waits, ours = os.pipe()
        self._lifeline = private(ours, "wb")
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD.format(ask=ASK_SECONDS), str(group)],
                stdin=waits,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(waits)

    def dismiss(self) -> None:
        """Ends the guard, whose group has ended."""
        self._process.kill()
        self._process.wait()
        self._lifeline.close()
