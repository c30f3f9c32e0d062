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
from pathlib import Path

from scalelab.errors import StoreError, StoreLockedError
from scalelab.permissions import make_folder, share

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Turns an `OSError` into a `StoreError` that says what could not be written, why, and what to do.

    Raises:
        StoreError: The block raised an `OSError`.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "free some space and run again; what was acknowledged is kept"
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


@contextmanager
def locked(file: Path, wait: float, refusal: str) -> Iterator[None]:
    """Holds a lock file, whose folder is made; may not be nested.

    Args:
        file: The lock file.
        wait: Seconds to wait for another process that holds it.
        refusal: What is wrong where it is held for longer.

    Raises:
        StoreLockedError: Another process holds it for too long.
        StoreError: The folder cannot be written.
    """
    from filelock import FileLock, Timeout

    with writing(file.parent):
        make_folder(file.parent)
        lock = FileLock(file, timeout=wait, poll_interval=0.01)
        try:
            lock.acquire()
        except Timeout as error:
            raise StoreLockedError(refusal) from error
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


def put_new(target: Path, content: bytes, scratch: Path, *, durable: bool = True) -> bool:
    """Writes a file whole, unless one of that name is there.

    Args:
        target: The file to make; its folder must exist.
        content: What goes in.
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
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        share(part)
        if not _link_new(part, target):
            return False
        if durable:
            sync_folder(target.parent)
        return True
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
        if not _link_new(part, target):
            return False
        sync_folder(target.parent)
        return True
    finally:
        part.unlink(missing_ok=True)


def _link_new(part: Path, target: Path) -> bool:
    """Gives a finished file its name; a hard link fails where the name is taken, a rename would not."""
    try:
        os.link(part, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        from filelock import FileLock

        lock = part.parent / "names.lock"
        with FileLock(lock):
            share(lock)
            if target.exists():
                return False
            part.rename(target)
    return True


def set_aside(path: Path, quarantine: Path) -> Path:
    """Moves a file into a quarantine folder under a name that is free there, and returns that name."""
    make_folder(quarantine)
    target = quarantine / path.name
    while target.exists():
        target = quarantine / f"{path.name}.{time.time_ns()}"
    path.rename(target)
    return target
