"""Temporary folders, which go with what uses them; those of killed processes go with the next process."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from scalelab.errors import StoreError
from scalelab.store.processes import started, this_place


def temporary() -> tempfile.TemporaryDirectory[str]:
    """Makes a folder in `TMPDIR`.

    Raises:
        StoreError: It cannot be made.
    """
    try:
        _tidy(tempfile.gettempdir())
        prefix = f"{_ours()}{os.getpid()}-"
        return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:
        raise StoreError(
            f"no temporary folder can be made: {error.strerror or error}; name one with room in TMPDIR"
        ) from error


@cache
def _tidy(folder: str) -> None:
    """Removes what processes that were killed left there."""
    for path in Path(folder).glob(f"{_ours()}*"):
        pid = path.name.removeprefix(_ours()).partition("-")[0]
        if pid.isdecimal() and started(int(pid)) is None:
            shutil.rmtree(path, ignore_errors=True)


@cache
def _ours() -> str:
    """Returns how the names of such folders begin whose processes can be looked up: those of this place."""
    return f"scalelab-{hashlib.sha256(this_place().encode()).hexdigest()[:8]}-"
