"""The journal: the folder beside a store that holds every record as a file of its own.

A record counts as kept when `Journal.write` returns; the database is made from these files and can be made
again from them. Folders:

    new/             records that the database has not taken in yet
    kept/<2 hex>/    records that it has, by the first two digits of the trial's id
    kept/studies/    registrations of studies
    kept/imports/    imported tables
    kept/latencies/  measurements on hardware; kept/predictions/ registered predictions
    quarantine/      what could not be read, and files that a rebuild replaced
    claims/          who is at which trial
    checkpoints/     states of unfinished trainings
    scripts/         what unfinished trials of scripts reported, and their checkpoints, by trial
    weights/         trained weights, where they were asked for
    logs/            what attempts and runtimes printed, tracebacks of failed attempts
    tmp/             files that are being written
    tally.json       what the database was given, see `scalelab.store.tally`

Invariants: a file in `new` or `kept` is whole and never changes; a record id is never given twice; nothing
that was acknowledged is dropped because its name is taken; a file moves from `new` to `kept` only after the
database has committed it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from scalelab.errors import StoreError, plain_line
from scalelab.measurements import Measurement
from scalelab.permissions import make_folder, share
from scalelab.predictions import RegisteredPrediction
from scalelab.records import Record, Trial
from scalelab.regular_files import NotRegularError, expanded, read_regular
from scalelab.script_files import read_reports
from scalelab.script_reports import NO_RESULT
from scalelab.store.files import (
    is_there,
    move_new,
    put_new,
    reading,
    set_aside,
    sync_folder,
    writing,
)
from scalelab.store.imports import ImportedTable
from scalelab.store.kind import Attempts, E, Kind, M, Text
from scalelab.store.kinds import KINDS, RECORDS, kind_of, kind_of_file
from scalelab.store.registrations import Registration

C = TypeVar("C", Record, Registration, ImportedTable, Measurement, RegisteredPrediction)
ABANDONED_SECONDS = 3600.0
log = logging.getLogger(__name__)


def resolve(store: Path | str) -> Path:
    """Returns the one absolute path of a store, links followed, so that all its users share one journal."""
    return Path(os.path.realpath(expanded(store)))


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
        self.scratch = self.folder / "tmp"

    def write(self, content: C, *, durable: bool = True) -> C:
        """Keeps a record or another content, each once, however often it is written.

        A record whose attempt has another one by now came late: its coordinator was taken for dead. It is
        kept as an attempt of its own, the next that is free, and says so; measurements likewise. The names of
        registrations, imported tables and predictions tell their content: where one exists, nothing happens.

        Args:
            content: What an attempt produced, a study asks for, an imported table holds.
            durable: Whether to wait until the disk has it; `False` only for copies of what is elsewhere.

        Returns:
            What it was kept as.

        Raises:
            StoreError: It cannot be written, the disk being full among the reasons.
        """
        return self._keep_as(content, content, durable=durable)

    def _keep_as(self, content: C, kept: C, *, durable: bool = True) -> C:
        """Keeps a content as another that stands for it, or as a later attempt."""
        kind = kind_of(content)
        text = self._sealed(kind, kept)
        while True:
            file = self.place(kept).name
            there = self._content(file)
            if there is None and self._put(file, text, durable=durable):
                return kept
            if there is None:
                continue  # somebody was faster: it is another one's by now, or the same
            if there == text or not isinstance(kind, Attempts):
                return kept
            assert isinstance(kept, (Record, Measurement)), "only attempts have numbers"
            kept = kind.belated(content, kept.attempt + 1)
            text = self._sealed(kind, kept)

    def settle(self, record: Record) -> bool:
        """Keeps what others say of an attempt that could not say it itself.

        Returns:
            Whether it was kept; `False`, and nothing happens, where the attempt has a record.

        Raises:
            StoreError: It cannot be written.
        """
        if self.has(record.id):
            return False
        return self._put(self.place(record).name, self._sealed(RECORDS, record), durable=True)

    @staticmethod
    def _sealed(kind: Kind[Any, Any], content: Any) -> Text:
        """Returns the text of a file, and makes sure that it will not be refused once it is acknowledged."""
        name = kind.name_of(content)
        try:
            text = kind.seal(content)
            kind.open(name, text)
        except (RecursionError, ValueError) as error:
            raise StoreError(f"{kind.name} {name} cannot be kept: {error}") from error
        return text

    def place(self, content: object) -> Path:
        """Returns where a content is written to."""
        kind = kind_of(content)
        return self.new / f"{kind.name_of(content)}{kind.suffix}"

    def _put(self, name: str, content: Text, *, durable: bool) -> bool:
        """Writes a file into `new`; returns whether the name was free there."""
        with writing(self.new):
            try:
                return put_new(self.new / name, content, self.scratch, durable=durable)
            except FileNotFoundError:
                make_folder(self.new)
                make_folder(self.scratch)
                sync_folder(self.folder)
                sync_folder(self.folder.parent)
                return put_new(self.new / name, content, self.scratch, durable=durable)

    def has(self, name: str, kind: Kind[Any, Any] = RECORDS) -> bool:
        """Whether a record of that id, or another content of that name, is in the journal."""
        return self.find(name, kind) is not None

    def find(self, name: str, kind: Kind[Any, Any] = RECORDS) -> Path | None:
        """Returns where a record of that id, or another content of that name, is; `None` where it is not."""
        return self._found(f"{name}{kind.suffix}")

    def _found(self, file: str) -> Path | None:
        # In this order: a file moves from `new` to `kept`, and between two looks it must not be missed.
        for path in (self.new / file, self._home(file)):
            with reading(path):
                if is_there(path):
                    return path
        return None

    def _content(self, file: str) -> bytes | None:
        """Returns what is in a file; nothing where it cannot be read, `None` where there is none."""
        while (path := self._found(file)) is not None:
            try:
                return _text(path)
            except FileNotFoundError:
                continue  # it was moved just now
        return None

    def adopt(self, name: str, text: Text, kind: Kind[Any, Any], *, durable: bool) -> bool:
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
        return self.kept.joinpath(kind_of_file(file).folder or file[:2], file)

    def pending(self, kind: Kind[Any, Any] = RECORDS) -> list[Path]:
        """Returns the records, or other contents, that the database has not taken in, by name."""
        return [path for path in _files(self.new, kind.suffix) if kind_of_file(path.name) is kind]

    def taken(self, kind: Kind[Any, Any] = RECORDS) -> list[Path]:
        """Returns the records, or other contents, that the database has taken in, by name."""
        if kind.folder is not None:
            return _files(self.kept / kind.folder, kind.suffix)
        folders = [one for one in _files(self.kept, suffix="") if len(one.name) == 2 and one.is_dir()]
        return [path for folder in folders for path in _files(folder)]

    def files(self, kind: Kind[Any, Any]) -> list[Path]:
        """Returns all files of a kind by name: registrations and imported tables oldest first."""
        return sorted([*self.taken(kind), *self.pending(kind)], key=lambda path: path.name)

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it that a database could be made from."""
        return not any(self.files(kind) for kind in KINDS)

    def open(self, kind: Kind[M, E], path: Path) -> tuple[E, int] | None:
        """Reads a file of the journal.

        One that holds nothing that could be used is quarantined with a warning; one that cannot be read now,
        such as another user's, is left where it is, with a warning.

        Returns:
            What the database is to take in, and the file's size in bytes; `None` where there is nothing.
        """
        try:
            return self.examine(kind, path)
        except FileNotFoundError:
            pass  # another process took it in just now
        except NotRegularError as error:
            self.set_aside(path, str(error.strerror))
        except OSError as error:
            log.warning("warning: %s cannot be read: %s; make it readable", path, error.strerror or error)
        except ValueError as error:
            self.set_aside(path, str(error))
        return None

    def examine(self, kind: Kind[M, E], path: Path) -> tuple[E, int]:
        """Reads a file of the journal and changes nothing.

        Returns:
            What the database is to take in, and the file's size in bytes.

        Raises:
            ValueError: It holds nothing that could be used.
            NotRegularError: It is no file.
            OSError: It cannot be read.
        """
        return kind.read(path)

    def set_aside(self, path: Path, reason: str) -> None:
        """Moves a file that cannot be used into quarantine and says so."""
        with writing(self.quarantine):
            try:
                target = set_aside(path, self.quarantine)
            except FileNotFoundError:
                # Another process did it just now.
                return
        log.warning("warning: %s cannot be used: %s; it was moved to %s", path, plain_line(reason), target)

    def keep(self, paths: Iterable[Path]) -> bool:
        """Moves files from `new` to `kept`.

        A second content of a kept name came late, see `write`: it was written by a process that did not see
        the first one, and goes into `new` again as an attempt of its own.

        Only one process at a time may do so: the one that holds the store's write lock.

        Returns:
            Whether there are files in `new` again.
        """
        folders: set[Path] = set()
        again = False
        with writing(self.kept):
            for path in paths:
                home = self._home(path.name)
                if home.parent not in folders:
                    make_folder(home.parent)
                    folders.add(home.parent)
                try:
                    if not move_new(path, home, self.scratch):
                        again |= self._second(path, home)
                except FileNotFoundError:
                    continue  # another process took it in since it was read here
        return again

    def _second(self, path: Path, home: Path) -> bool:
        """Deals with a second file of a kept name; returns whether it was written anew."""
        kind, text = kind_of_file(path.name), _text(path)
        if _text(home) == text:
            path.unlink()
            return False
        reason = f"{home} was there first"
        if isinstance(kind, Attempts):
            try:
                late = kind.content(kind.open(path.name.removesuffix(kind.suffix), text))
                self._keep_as(late, kind.belated(late, late.attempt + 1))
                path.unlink()
                return True
            except ValueError as error:
                reason += f", and it cannot be kept as another attempt: {error}"
        self.set_aside(path, reason)
        return False

    def checkpoint(self, trial_id: str) -> Path:
        """Returns where an unfinished training of a trial keeps its state; the folder is made."""
        folder = self.folder / "checkpoints"
        with writing(folder):
            make_folder(folder)
        return folder / f"{trial_id}.pt"

    def script(self, trial_id: str) -> Path:
        """Returns the folder of an unfinished trial of a script, if there is one."""
        return self.folder / "scripts" / trial_id

    def logged(self, trial_id: str) -> Trial | None:
        """Returns the trial of a run that is logged from outside any study; `None` where none is."""
        with contextlib.suppress(OSError, ValueError):
            trial = Trial.model_validate_json(read_regular(self.script(trial_id) / "trial.json"))
            return trial if trial.id == trial_id else None
        return None

    def reported(self, trial: Trial, *, failed: bool = False) -> dict[str, Any]:
        """Returns what the script of an unfinished trial reported, as fields of a record."""
        if trial.script is None:
            return {}
        return read_reports(self.reports(trial.id)).facts(trial) | (NO_RESULT if failed else {})

    def reports(self, trial_id: str) -> Path:
        """Returns where the script of an unfinished trial reports."""
        return self.script(trial_id) / "reports.jsonl"

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
        return [path for path in _files(self.scratch, suffix="") if path.suffix != ".lock" and is_old(path)]


def is_old(path: Path) -> bool:
    """Whether nothing was written to a file for an hour; a file that is gone by now is not old."""
    try:
        return path.lstat().st_mtime < time.time() - ABANDONED_SECONDS
    except FileNotFoundError:
        return False


def _text(path: Path) -> bytes:
    """Returns what is in a file; nothing where it cannot be read.

    Raises:
        FileNotFoundError: There is none.
    """
    try:
        return read_regular(path)
    except FileNotFoundError:
        raise
    except OSError:
        return b""


def _files(folder: Path, suffix: str = ".json") -> list[Path]:
    try:
        with reading(folder), os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(suffix))
    except FileNotFoundError:
        return []
    return [folder / name for name in names]
