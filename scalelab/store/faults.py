"""What is wrong with rows: the end of an import of a table, and of a tracker's runs one line each.

A row of a table can be fixed, or left out with `--only`. One run of a thousand that a tracker kept cannot be
fixed, and nobody would know which row it is.
"""

from __future__ import annotations

from typing import NoReturn

from scalelab.errors import InputError
from scalelab.store.foreign import PLACE, Source
from scalelab.store.schema import quoted
from scalelab.store.targets import KEYS
from scalelab.store.trackers.found import Problem


class Faults:
    """Rows that cannot be runs.

    Args:
        source: The table.

    Attributes:
        source: What messages call it.
        found: By the number of a row of a tracker's, what is wrong with it.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._first: str | None = None
        self.source = source.name
        self.found: dict[int, str] = {}

    def add(self, row: int, what: str, advice: str) -> None:
        """Takes note of what is wrong with a row.

        Raises:
            InputError: It is a row of a table.
        """
        self._first = self._first or f"row {row} of {self.source}{what}; {advice}"
        if not self._source.tracked:
            self.refuse()
        self.found.setdefault(row, what[2:] if what.startswith(": ") else f"it{what}")

    def refuse(self) -> NoReturn:
        """Refuses the source for the first fault.

        Raises:
            InputError: Always.
        """
        raise InputError(self._first or f"{self.source} has no rows; nothing can be imported from it")

    def problems(self) -> list[Problem]:
        """Returns the faults of a tracker's runs, each with the key and the name of its run."""
        if not self.found:
            return []
        names = [quoted(c) if c in self._source.kinds else "null" for c in (KEYS[0], "run_name")]
        called = self._source.query(
            f"select {PLACE}, {', '.join(names)} from kept where {PLACE} in (select unnest(?))",
            [list(self.found)],
        ).fetchall()
        names_of = {
            row: f"{key or f'row {row}'}{f' ({name})' if name and name != key else ''}"
            for row, key, name in called
        }
        return [Problem(names_of[row], what) for row, what in sorted(self.found.items())]
