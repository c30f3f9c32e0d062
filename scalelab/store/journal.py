"""The journal: the folder beside a store that holds every record as a file of its own.

A record counts as kept when `Journal.write` returns; the database is made from these files and can be made
again from them. Folders:

    new/             records that the database has not taken in yet
    kept/<2 hex>/    records that it has, by the first two digits of the trial's id
    kept/studies/    registrations of studies
    kept/imports/    imported tables
    kept/latencies/  measurements on hardware
    quarantine/      what could not be read, and files that a rebuild replaced
    claims/          who is at which trial
    checkpoints/     states of unfinished trainings
    weights/         trained weights, where they were asked for
    logs/            what attempts and runtimes printed, tracebacks of failed attempts

Invariants: a file in `new` or `kept` is whole and never changes; a record id is never given twice; a file
moves from `new` to `kept` only after the database has committed it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scalelab.errors import StoreError
from scalelab.measurements import Measurement
from scalelab.permissions import make_folder, share
from scalelab.records import Record
from scalelab.store.files import put_new, reading, set_aside, sync_folder, writing
from scalelab.store.imports import ImportedTable
from scalelab.store.kind import E, Kind, M
from scalelab.store.kinds import KINDS, RECORDS, kind_of, kind_of_file
from scalelab.store.registrations import Registration

log = logging.getLogger(__name__)


def resolve(store: Path | str) -> Path:
    """Returns the one absolute path of a store, links followed, so that all its users share one journal."""
    return Path(os.path.realpath(Path(store).expanduser()))


class Journal:
    """The journal of one store; any number of processes may write to it at once.

    Args:
        store_path: The store's file, which need not exist.
    """

    def __init__(self, store_path: Path | str) -> None:
        self.folder = Path(f"{resolve(store_path)}.journal")
        self.new = self.folder / "new"
        self.kept = self.folder / "kept"
        self.quarantine = self.folder / "quarantine"
        self._scratch = self.folder / "tmp"

    def write(
        self, content: Record | Registration | ImportedTable | Measurement, *, durable: bool = True
    ) -> Path:
        """Keeps a record or another content; nothing happens where that name already exists.

        Args:
            content: What an attempt produced, a study asks for, an imported table holds.
            durable: Whether to wait until the disk has it; `False` only for copies of what is elsewhere.

        Returns:
            The file that it was written to.

        Raises:
            StoreError: It cannot be written, the disk being full among the reasons.
        """
        kind = kind_of(content)
        name = kind.name_of(content)
        try:
            text = kind.seal(content)
        except ValueError as error:
            raise StoreError(f"{kind.name} {name} cannot be kept: {error}") from error
        path = self.new / f"{name}{kind.suffix}"
        if not self.has(name, kind):
            self._put(path.name, text, durable=durable)
        return path

    def _put(self, name: str, content: bytes, *, durable: bool) -> bool:
        with writing(self.new):
            try:
                return put_new(self.new / name, content, self._scratch, durable=durable)
            except FileNotFoundError:
                make_folder(self.new)
                make_folder(self._scratch)
                sync_folder(self.folder)
                sync_folder(self.folder.parent)
                return put_new(self.new / name, content, self._scratch, durable=durable)

    def has(self, name: str, kind: Kind[Any, Any] = RECORDS) -> bool:
        """Whether a record of that id, or another content of that name, is in the journal."""
        file = f"{name}{kind.suffix}"
        return os.path.exists(self._home(file)) or os.path.exists(self.new / file)

    def find(self, name: str, kind: Kind[Any, Any] = RECORDS) -> Path | None:
        """Returns where a record of that id, or another content of that name, is; `None` where it is not."""
        file = f"{name}{kind.suffix}"
        return next((path for path in (self.new / file, self._home(file)) if path.exists()), None)

    def adopt(self, name: str, text: bytes, kind: Kind[Any, Any], *, durable: bool) -> bool:
        """Keeps the text of a file that another journal holds.

        Args:
            name: Of the content.
            text: Of its file.
            kind: Of the content.
            durable: Whether to wait until the disk has it.

        Returns:
            Whether it was written; `False` where that name already exists.

        Raises:
            StoreError: It cannot be written.
        """
        if self.has(name, kind):
            return False
        return self._put(f"{name}{kind.suffix}", text, durable=durable)

    def _home(self, file: str) -> Path:
        return self.kept / (kind_of_file(file).folder or file[:2]) / file

    def pending(self, kind: Kind[Any, Any] = RECORDS) -> list[Path]:
        """Returns the records, or other contents, that the database has not taken in, by name."""
        return [path for path in _files(self.new, kind.suffix) if kind_of_file(path.name) is kind]

    def taken(self, kind: Kind[Any, Any] = RECORDS) -> list[Path]:
        """Returns the records, or other contents, that the database has taken in, by name."""
        if kind.folder is not None:
            return _files(self.kept / kind.folder, kind.suffix)
        folders = [folder for folder in _files(self.kept, suffix="") if len(folder.name) == 2]
        return [path for folder in folders for path in _files(folder)]

    def files(self, kind: Kind[Any, Any]) -> list[Path]:
        """Returns all files of a kind by name: registrations and imported tables oldest first."""
        return sorted([*self.taken(kind), *self.pending(kind)], key=lambda path: path.name)

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it that a database could be made from."""
        return not any(self.files(kind) for kind in KINDS)

    def open(self, kind: Kind[M, E], path: Path) -> tuple[E, int] | None:
        """Reads a file of the journal; a truncated one is quarantined with a warning and gives `None`.

        Returns:
            What the database is to take in, and the file's size in bytes.
        """
        try:
            with reading(path):
                text = path.read_bytes()
            return kind.open(path.name.removesuffix(kind.suffix), text), len(text)
        except FileNotFoundError:
            # Another process took it in just now.
            return None
        except ValueError as error:
            self.set_aside(path, str(error))
            return None

    def set_aside(self, path: Path, reason: str) -> None:
        """Moves a file that cannot be used into quarantine and says so."""
        with writing(self.quarantine):
            try:
                target = set_aside(path, self.quarantine)
            except FileNotFoundError:
                # Another process did it just now.
                return
        log.warning("warning: %s cannot be used: %s; it was moved to %s", path, reason, target)

    def keep(self, paths: Iterable[Path]) -> None:
        """Moves files from `new` to `kept`; a second file of a kept name goes into quarantine.

        Only one process at a time may do so: the one that holds the store's write lock.
        """
        folders: set[Path] = set()
        with writing(self.kept):
            for path in paths:
                home = self._home(path.name)
                if home.parent not in folders:
                    make_folder(home.parent)
                    folders.add(home.parent)
                if not os.path.exists(home):
                    os.rename(path, home)
                elif not os.path.exists(path):
                    # Another process took it in since it was read here.
                    continue
                elif home.read_bytes() == path.read_bytes():
                    path.unlink()
                else:
                    self.set_aside(path, f"{home} was there first")

    def checkpoint(self, trial_id: str) -> Path:
        """Returns where an unfinished training of a trial keeps its state; the folder is made."""
        folder = self.folder / "checkpoints"
        with writing(folder):
            make_folder(folder)
        return folder / f"{trial_id}.pt"

    def weights(self, trial_id: str) -> Path:
        """Returns where a trial's trained weights are, if they were kept."""
        return self.folder / "weights" / f"{trial_id}.pt"

    def log(self, name: str) -> Path:
        """Returns where the log of an attempt is, by its record's id, if anything was printed."""
        return self.folder / "logs" / f"{name}.txt"

    def add_to_log(self, name: str, text: str) -> None:
        """Adds a text such as a traceback to a log.

        Raises:
            StoreError: It cannot be written.
        """
        path = self.log(name)
        with writing(path):
            make_folder(path.parent)
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
            share(path)

    def quarantined(self) -> list[Path]:
        """Returns what is in quarantine."""
        return _files(self.quarantine, suffix="")

    def unfinished(self) -> list[Path]:
        """Returns files whose writing was cut off more than an hour ago: they were never acknowledged."""
        old = time.time() - 3600
        return [
            path
            for path in _files(self._scratch, suffix="")
            if path.suffix != ".lock" and path.stat().st_mtime < old
        ]


def _files(folder: Path, suffix: str = ".json") -> list[Path]:
    try:
        with reading(folder), os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(suffix))
    except FileNotFoundError:
        return []
    return [folder / name for name in names]
