"""What a kind of content is: how a store writes it to a file, takes it into a table, and gets it back.

`scalelab.store.kinds` lists those there are.
"""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from scalelab.errors import brief
from scalelab.measurements import Measurement
from scalelab.records import Record
from scalelab.regular_files import read_regular
from scalelab.store.envelope import Member, TornError, seal, unseal
from scalelab.store.schema import first_column, one

if TYPE_CHECKING:
    import duckdb

M = TypeVar("M")
E = TypeVar("E")
A = TypeVar("A", Record, Measurement)
Text = bytes | Path
"""What is in a file: as bytes, or as another file where it may be large."""
LATEST = 2**31
"""No attempt has such a number: the view `best_attempts` counts with it."""
TIME_DIGITS = 17
_TIMED = re.compile(rf"[0-9]{{{TIME_DIGITS}}}-")


class Kind(ABC, Generic[M, E]):
    """One kind of content, without a state: its subclass says all that tells it from the others.

    `M` is what is written, `E` what is inserted.

    Attributes:
        name: What messages call one of it.
        model: The class of what is written.
        suffix: Of its files.
        folder: Of its files in `kept`; `None` for folders by the first two digits of their names.
        keys: The names of a file's members.
        table: Has a row for each.
        key: SQL of the name of a row's file without the suffix.
        rows: A query for the rows to be restored, with what `key` is made of; `{piece}` stands for the
            condition.
    """

    name: str
    model: type[M]
    suffix: str
    folder: str | None
    keys: tuple[str, ...]
    table: str
    key: str
    rows: str

    @abstractmethod
    def name_of(self, content: M) -> str:
        """Returns the name of a file without the suffix."""

    @abstractmethod
    def members(self, content: M) -> dict[str, str]:
        """Returns the JSON text of each member of a file."""

    @abstractmethod
    def parse(self, name: str, members: list[Member]) -> E:
        """Returns what is inserted, given the file's name and members."""

    @abstractmethod
    def insert(self, connection: duckdb.DuckDBPyConnection, entries: Mapping[str, E]) -> set[str]:
        """Puts contents, by name, into a database, each once; returns the names that were new there."""

    @abstractmethod
    def restore(self, connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> M:
        """Returns what is to be written again of a row of `rows`, given by column."""

    def held(self, connection: duckdb.DuckDBPyConnection) -> set[str]:
        """Returns the names of the files whose contents the table holds."""
        return set(first_column(connection.execute(f"select {self.key} from {self.table}")))

    def missing(
        self, connection: duckdb.DuckDBPyConnection, taken: list[str], held: set[str] | None = None
    ) -> list[str] | None:
        """Returns what the table lacks of the files that it has taken in.

        Args:
            connection: Of the store.
            taken: The names of these files, oldest first.
            held: What `held` returned, where it was asked already.

        Returns:
            Names; `None` where that is unknown.
        """
        return sorted(set(taken) - (self.held(connection) if held is None else held))

    def seal(self, content: M) -> Text:
        """Returns the text of a file.

        Raises:
            ValueError: A value in it cannot be said in JSON or does not fit the database.
        """
        return seal(self.members(content))

    def unsealed(self, text: bytes) -> list[Member]:
        """Returns the members of a file; the last one is not parsed.

        Raises:
            TornError: It is truncated, was changed, or is something else.
        """
        return unseal(text, self.keys, self.name)

    def read(self, path: Path) -> tuple[E, int]:
        """Reads a file; returns what is inserted, and the file's size in bytes.

        Raises:
            TornError: It is truncated, was changed, or is something else.
            OSError: It cannot be read.
        """
        text = read_regular(path)
        return self.open(path.name.removesuffix(self.suffix), text), len(text)

    def open(self, name: str, text: Text) -> E:
        """Reads what is in a file.

        Raises:
            TornError: It is truncated, was changed, or is something else.
        """
        content = as_bytes(text)
        with self.refusing():
            return self.parse(name, self.unsealed(content))

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Says that what is read is not valid where reading it fails.

        Raises:
            TornError: It is not.
        """
        try:
            yield
        except TornError:
            raise
        except RecursionError as error:
            raise TornError("it is nested too deeply") from error
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise TornError(f"its content is not a valid {self.name}: {reason}") from error


class Latest(Kind[M, M]):
    """A kind of which a study has one content in the table: the last one by its name.

    A name begins with the time in microseconds since the epoch, in 17 digits, so that names sort by it.
    """

    def check_name(self, name: str) -> None:
        """Makes sure that a name sorts by the time that it begins with.

        Raises:
            TornError: It does not.
        """
        if _TIMED.match(name) is None:
            raise TornError("its name does not begin with a time")

    @abstractmethod
    def apply(self, connection: duckdb.DuckDBPyConnection, content: M, name: str) -> bool:
        """Puts a content in the place of its study's earlier one; returns whether there is no later one."""

    def insert(self, connection: duckdb.DuckDBPyConnection, entries: Mapping[str, M]) -> set[str]:
        """Applies the contents, in order."""
        return {name for name, content in entries.items() if self.apply(connection, content, name)}

    def last_of(self, connection: duckdb.DuckDBPyConnection, study: str) -> str | None:
        """Returns the name of a study's content, `None` where there is none."""
        query = f"select max({self.key}) from {self.table} where study = ?"
        name: str | None = one(connection.execute(query, [study]))
        return name


def as_bytes(text: Text) -> bytes:
    """Returns what is in a file.

    Raises:
        OSError: It cannot be read.
    """
    return text if isinstance(text, bytes) else read_regular(text)


def later(last: Iterable[str | None]) -> float:
    """Returns the time for a new content: now, but after those of the contents of these names.

    A clock that was set back must not make what is new look older than what it replaces.
    """
    times = [int(name[:TIME_DIGITS]) for name in last if name is not None and _TIMED.match(name)]
    return max([time.time(), *((at + 2) / 1e6 for at in times)])


def timed(seconds: float) -> str:
    """Returns the beginning of a name, given the time since the epoch."""
    return f"{int(seconds * 1e6):0{TIME_DIGITS}d}"


def told_time(name: str) -> str:
    """Returns when a content of that name was written, for people."""
    seconds = int(name[:TIME_DIGITS]) / 1e6
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


class Attempts(Kind[A, E]):
    """A kind whose contents are attempts at what `keys[0]` names, numbered by `keys[1]`.

    A file is named by the two, and its first two members are they, as are columns of the table.
    """

    def __init__(self) -> None:
        self.key = " || '-' || ".join(self.keys[:2])

    def name_of(self, content: A) -> str:
        """Returns its id."""
        return content.id

    def check_name(self, name: str, members: list[Member]) -> None:
        """Makes sure that a file holds what its name says.

        Raises:
            TornError: It does not, or no attempt has such a name.
        """
        owner, attempt = members[0].value, members[1].value
        held = f"{owner}-{attempt}"
        if name != held:
            raise TornError(f"it holds {self.name} {brief(held)[1:-1]}")
        if not (isinstance(owner, str) and type(attempt) is int and 1 <= attempt < LATEST):
            raise TornError(f"{brief(held)[1:-1]} is not the name of an attempt")

    @abstractmethod
    def content(self, entry: E) -> A:
        """Returns what was written.

        Raises:
            ValueError: A later scalelab wrote it, with more than this one knows.
        """

    @abstractmethod
    def belated(self, content: A, attempt: int) -> A:
        """Returns a content as an attempt of another number, and says that its own was taken."""

    @staticmethod
    def came_late(said: str | None, attempt: int) -> str:
        """Returns the line that says so, after what was said before."""
        late = f"came late: attempt {attempt} had a record by then"
        return f"{said}; {late}" if said else late

    def renumbered(self, text: bytes, attempt: int) -> bytes:
        """Returns the text of a file as that of the attempt of another number.

        Raises:
            TornError: It is not the text of a file of this kind.
        """
        members = {key: one.text for key, one in zip(self.keys, self.unsealed(text), strict=True)}
        content = {**json.loads(members[self.keys[-1]]), "attempt": attempt}
        members[self.keys[1]] = str(attempt)
        members[self.keys[-1]] = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        return seal(members)

    @abstractmethod
    def add(self, connection: duckdb.DuckDBPyConnection, entries: Mapping[str, E]) -> None:
        """Inserts entries that the table does not have."""

    def insert(self, connection: duckdb.DuckDBPyConnection, entries: Mapping[str, E]) -> set[str]:
        """Inserts the entries that the table does not have; returns their names."""
        owner = self.keys[0]
        found = connection.execute(
            f"select {self.key} from {self.table} semi join (select unnest(?::varchar[]) as {owner}) "
            f"using ({owner})",
            [[name.rpartition("-")[0] for name in entries]],
        )
        known = set(first_column(found))
        new = {name: entry for name, entry in entries.items() if name not in known}
        if new:
            self.add(connection, new)
        return set(new)
