"""The journal: the folder beside a store that holds every record as a file of its own.

A record counts as kept when `Journal.write` returns; the database is made from these files and can be made
again from them. Folders::

    new/             records that the database has not taken in yet
    kept/<2 hex>/    records that it has, by the first two digits of the trial's id
    kept/studies/    registrations of studies
    kept/imports/    imported tables
    kept/latencies/  measurements on hardware
    quarantine/      what could not be read, and files that a rebuild replaced
    claims/          who is at which trial
    checkpoints/     states of unfinished trainings
    weights/         trained weights, where they were asked for
    logs/            tracebacks of failed attempts

Invariants: a file in `new` or `kept` is whole and never changes; a record id is never given twice; a file
moves from `new` to `kept` only after the database has committed it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from scalelab.errors import StoreError
from scalelab.records import Measurement, Record
from scalelab.store.envelope import (
    Entry,
    ImportedTable,
    MeasurementEntry,
    Registration,
    TornError,
    open_import,
    open_measurement,
    open_record,
    open_registration,
    seal_import,
    seal_measurement,
    seal_record,
    seal_registration,
)
from scalelab.store.files import put_new, reading, set_aside, sync_folder, writing

STUDY_SUFFIX = ".study.json"
IMPORT_SUFFIX = ".import.json"
MEASUREMENT_SUFFIX = ".latency.json"
_FOLDERS = {STUDY_SUFFIX: "studies", IMPORT_SUFFIX: "imports", MEASUREMENT_SUFFIX: "latencies"}
T = TypeVar("T")
log = logging.getLogger("scalelab.store")


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

    def write(self, record: Record, *, durable: bool = True) -> None:
        """Keeps a record; returns quietly where one of that id is there already.

        Args:
            record: What an attempt produced.
            durable: Whether to wait until the disk has it; `False` only for copies of what is elsewhere.

        Raises:
            StoreError: It cannot be written, the disk being full among the reasons.
        """
        try:
            content = seal_record(record)
        except ValueError as error:
            raise StoreError(f"record {record.id} cannot be kept: {error}") from error
        if not self.has(record.id):
            self._put(f"{record.id}.json", content, durable=durable)

    def write_registration(self, registration: Registration) -> str:
        """Keeps what a study asks for; returns the registration's name, which starts with its time.

        Raises:
            StoreError: It cannot be written.
        """
        digest = registration_digest(
            registration.study, registration.text, [trial.id for trial in registration.trials]
        )
        name = f"{int(registration.registered_at * 1e6):017d}-{digest}"
        try:
            content = seal_registration(registration)
        except ValueError as error:
            raise StoreError(f"study {registration.study!r} cannot be kept: {error}") from error
        self._put(f"{name}{STUDY_SUFFIX}", content, durable=True)
        return name

    def write_import(self, table: ImportedTable) -> Path:
        """Keeps an imported table; returns its file, whose name has the time, a digest and the table's name.

        Raises:
            StoreError: It cannot be written.
        """
        head = table.head
        name = f"{int(head.imported_at * 1e6):017d}-{table.digest}-{head.study}{IMPORT_SUFFIX}"
        self._put(name, seal_import(table), durable=True)
        return self.new / name

    def write_measurement(self, measurement: Measurement) -> None:
        """Keeps a measurement; returns quietly where one of that id is there already.

        Raises:
            StoreError: It cannot be written.
        """
        if self.has_measurement(measurement.id):
            return
        try:
            content = seal_measurement(measurement)
        except ValueError as error:
            raise StoreError(f"measurement {measurement.id} cannot be kept: {error}") from error
        self._put(f"{measurement.id}{MEASUREMENT_SUFFIX}", content, durable=True)

    def _put(self, name: str, content: bytes, *, durable: bool) -> None:
        with writing(self.new):
            try:
                put_new(self.new / name, content, self._scratch, durable=durable)
            except FileNotFoundError:
                self.new.mkdir(parents=True, exist_ok=True)
                self._scratch.mkdir(parents=True, exist_ok=True)
                sync_folder(self.folder)
                sync_folder(self.folder.parent)
                put_new(self.new / name, content, self._scratch, durable=durable)

    def has(self, record_id: str) -> bool:
        """Whether a record of that id is in the journal."""
        return self._has(f"{record_id}.json")

    def has_measurement(self, measurement_id: str) -> bool:
        """Whether a measurement of that id is in the journal."""
        return self._has(f"{measurement_id}{MEASUREMENT_SUFFIX}")

    def _has(self, name: str) -> bool:
        return os.path.exists(self._home(name)) or os.path.exists(self.new / name)

    def read(self, record_id: str) -> Record:
        """Returns a record.

        Raises:
            StoreError: There is none of that id, or its file is torn.
        """
        name = f"{record_id}.json"
        for path in (self.new / name, self._home(name), self.new / name):
            try:
                return open_record(path.read_bytes()).to_record()
            except FileNotFoundError:
                continue
            except ValueError as error:
                raise StoreError(f"{path} cannot be read: {error}") from error
        raise StoreError(f"the journal {self.folder} has no record {record_id}")

    def _home(self, name: str) -> Path:
        own = next((folder for suffix, folder in _FOLDERS.items() if name.endswith(suffix)), name[:2])
        return self.kept / own / name

    def pending(self) -> list[Path]:
        """Returns the records that the database has not taken in, by name."""
        return [path for path in _files(self.new) if not path.name.endswith(tuple(_FOLDERS))]

    def pending_registrations(self) -> list[Path]:
        """Returns the registrations that the database has not taken in, oldest first."""
        return [path for path in _files(self.new) if path.name.endswith(STUDY_SUFFIX)]

    def pending_imports(self) -> list[Path]:
        """Returns the imported tables that the database has not taken in, oldest first."""
        return _files(self.new, IMPORT_SUFFIX)

    def pending_measurements(self) -> list[Path]:
        """Returns the measurements that the database has not taken in, by name."""
        return _files(self.new, MEASUREMENT_SUFFIX)

    def kept_measurements(self) -> list[Path]:
        """Returns the measurements that the database has taken in, by name."""
        return _files(self.kept / "latencies", MEASUREMENT_SUFFIX)

    def kept_records(self) -> Iterator[Path]:
        """Yields the records that the database has taken in."""
        for folder in _files(self.kept, suffix=""):
            if len(folder.name) == 2:
                yield from _files(folder)

    def registrations(self) -> list[Path]:
        """Returns all registrations, oldest first."""
        paths = [*_files(self.kept / "studies"), *self.pending_registrations()]
        return sorted(paths, key=lambda path: path.name)

    def imports(self) -> list[Path]:
        """Returns all imported tables, oldest first, earlier versions of one name among them."""
        return sorted([*self.kept_imports(), *self.pending_imports()], key=lambda path: path.name)

    def kept_imports(self) -> list[Path]:
        """Returns the imported tables that the database has taken in, oldest first."""
        return _files(self.kept / "imports", IMPORT_SUFFIX)

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it that a database could be made from."""
        whole = (
            self.registrations() or self.imports() or self.pending_measurements() or self.kept_measurements()
        )
        return not (whole or self.pending() or any(self.kept_records()))

    def open_record(self, path: Path) -> Entry | None:
        """Reads a file of the journal; a torn one is quarantined with a warning and gives `None`."""
        try:
            with reading(path):
                entry = open_record(path.read_bytes())
            if path.name != f"{entry.id}.json":
                raise TornError(f"it holds record {entry.id}")
        except FileNotFoundError:
            # Another process took it in just now.
            return None
        except ValueError as error:
            self.set_aside(path, str(error))
            return None
        return entry

    def open_registration(self, path: Path) -> Registration | None:
        """Reads a registration; a torn one is quarantined with a warning and gives `None`."""
        return self._open(path, open_registration)

    def open_import(self, path: Path) -> ImportedTable | None:
        """Reads an imported table; a torn one is quarantined with a warning and gives `None`."""
        return self._open(path, open_import)

    def open_measurement(self, path: Path) -> MeasurementEntry | None:
        """Reads a measurement; a torn one is quarantined with a warning and gives `None`."""
        return self._open(path, open_measurement)

    def _open(self, path: Path, opener: Callable[[bytes], T]) -> T | None:
        try:
            with reading(path):
                return opener(path.read_bytes())
        except FileNotFoundError:
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
                    home.parent.mkdir(parents=True, exist_ok=True)
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
            folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{trial_id}.pt"

    def weights(self, trial_id: str) -> Path:
        """Returns where a trial's trained weights are, if they were kept."""
        return self.folder / "weights" / f"{trial_id}.pt"

    def write_log(self, name: str, text: str) -> Path:
        """Keeps a text such as a traceback in `logs` and returns its file.

        Raises:
            StoreError: It cannot be written.
        """
        path = self.folder / "logs" / f"{name}.txt"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return path

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


def registration_digest(study: str, text: str, trial_ids: list[str]) -> str:
    """Returns a digest that changes when a study, its text or its trials do."""
    return hashlib.sha256("\0".join([study, text, *trial_ids]).encode()).hexdigest()[:16]


def _files(folder: Path, suffix: str = ".json") -> list[Path]:
    try:
        with reading(folder), os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(suffix))
    except FileNotFoundError:
        return []
    return [folder / name for name in names]
