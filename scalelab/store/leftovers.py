"""What a kill left half-made: databases that were being built, and files that were being written.

Databases are built under the store's write lock, so that whoever holds it may remove all there are: their
makers are gone, on whatever host they were. A file of the journal that is being written has no lock; after an
hour its writer is gone, or finds the file missing and writes it again.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.store.files import writing
from scalelab.store.journal import is_old

if TYPE_CHECKING:
    from scalelab.store.connection import Database


def built(database: Database) -> list[Path]:
    """Returns half-made databases, of builds that were killed or are under way: only the lock can tell."""
    new = re.compile(re.escape(database.path.name) + r"\.new-\d+-[0-9a-f]+(\.wal|\.tmp)?")
    beside = [path for path in _listed(database.path.parent) if new.fullmatch(path.name)]
    scratch = database.journal.scratch
    return beside + [path for path in _listed(scratch) if path.name.startswith("salvage-")]


def abandoned(database: Database) -> list[Path]:
    """Returns half-made databases that nobody has written to for an hour."""
    return [path for path in built(database) if is_old(path)]


def tidy(database: Database) -> None:
    """Removes what kills left, for who holds the store's write lock.

    Raises:
        StoreError: Something cannot be removed.
    """
    for path in (*built(database), *database.journal.unfinished()):
        with writing(path):
            if not path.is_dir() or path.is_symlink():
                path.unlink(missing_ok=True)
            elif path.suffix == ".tmp":
                shutil.rmtree(path)  # what DuckDB had no memory for; any other folder scalelab does not make


def _listed(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder))]
    except (FileNotFoundError, NotADirectoryError):
        return []
