"""Files of a PhysioNet database over HTTP: resumed, checked against `SHA256SUMS.txt`, a few at a time.

wfdb's own downloader neither checks what arrives nor tries again, and writes each file in place; so a file is
written as `NAME.part` here, resumes where it was cut, and gets its name only when its checksum is right.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import scalelab

from .http_transfer import Server, Stopped, Unavailable

SUMS = "SHA256SUMS.txt"
ASK_SIZES = 200
"""Up to so many files, the server is asked for the exact size of each."""
GIVE_UP = 10
"""So many files in a row that the server did not give for want of an answer end a download."""
_BATCH = 500
"""Files that are hashed between two words about it."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the database's list of checksums has it.

    Attributes:
        path: Relative to the database's folder.
        sha256: Its digest, 64 hexadecimal digits.
    """

    path: str
    sha256: str


def listed_files(server: Server) -> list[RemoteFile]:
    """Returns every file in the database's `SHA256SUMS.txt`.

    Raises:
        scalelab.DataError: There is none, or it is not such a list.
    """
    try:
        text = server.text(SUMS)
    except Unavailable as error:
        raise scalelab.DataError(
            f"{server.url(SUMS)}: {error}; is the address that of the database's folder?"
        ) from error
    files = [file for line in text.splitlines() if (file := _listed(line)) is not None]
    if not files:
        raise scalelab.DataError(f"{server.url(SUMS)} is not a list of checksums")
    return files


def _listed(line: str) -> RemoteFile | None:
    """Digest and path stand apart by a space, two, or a space and a star; paths that lead out are dropped."""
    digest, _, path = line.strip().partition(" ")
    path = path.lstrip(" *")
    parts = PurePosixPath(path).parts
    if len(digest) != 64 or not set(digest.lower()) <= set("0123456789abcdef"):
        return None
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        return None
    return RemoteFile(path, digest.lower())


def missing_files(
    files: Sequence[RemoteFile], folder: Path, progress: scalelab.Progress, jobs: int
) -> list[RemoteFile]:
    """Returns the files that are not in a folder whole, by reading and hashing those that are there."""
    there = [file for file in files if (folder / file.path).is_file()]
    whole = set()
    with ThreadPoolExecutor(jobs) as pool:
        for start in range(0, len(there), _BATCH):
            batch = there[start : start + _BATCH]
            digests = pool.map(lambda file: _sha256(folder / file.path), batch)
            whole |= {file.path for file, digest in zip(batch, digests, strict=True) if digest == file.sha256}
            progress(start + len(batch), len(there), "checking existing files")
    return [file for file in files if file.path not in whole]


def size_of(
    server: Server, files: Sequence[RemoteFile], jobs: int, estimate: Callable[[RemoteFile], int] | None
) -> tuple[int | None, bool]:
    """Returns the size of files in bytes, and whether it is exact.

    Args:
        server: Where they are.
        files: Which.
        jobs: How many questions at a time.
        estimate: The size of one, where there are too many to ask for each.
    """
    if len(files) <= ASK_SIZES:
        with ThreadPoolExecutor(jobs) as pool:
            sizes = list(pool.map(lambda file: server.size(file.path), files))
        if None not in sizes:
            return sum(size for size in sizes if size is not None), True
    return (sum(map(estimate, files)), False) if estimate is not None else (None, False)


def fetch(
    base: str,
    files: Sequence[RemoteFile],
    folder: Path,
    progress: scalelab.Progress,
    *,
    jobs: int,
    n_bytes: int | None,
) -> list[str]:
    """Fetches files into a folder; returns a line for each that could not be downloaded.

    Raises:
        scalelab.DataError: The folder cannot be written.
    """
    server = Server(base)
    meter = _Meter(progress, n_bytes or 0)
    problems: list[str] = []
    in_a_row = 0
    pending: dict[Future[None], RemoteFile] = {}
    todo = iter(files)
    pool = ThreadPoolExecutor(jobs)
    try:
        while True:
            while len(pending) < 2 * jobs and (file := next(todo, None)) is not None:
                pending[pool.submit(_fetch_one, server, file, folder, meter)] = file
            if not pending:
                return problems
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                file = pending.pop(future)
                try:
                    future.result()
                    in_a_row = 0
                except Unavailable as error:
                    problems.append(f"{file.path}: {error}")
                    in_a_row = in_a_row + 1 if error.silent else 0
                if in_a_row >= GIVE_UP:
                    problems.append(f"gave up: {server.base} does not answer any more")
                    return problems
    except OSError as error:
        raise scalelab.DataError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        server.stop()
        pool.shutdown(cancel_futures=True)


def _fetch_one(server: Server, file: RemoteFile, folder: Path, meter: _Meter) -> None:
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    for _ in range(2):
        try:
            server.transfer(file.path, part, meter.add)
        except Stopped:
            return
        if _sha256(part) == file.sha256:
            os.replace(part, target)
            return
        # What an interrupted run left may be of another version of the file: once more from the start.
        meter.add(-part.stat().st_size)
        part.unlink()
    raise Unavailable("its checksum is not the one listed")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


class _Meter:
    """Counts the bytes of all threads, and says so a few times per second."""

    def __init__(self, progress: scalelab.Progress, total: int) -> None:
        self._progress, self._total = progress, total
        self._lock = threading.Lock()
        self._done = 0
        self._said = 0.0

    def add(self, n: int) -> None:
        with self._lock:
            self._done += n
            now = time.monotonic()
            if now - self._said > 0.2 or self._done == self._total:
                self._said = now
                self._progress(self._done, max(self._total, self._done), "downloading")
