"""Folders that a report writes many files into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scalelab.errors import InputError


@contextmanager
def writing_into(folder: Path, what: str) -> Iterator[None]:
    """Makes a folder where it does not exist, to write files into.

    Args:
        folder: The folder.
        what: What goes into it, for the error.

    Raises:
        InputError: The folder, or a file in it, cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(f"{what} cannot be written to {folder}: {error.strerror or error}") from error
