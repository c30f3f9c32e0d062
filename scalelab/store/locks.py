"""Whether a file system keeps its promise of locks, and who holds one.

Everything that keeps two processes apart rests on `flock`. Some file systems refuse it (NFS without a lock
service, Lustre mounted without `flock`), and some grant it to everybody (`localflock`, `nolock`, several FUSE
file systems). Both are said at once: waiting would end in a wrong reason, and going on in a damaged store.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from scalelab.errors import StoreError

_REFUSED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
_ADVICE = "put the store on a local disk, or on one with locks, such as NFSv4 or Lustre mounted with flock"
_TRY = (
    "import fcntl, sys\n"
    "try:\n    fcntl.flock(open(sys.argv[1], 'rb+'), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
    "except OSError:\n    sys.exit(0)\nsys.exit(9)"
)
_GRANTED = 9
_found_good: set[str] = set()


def check_locks(folder: Path) -> None:
    """Makes sure, once for each folder and process, that locks of files in it exclude others.

    Args:
        folder: It must exist.

    Raises:
        StoreError: Its file system refuses locks, or grants one lock to two holders.
        OSError: The folder cannot be written.
    """
    if str(folder) in _found_good or sys.platform == "win32":
        return
    import fcntl

    first, name = tempfile.mkstemp(prefix=".locks-", dir=folder)
    second = os.open(name, os.O_RDWR)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Two open files of one process exclude each other like two processes (flock(2)).
        if _granted(second) and _granted_to_a_child(name):
            raise StoreError(
                f"{folder} is on a file system that fakes locks (two processes got the same one): {_ADVICE}"
            )
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        raise StoreError(
            f"{folder} is on a file system that refuses to lock files ({error.strerror}): {_ADVICE}"
        ) from error
    finally:
        os.close(first)
        os.close(second)
        os.unlink(name)
    _found_good.add(str(folder))


def _granted(handle: int) -> bool:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _granted_to_a_child(name: str) -> bool:
    """Asks once more before a file system is called false: another process tries the lock that is held."""
    child = subprocess.run([sys.executable, "-I", "-c", _TRY, name], stdin=subprocess.DEVNULL, check=False)
    return child.returncode == _GRANTED


def holder_of(file: Path) -> str:
    """Returns who holds a lock file, as the end of a message; empty where that cannot be known.

    The kernel lists the locks of this machine's processes in `/proc/locks`, see proc_locks(5).
    """
    with contextlib.suppress(OSError, ValueError):
        inode = os.stat(file).st_ino
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            # 1: FLOCK  ADVISORY  WRITE 1234 08:01:56789 0 EOF; a line with "->" is one that waits.
            words = line.split()
            if words[1] != "FLOCK" or int(words[5].rpartition(":")[2]) != inode:
                continue
            if (pid := int(words[4])) > 0 and _has_open(pid, file):
                return f"; it is held by {_described(pid)}"
    return ""


def _has_open(pid: int, file: Path) -> bool:
    """Whether a process has a file open: inodes of two file systems may be of one number."""
    path = os.path.realpath(file)
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(handle) == path:
                return True
    return False


def _described(pid: int) -> str:
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        stopped = process.status() == psutil.STATUS_STOPPED
        state = f", which is stopped (kill -CONT {pid} lets it go on)" if stopped else ""
        return f"process {pid} ({process.name()}){state}"
    return f"process {pid}"
