"""Files that are files: a pipe would be waited for without end, and a device may have no end."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from scalelab.errors import InputError

LARGEST = 2**31
"""Bytes that are read at once; no file that is read so comes near."""


class NotRegularError(OSError):
    """What has the name of a file is none that can be read; `strerror` says what it is."""


def expanded(path: Path | str) -> Path:
    """Returns a path whose `~` or `~user` is that home folder.

    Raises:
        InputError: There is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        home = Path(path).parts[0]
        raise InputError(f"{path}: no home folder is known for {home}; write the folder out") from error


def open_regular(path: Path | str) -> BufferedReader:
    """Opens a regular file for reading, and never waits for anything else.

    Args:
        path: Its path; a link to a regular file is one.

    Raises:
        NotRegularError: It is a pipe, a socket, a device, a folder, or a link to nowhere.
        OSError: It cannot be opened.
    """
    return open(_handle(path), "rb")


def _handle(path: Path | str) -> int:
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        if os.path.islink(path):
            raise NotRegularError(errno.EINVAL, "it is a link to nowhere", str(path)) from error
        raise
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ELOOP):  # a socket; links in a circle
            raise NotRegularError(errno.EINVAL, "it is not a regular file", str(path)) from error
        raise
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        what = "a folder" if stat.S_ISDIR(kind) else "a pipe" if stat.S_ISFIFO(kind) else "a device"
        raise NotRegularError(errno.EINVAL, f"it is {what}, not a file", str(path))
    return handle


def read_regular(path: Path | str, limit: int = LARGEST) -> bytes:
    """Reads a regular file.

    Args:
        path: Its path.
        limit: Bytes that it may have at most.

    Raises:
        NotRegularError: It is none, see `open_regular`, or is larger than the limit.
        OSError: It cannot be read.
    """
    handle = _handle(path)
    try:
        size = os.fstat(handle).st_size
        if size > limit:
            raise NotRegularError(errno.EFBIG, f"it has {size:,} bytes, more than {limit:,}", str(path))
        parts = []
        while part := os.read(handle, size + 1):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)
