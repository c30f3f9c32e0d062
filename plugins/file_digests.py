"""A digest of the content of a dataset's files, cheap while nothing changes."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import scalelab

from .processes import default_jobs

_PART = 100


def content_digest(
    dataset: str,
    files: Sequence[tuple[str, str]],
    *,
    order: Callable[[list[str]], Iterable[str]] = list,
    remedy: str = "",
) -> str:
    """Returns the SHA-256, in hexadecimal, over a line `label digest` for each file.

    Files are hashed again only where a path, a size or a time of change is another than last time.

    Args:
        dataset: The dataset's name, for the cache.
        files: A label and a path each; as texts, for there may be two hundred thousand.
        order: The order of the lines; that of the files by default.
        remedy: What follows in a message where a file cannot be read.

    Raises:
        scalelab.DataError: A file is missing, cannot be read, or is a folder, a pipe or a device.
    """

    def digest() -> dict[str, np.ndarray]:
        parts = [files[start : start + _PART] for start in range(0, len(files), _PART)]
        with ThreadPoolExecutor(default_jobs()) as pool:
            lines = [line for part in pool.map(_lines, parts) for line in part]
        whole = hashlib.sha256("".join(order(lines)).encode()).digest()
        return {"sha256": np.frombuffer(whole, dtype=np.uint8)}

    try:
        states = [(file, *_size_and_time(file, remedy)) for _, file in files]
        key = hashlib.sha256(json.dumps(states).encode()).hexdigest()[:32]
        return scalelab.cached_arrays(f"{dataset}-files-{key}", digest)["sha256"].tobytes().hex()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        what = f"is missing ({error.strerror})" if missing else f"cannot be read: {error.strerror}"
        raise scalelab.DataError(f"{error.filename} {what}{remedy}") from error


def _size_and_time(file: str, remedy: str) -> tuple[int, int]:
    state = os.stat(file)
    if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait for who writes to it
        raise scalelab.DataError(f"{file} is not a regular file{remedy}")
    return state.st_size, state.st_mtime_ns


def _lines(files: Sequence[tuple[str, str]]) -> list[str]:
    lines = []
    for label, path in files:
        with open(path, "rb") as file:
            lines.append(f"{label} {hashlib.file_digest(file, 'sha256').hexdigest()}\n")
    return lines
