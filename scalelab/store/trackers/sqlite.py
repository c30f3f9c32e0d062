"""SQLite databases of trackers, read and never written.

Every question is a short one: a long one would keep the tracker's own process from writing, and a run that
changes meanwhile is one that had not ended.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from scalelab.errors import InputError, brief, plain_line
from scalelab.regular_files import open_regular

T = TypeVar("T")
PATIENCE = 10.0
"""Seconds to wait for a process that writes."""
_MAGIC = b"SQLite format 3\0"


class Database:
    """A database that is open for reading.

    Args:
        path: Its file.

    Raises:
        InputError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.is_dir():
            raise InputError(f"{path} is a folder, not a database; name the file in it")
        try:
            address = f"file:{quote(str(path.resolve()))}?mode=ro"
            self._connection = sqlite3.connect(address, uri=True, timeout=PATIENCE)
        except sqlite3.Error as error:
            raise self._told(error) from error
        self._connection.text_factory = lambda text: text.decode("utf-8", "replace")

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Returns the rows of a query as tuples.

        Raises:
            InputError: The database is locked, damaged, or lacks what is asked for.
        """
        try:
            return self._connection.execute(query, values).fetchall()
        except (sqlite3.Error, MemoryError, UnicodeDecodeError) as error:  # the last two where it is damaged
            raise self._told(error) from error

    def columns(self, table: str) -> list[str]:
        """Returns the names of a table's columns; none where there is no such table, or it is a view.

        A view may be a question without an end.
        """
        found = self.rows("select 1 from sqlite_master where type = 'table' and name = ?", table)
        return [row[1] for row in self.rows(f"pragma table_info({table})")] if found else []

    def close(self) -> None:
        """Closes it."""
        self._connection.close()

    def _told(self, error: Exception) -> InputError:
        if "unable to open" in str(error) or "readonly" in str(error):
            return InputError(
                f"{self._path} cannot be opened: SQLite wants to write files beside it, as while another "
                "process uses it; copy it, with its -wal where there is one, to a folder that can be written"
            )
        if "locked" in str(error) or "busy" in str(error):
            return InputError(
                f"{self._path} is locked: a process has been writing to it for {PATIENCE:g} s; import it "
                "after that, or import a copy"
            )
        told = plain_line(str(error))
        return InputError(f"{self._path} cannot be read: {told}; is it whole, and a copy not cut short?")


def asked(path: Path, ask: Callable[[Database], T]) -> T:
    """Opens a database for one question, and returns what is asked of it.

    Raises:
        InputError: It cannot be read.
    """
    database = Database(path)
    try:
        return ask(database)
    finally:
        database.close()


def closing(database: Database, runs: Iterator[T]) -> Iterator[T]:
    """Yields what is read of a database, and closes it then."""
    try:
        yield from runs
    finally:
        database.close()


def refuse_nameless(path: Path, what: str, names: Sequence[Any]) -> None:
    """Refuses a database that has a study or an experiment whose name is no text.

    Raises:
        InputError: It has one.
    """
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"{path} has {what} whose name is {brief(name)}, not a text; is it damaged?")


def has_tables(path: Path, *names: str) -> bool:
    """Whether a file is an SQLite database with these tables.

    Raises:
        InputError: It is a database that cannot be read.
        OSError: The file cannot be read.
    """
    with open_regular(path) as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return False
    return asked(path, lambda database: all(database.columns(name) for name in names))
