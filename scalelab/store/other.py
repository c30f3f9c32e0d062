"""Another store, read as it is: what its journal and its database hold, and nothing of it is changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import InputError
from scalelab.store import schema
from scalelab.store.connection import Database
from scalelab.store.files import reading
from scalelab.store.imports import parts
from scalelab.store.journal import Journal, resolve
from scalelab.store.kind import Kind, Text, as_bytes
from scalelab.store.kinds import IMPORTS, KINDS, REGISTRATIONS
from scalelab.store.salvage import contents, only_in_database

if TYPE_CHECKING:
    import duckdb


class Other:
    """A store that another one takes over; see `scalelab.store.merge`.

    Its journal is read file by file, its database for what the journal lacks. A study may run there
    meanwhile: what it writes later is seen by the next merge.

    Args:
        path: The store's file; it may be missing where its journal is there.
        wait: Seconds to wait for other processes that have the database open.

    Raises:
        InputError: It is a folder or no regular file.
        StoreError: There is none, or it is locked for too long, damaged, or of another schema.
    """

    def __init__(self, path: Path | str, wait: float) -> None:
        self.path = resolve(path)
        self.journal = Journal(self.path)
        self.database = Database(self.path, self.journal, wait)
        self.unreadable: dict[Path, str] = {}
        if self.path.is_dir():
            raise InputError(f"{path} is a folder; name the file of the store that is to be merged")
        if self.path.exists() and not self.path.is_file():
            raise InputError(f"{path} is not a regular file; name the file of a store")
        self._has_database = self.path.exists() or self.journal.empty
        self._held = self._read_names()

    def _read_names(self) -> dict[str, set[str]]:
        """Returns by table the names in the database; read first, for the journal has them sooner."""
        if not self._has_database:
            return {kind.table: set() for kind in KINDS}
        with self.database.read() as connection:
            return {kind.table: kind.held(connection) for kind in KINDS}

    def names(self, kind: Kind[Any, Any]) -> set[str]:
        """Returns the names of all contents of a kind."""
        return self._held[kind.table].union(self._filed(self.journal.files(kind), kind))

    def contents(self, kind: Kind[Any, Any], wanted: set[str]) -> Iterator[tuple[str, Text]]:
        """Yields name and text of contents: first those of the journal, by name, then of the database.

        Files that cannot be read are left where they are and noted in `unreadable`.
        """
        for name in sorted(wanted.intersection(self._filed(self.journal.files(kind), kind))):
            text = self._whole(kind, name)
            if text is not None:
                yield name, text
        if not self._has_database:
            return
        with self.database.read() as connection:
            for start, names in only_in_database(connection, self.journal, kind):
                there = wanted.intersection(names)
                for name, content in contents(connection, kind, start, sorted(there)) if there else ():
                    yield name, kind.seal(content)

    def texts(self) -> dict[str, tuple[str, str]]:
        """Returns by study the name of its last registration and the text of its file."""
        found: dict[str, tuple[str, str]] = {}
        files = self.journal.files(REGISTRATIONS)
        if self._has_database:
            with self.database.read() as connection:
                found = registered(connection)
            files = self.journal.pending(REGISTRATIONS)
        for name in self._filed(files, REGISTRATIONS):
            text = self._whole(REGISTRATIONS, name)
            if text is not None:
                own = json.loads(REGISTRATIONS.unsealed(as_bytes(text))[0].text)
                found[own["study"]] = max(found.get(own["study"], ("", "")), (name, own["text"]))
        return found

    def tables(self) -> dict[str, list[str]]:
        """Returns by imported table the names of its files, oldest first."""
        return by_study(self.names(IMPORTS))

    def folder(self, name: str) -> list[Path]:
        """Returns the regular files in a folder of the journal."""
        with reading(self.journal.folder / name):
            paths = sorted((self.journal.folder / name).glob("*"))
        return [path for path in paths if path.is_file() and not path.is_symlink()]

    def _filed(self, paths: Iterable[Path], kind: Kind[Any, Any]) -> list[str]:
        return [path.name.removesuffix(kind.suffix) for path in paths]

    def _whole(self, kind: Kind[Any, Any], name: str) -> Text | None:
        """Returns what is in a file of the journal, `None` where it is not what a store wrote."""
        path = self.journal.find(name, kind)
        if path is None:
            return None
        with reading(path):
            text: Text = path if kind is IMPORTS else path.read_bytes()
            try:
                kind.open(name, text)
            except ValueError as error:
                self.unreadable[path] = str(error)
                return None
        return text


def registered(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[str, str]]:
    """Returns by study the name of its registration and the text of its file."""
    rows = connection.execute("select study, registration, text from studies").fetchall()
    return {study: (name, text) for study, name, text in rows}


def trained(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Returns the studies that were run."""
    return set(schema.first_column(connection.execute("select distinct study from study_trials")))


def by_study(names: Iterable[str]) -> dict[str, list[str]]:
    """Returns by imported table the names of its files, oldest first."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        if name.count("-") > 1:
            found.setdefault(parts(name)[2], []).append(name)
    return found
