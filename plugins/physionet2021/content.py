"""A digest of the files of a folder, the same wherever they lie, and cheap while nothing changes."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import scalelab

from ..processes import default_jobs
from .records import source_of

REMEDY = "get the records with 'scalelab data download physionet2021 --to DIR' and set path to that folder"
SUFFIXES = (".hea", ".mat", ".dat")
_PART = 100


def content_digest(folder: Path, sources: tuple[str, ...]) -> str:
    """Returns a digest over source, name and content of every header and signal file beneath a folder.

    Files are hashed again only where a name, a size or a time of change is another than last time.

    Args:
        folder: Where the records lie, at any depth.
        sources: Only these; empty: all.

    Raises:
        scalelab.DataError: There is no such folder, it holds no records, or a file cannot be read.
    """
    if not folder.is_dir():
        raise scalelab.DataError(f"physionet2021: there is no folder {folder}; {REMEDY}")
    files = _files(folder, sources)
    try:
        states = [(file, (state := os.stat(file)).st_size, state.st_mtime_ns) for _, file in files]
    except OSError as error:
        raise scalelab.DataError(f"{error.filename} cannot be read: {error.strerror}") from error
    key = hashlib.sha256(json.dumps(states).encode()).hexdigest()[:32]
    found = scalelab.cached_arrays(f"physionet2021-files-{key}", lambda: {"sha256": _digest(files)})
    return found["sha256"].tobytes().hex()


def _files(folder: Path, sources: tuple[str, ...]) -> list[tuple[str, str]]:
    """Returns source and path of every file that counts, as texts: there may be two hundred thousand."""
    files = []
    for parent, _, names in os.walk(folder):
        source = source_of(Path(parent, "any.hea"))
        files += [
            (source, os.path.join(parent, name))
            for name in names
            if name.endswith(SUFFIXES) and not name.startswith(".")
        ]
    present = sorted({source for source, file in files if file.endswith(".hea")})
    if not present:
        raise scalelab.DataError(f"physionet2021: the folder {folder} holds no records (*.hea); {REMEDY}")
    for source in sources:
        if source not in present:
            raise scalelab.DataError(
                f"physionet2021: the folder {folder} has no records of the source {source!r}; "
                f"there are {', '.join(present)}"
            )
    return sorted((source, file) for source, file in files if not sources or source in sources)


def _digest(files: list[tuple[str, str]]) -> np.ndarray:
    parts = [files[start : start + _PART] for start in range(0, len(files), _PART)]
    with ThreadPoolExecutor(default_jobs()) as pool:
        lines = sorted(line for part in pool.map(_lines, parts) for line in part)
    return np.frombuffer(hashlib.sha256("".join(lines).encode()).digest(), dtype=np.uint8)


def _lines(files: list[tuple[str, str]]) -> list[str]:
    lines = []
    for source, path in files:
        try:
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
        except OSError as error:
            raise scalelab.DataError(f"{path} cannot be read: {error.strerror}") from error
        lines.append(f"{source} {os.path.basename(path)} {digest}\n")
    return lines
