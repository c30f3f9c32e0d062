"""What a kind of content is: how a store writes it to a file, takes it into a table, and gets it back.

`scalelab.store.kinds` lists the four there are.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from scalelab.measurements import Measurement
from scalelab.records import Record
from scalelab.store.envelope import Member, TornError, seal, unseal
from scalelab.store.schema import first_column, one

if TYPE_CHECKING:
    import duckdb

M = TypeVar("M")
E = TypeVar("E")
A = TypeVar("A", Record, Measurement)


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

    def seal(self, content: M) -> bytes:
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

    def open(self, name: str, text: bytes) -> E:
        """Reads a file.

        Raises:
            TornError: It is truncated, was changed, or is something else.
        """
        members = self.unsealed(text)
        try:
            return self.parse(name, members)
        except TornError:
            raise
        except (TypeError, ValueError) as error:
            raise TornError(
                f"its content is not a valid {self.name}: {str(error).splitlines()[0]}"
            ) from error


class Latest(Kind[M, M]):
    """A kind of which a study has one content in the table: the last one by its name."""

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
            TornError: It does not.
        """
        held = f"{members[0].value}-{members[1].value}"
        if name != held:
            raise TornError(f"it holds {self.name} {held}")

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
