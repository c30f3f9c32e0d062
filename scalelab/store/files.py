"""Files that appear whole or not at all, and never take another one's place.

Trade-off: a file costs two fsyncs (its own and its folder's) before it counts as written; a record costs
minutes to hours of training, so that is cheap.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.errors import StoreError, StoreLockedError, is_disk_full
from scalelab.permissions import make_folder, share
from scalelab.store.locks import check_locks, holder_of

NAMES_SECONDS = 30.0
if TYPE_CHECKING:
    from filelock import BaseFileLock

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def disk_full(what: str) -> str:
    """Returns the one message for all that a full disk, or a quota, keeps from being written."""
    return (
        f"{what} cannot be written: disk full; free some space and run again; what was acknowledged is kept"
    )


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Turns an `OSError` into a `StoreError` that says what could not be written, why, and what to do.

    Raises:
        StoreError: The block raised an `OSError`.
    """
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise StoreError(disk_full(str(what))) from error
        if error.errno == errno.EFBIG:
            hint = "raise the limit on files (ulimit -f) and run again; what was acknowledged is kept"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = "make it writable, or choose another store with --store"
        else:
            hint = "fix that and run again; what was acknowledged is kept"
        raise StoreError(f"{what} cannot be written: {error.strerror or error}; {hint}") from error


@contextmanager
def reading(what: Path) -> Iterator[None]:
    """Turns an `OSError` into a `StoreError` that says what could not be read and why.

    Raises:
        StoreError: The block raised an `OSError`, a missing file excepted, which passes through.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"{what} cannot be read: {error.strerror or error}; make it readable") from error


@lru_cache(maxsize=64)
def _lock(file: str) -> BaseFileLock:
    """Returns the lock of a file; making one takes longer than taking it."""
    from filelock import FileLock

    return FileLock(file)


@contextmanager
def locked(file: Path, wait: float, refusal: str) -> Iterator[None]:
    """Holds a lock file, whose folder is made; may not be nested.

    Args:
        file: The lock file.
        wait: Seconds to wait for another process that holds it.
        refusal: What is wrong where it is held for longer.

    Raises:
        StoreLockedError: Another process holds it for too long; it is named where it can be known.
        StoreError: The folder cannot be written, or its file system has no locks that can be relied on.
    """
    from filelock import FileLock, Timeout

    with writing(file.parent):
        make_folder(file.parent)
        check_locks(file.parent)
        lock = _lock(str(file))
        if lock.is_locked:  # by this thread, which would be let in: another of its own waits like anybody's
            lock = FileLock(file)
        try:
            lock.acquire(timeout=wait, poll_interval=0.01)
        except Timeout as error:
            raise StoreLockedError(refusal + holder_of(file)) from error
        share(file)
    try:
        yield
    finally:
        lock.release()


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power cut, where the platform can do that."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_new(target: Path, content: bytes | Path, scratch: Path, *, durable: bool = True) -> bool:
    """Writes a file whole, unless one of that name is there.

    Args:
        target: The file to make; its folder must exist.
        content: What goes in, or a file that holds it.
        scratch: A folder on the same file system for the unfinished file.
        durable: Whether to wait until the disk has it.

    Returns:
        Whether it was written; `False` where the name was taken already.

    Raises:
        OSError: It cannot be written; nothing is left behind.
    """
    part = scratch / f"{target.name}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        with part.open("xb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                with content.open("rb") as source:
                    shutil.copyfileobj(source, file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        share(part)
        if not move_new(part, target, part.parent):
            return False
        if durable:
            sync_folder(target.parent)
        return True
    finally:
        part.unlink(missing_ok=True)


def replace_whole(target: Path, content: bytes | str, scratch: Path | None = None) -> None:
    """Writes a small file in the place of the one of its name: whoever reads it finds the one or the other.

    It does not wait for the disk: for what can be found out again. Until it is whole its name begins with a
    dot.

    Args:
        target: The file.
        content: What goes in.
        scratch: A folder on the same file system for the unfinished file, made where it is missing; by
            default the target's.

    Raises:
        OSError: It cannot be written; nothing is left behind.
    """
    if scratch is not None:
        make_folder(scratch)
    content = content.encode() if isinstance(content, str) else content
    part = (scratch or target.parent) / f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        part.write_bytes(content)
        share(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def copy_new(source: Path, target: Path) -> bool:
    """Copies a file whole, unless one of that name is there; the target's folder is made.

    Returns:
        Whether it was copied; `False` where the name was taken already.

    Raises:
        OSError: It cannot be read or written; nothing is left behind.
    """
    if target.exists():
        return False
    make_folder(target.parent)
    part = target.with_name(f"{target.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with source.open("rb") as old, part.open("xb") as new:
            shutil.copyfileobj(old, new)
            new.flush()
            os.fsync(new.fileno())
        share(part)
        if not move_new(part, target, part.parent):
            return False
        sync_folder(target.parent)
        return True
    finally:
        part.unlink(missing_ok=True)


def move_new(path: Path, target: Path, scratch: Path) -> bool:
    """Moves a file to a name that nobody has; returns `False`, and moves nothing, where it is taken.

    A hard link fails where the name is taken, a rename would not. Over NFS too: the server itself refuses the
    second of two links, whatever a client has cached.

    Args:
        path: The file, on the same file system.
        target: Its new name.
        scratch: Where the lock is on a file system without hard links.

    Raises:
        OSError: It cannot be moved, such as a file that is no longer there.
    """
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # A folder, or a file system without hard links.
        scratch.mkdir(parents=True, exist_ok=True)
        refusal = f"names in {target.parent} could not be given for {NAMES_SECONDS:g} s"
        with locked(scratch / "names.lock", NAMES_SECONDS, refusal):
            if is_there(target):
                return False
            path.rename(target)
    else:
        path.unlink()
    return True


def is_there(path: Path) -> bool:
    """Whether something of a name exists, also where an NFS client remembers that it did not.

    A client keeps negative lookups for as long as it holds a folder's cached time of change, half a minute
    by default. Opening a folder is what makes it ask the server for that time, and drop its lookups where it
    changed: nfs(5), "Close-to-open cache consistency" and "Directory entry caching".
    """
    if os.path.lexists(path):
        return True
    if not _opened_anew(path.parent):
        return False
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _opened_anew(folder: Path) -> bool:
    """Opens a folder, and the one that it is in where it seems to be missing; whether it is there."""
    for _ in range(2):
        try:
            os.scandir(folder).close()
            return True
        except NotADirectoryError:
            return False
        except FileNotFoundError:
            if folder == folder.parent or not _opened_anew(folder.parent):
                return False
    return False


def set_aside(path: Path, quarantine: Path) -> Path:
    """Moves whatever is there into a quarantine folder under a name that is free there; returns that name."""
    make_folder(quarantine)
    target = quarantine / path.name
    while not move_new(path, target, quarantine.parent / "tmp"):
        target = quarantine / f"{path.name}.{time.time_ns()}"
    return target
