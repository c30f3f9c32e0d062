"""What `kills.py` sees of a store's journal from outside while it kills."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path


class Watch:
    """Notes what appears in a journal, from outside.

    Attributes:
        seen: By a file's name, the SHA-256 of its content.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.seen: dict[str, str] = {}

    def look(self) -> None:
        """Reads what is new."""
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.journal / "new"):
                if entry.name not in self.seen:
                    with suppress(FileNotFoundError):  # taken in just now: it is found in `kept`
                        self.seen[entry.name] = hashlib.sha256(Path(entry.path).read_bytes()).hexdigest()

    def sleep(self, seconds: float) -> None:
        """Looks for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            time.sleep(0.002)

    def faults(self) -> tuple[list[str], list[str]]:
        """Returns the files that are gone or changed, and those that are there twice."""
        places: dict[str, list[Path]] = {}
        for folder in ("new", "kept"):
            for path in (self.journal / folder).rglob("*.json"):
                places.setdefault(path.name, []).append(path)
        lost = [
            name
            for name, digest in self.seen.items()
            if not any(
                hashlib.sha256(path.read_bytes()).hexdigest() == digest for path in places.get(name, ())
            )
        ]
        return lost, [name for name, paths in places.items() if len(paths) > 1]
