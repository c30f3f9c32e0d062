"""What a process prints, in a file of limited size."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from scalelab.permissions import make_folder, share
from scalelab.supervise.descriptors import write_whole

LOG_BYTES = 10_000_000
END_BYTES = 16_000
"""What is kept of the end of a text that does not fit: there the traceback stands."""


class Log:
    """A file that takes what is printed, up to a limit; there is none before something is.

    Invariant: nothing raises and nothing waits. What does not fit is dropped, but for its end, which `close`
    writes; a disk that is full drops it too.

    Args:
        path: The file; what it has stays.
        limit: Its size in bytes beyond which it takes no more.
    """

    def __init__(self, path: Path, limit: int = LOG_BYTES) -> None:
        self.path = path
        self._limit = limit
        self._file: io.FileIO | None = None
        self._room = 0
        self._dropped = 0
        self._end = b""

    def write(self, printed: bytes) -> None:
        """Adds what was printed."""
        with contextlib.suppress(OSError):
            if self._file is None:
                make_folder(self.path.parent)
                self._file = io.FileIO(self.path, "ab")
                share(self.path)
                self._room = self._limit - self._file.tell()
            fits, rest = printed[: max(0, self._room)], printed[max(0, self._room) :]
            self._room -= len(fits)
            write_whole(self._file, fits)
            if rest and not self._dropped:
                said = f"\n[scalelab: this log is full ({self._limit:,} bytes); the rest was dropped]\n"
                write_whole(self._file, said.encode())
            self._dropped += len(rest)
            self._end = (self._end + rest)[-END_BYTES:]

    def close(self) -> None:
        """Closes the file, after the end of what did not fit; more may be written later."""
        if self._file is None:
            return
        with contextlib.suppress(OSError), self._file:
            if self._dropped:
                said = f"[scalelab: {self._dropped:,} bytes were dropped; these are the last]\n"
                write_whole(self._file, said.encode() + self._end)
        self._file, self._dropped, self._end = None, 0, b""
