"""Opening the database: briefly, with bounded patience, and with one clear line when it cannot be opened.

DuckDB lets in one writing process or many reading ones. Nobody here keeps a connection: every operation
opens, does its work, commits and closes, and retries with growing, jittered pauses while another process has
it. Writers also hold `write.lock` in the journal's folder, which a rebuild holds while it swaps the file.
"""

from __future__ import annotations

import importlib
import os
import random
import re
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.errors import (
    StoreDamagedError,
    StoreError,
    StoreLockedError,
    StoreNewerError,
    is_disk_full,
)
from scalelab.permissions import make_folder, share
from scalelab.regular_files import NotRegularError, open_regular
from scalelab.store import schema
from scalelab.store.files import disk_full, locked, sync_folder, writing
from scalelab.store.journal import Journal

if TYPE_CHECKING:
    import duckdb

# What a query can then reach: no file but the database, no network, no extension, and no setting.
CONFINED = {**schema.CONFIG, "enable_external_access": False, "lock_configuration": True}
# Any DuckDB that scalelab accepts can read this layout; 2.0 would write one that only itself can read.
STORAGE = "v1.2.0"
FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.5
# The first is said of other processes, the others of connections in this one, open or just closing.
_LOCKED = (
    "Could not set lock on file",
    "different configuration than existing connections",
    "Unique file handle conflict",
)
_EXPLAINED: tuple[tuple[tuple[str, ...], type[StoreError], str], ...] = (
    (("File too large",), StoreError,
     "the store {path} cannot be written: it would be larger than files may be (ulimit -f)"),
    (("Permission denied", "Read-only file system"), StoreError,
     "the store {path} cannot be opened: permission denied; make it readable and writable"),
    (("we can only read version",), StoreNewerError,
     "the store {path} was written by a newer DuckDB; run: pip install -U duckdb scalelab"),
    (("Out of Memory",), StoreError, "the store {path} needs more memory than is available: {text}"),
)  # fmt: skip
_BROKEN_FILE = ("corrupt", "checksum", "not a valid duckdb", "replaying wal", "could not read")


class Database:
    """The DuckDB file of a store; every `read` and `write` is a connection of its own.

    Args:
        journal: The store's journal; the file is named by its folder.
        path: The file.
        wait: Seconds to wait for other processes.

    Attributes:
        compared: The file's `state` when it was last seen to have what the journal gave it.
    """

    def __init__(self, path: Path, journal: Journal, wait: float) -> None:
        self.path = path
        self.journal = journal
        self.wait = wait
        self.compared: tuple[int, ...] | None = None

    @contextmanager
    def read(
        self, wait: float | None = None, *, confined: bool = False
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Opens for reading; the file and its WAL are not changed.

        Args:
            wait: Seconds to wait for other processes; by default the store's.
            confined: Whether a query can reach nothing but this file.

        Raises:
            StoreError: It is missing, locked for too long, damaged, or of another schema.
        """
        self.require()
        opened = open_file(self.path, True, self._deadline(wait), name=self.path, confined=confined)
        with opened as connection:
            schema.verify(connection, self.path, writing=False)
            yield connection

    @contextmanager
    def current(self, wait: float | None = None) -> Iterator[duckdb.DuckDBPyConnection | None]:
        """Opens for reading like `read`; gives `None` where the schema is an older one."""
        self.require()
        with open_file(self.path, True, self._deadline(wait), name=self.path) as connection:
            version = schema.verify(connection, self.path, writing=True)
            yield connection if version == schema.VERSION else None

    @contextmanager
    def write(self, wait: float | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Opens for writing, alone, and brings an older schema up to date.

        Raises:
            StoreError: As for `read`, and where the file cannot be written.
        """
        with self.alone(wait), self.opened(wait) as connection:
            yield connection

    @contextmanager
    def opened(self, wait: float | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Opens for writing like `write`, for who is `alone` already."""
        self.require()
        with open_file(self.path, False, self._deadline(wait), name=self.path) as connection:
            # Nobody else has the file open: what DuckDB had no memory for in here is a killed process's.
            shutil.rmtree(f"{self.path}.tmp", ignore_errors=True)
            schema.verify(connection, self.path, writing=True)
            schema.migrate(connection)
            yield connection

    def version(self, wait: float | None = None) -> int:
        """Returns the schema's version, which may be an older one.

        Raises:
            StoreError: It is missing, locked for too long, damaged, or newer.
        """
        self.require()
        with open_file(self.path, True, self._deadline(wait), name=self.path) as connection:
            return schema.verify(connection, self.path, writing=True)

    @contextmanager
    def alone(self, wait: float | None = None) -> Iterator[None]:
        """Keeps other writers out; may not be nested.

        Raises:
            StoreLockedError: Another writer holds the lock for too long.
            StoreError: The journal's folder cannot be written.
        """
        patience = self.wait if wait is None else wait
        refusal = (
            f"another process has been writing to the store {self.path} for {patience:g} s; "
            "wait for it to end, then run again"
        )
        with locked(self.journal.folder / "write.lock", patience, refusal):
            yield

    def state(self) -> tuple[int, ...] | None:
        """Returns what changes when the file is written or replaced; `None` where it is missing."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def require(self) -> None:
        """Says clearly why the file cannot be a store, before DuckDB looks at it.

        Raises:
            StoreError: It is missing, a folder, or not a DuckDB file.
        """
        try:
            with open_regular(self.path) as file:
                head = file.read(16)
        except FileNotFoundError as error:
            if self.journal.folder.is_dir() and (self.journal.kept.is_dir() or self.journal.new.is_dir()):
                raise StoreError(
                    f"the store {self.path} is missing, but its journal exists: "
                    f"{rebuild_command(self.path)} rebuilds it"
                ) from error
            raise StoreError(
                f"there is no store {self.path}; `scalelab run` makes one, --store names another"
            ) from error
        except NotRegularError as error:
            what = str(error.strerror).removeprefix("it ").removesuffix(", not a file")
            raise StoreError(f"{self.path} {what}; --store wants a file") from error
        except OSError as error:
            raise StoreError(f"the store {self.path} cannot be read: {error.strerror or error}") from error
        if head[8:12] != b"DUCK":
            raise StoreDamagedError(
                f"{self.path} is not a DuckDB file; if it was a store, {rebuild_command(self.path)} "
                "rebuilds it from its journal"
            )

    def create(self) -> None:
        """Makes an empty store, unless one appears meanwhile.

        Raises:
            StoreError: It cannot be written.
        """
        with writing(self.path.parent):
            make_folder(self.path.parent)
        with self.alone():
            if self.path.exists():
                return
            with self.fresh() as part, writing(self.path):
                part.rename(self.path)
                sync_folder(self.path.parent)

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """Makes an empty database beside the store; removed at the end unless it was renamed."""
        part = self.path.with_name(f"{self.path.name}.new-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            with open_file(part, False, time.monotonic(), create=True, name=self.path) as connection:
                schema.migrate(connection)
            share(part)
            yield part
        finally:
            part.unlink(missing_ok=True)
            Path(f"{part}.wal").unlink(missing_ok=True)

    def _deadline(self, wait: float | None) -> float:
        return time.monotonic() + (self.wait if wait is None else wait)


@contextmanager
def open_file(
    path: Path,
    read_only: bool,
    deadline: float,
    *,
    name: Path,
    create: bool = False,
    confined: bool = False,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a DuckDB file, retrying until the deadline while others hold it.

    Args:
        path: The file.
        read_only: Whether others may read at the same time and nothing may change.
        deadline: Of `time.monotonic`.
        name: What error messages call it.
        create: Whether to make it, in a layout that older DuckDB versions read too.
        confined: Whether a query can reach nothing but this file.

    Raises:
        StoreError: It cannot be opened, or what is done with it fails in DuckDB.
    """
    load_duckdb()
    import duckdb

    config = CONFINED if confined else schema.CONFIG
    if create:
        config = {**config, "storage_compatibility_version": STORAGE}
    pause = FIRST_PAUSE
    while True:
        try:
            connection = duckdb.connect(str(path), read_only=read_only, config=config)
            break
        except duckdb.Error as error:
            left = deadline - time.monotonic()
            if not is_locked(error) or left <= 0:
                raise explain(error, name) from error
            time.sleep(min(random.uniform(pause / 2, pause), left))
            pause = min(pause * 1.7, LONGEST_PAUSE)
    try:
        yield connection
    except (duckdb.InterruptException, RuntimeError) as error:
        # DuckDB's way to say that Ctrl-C stopped a query.
        if "interrupt" in str(error).lower():
            raise KeyboardInterrupt from error
        raise
    except duckdb.Error as error:
        raise explain(error, name) from error
    finally:
        connection.close()


def load_duckdb() -> None:
    """Imports DuckDB where it is not yet; a Ctrl-C meanwhile comes afterwards.

    DuckDB cannot be interrupted while it initializes: it prints a traceback of its own and stays unusable.
    """
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if "duckdb" in sys.modules or not main or before is None:
        return
    came: list[int] = []
    # Blocking the signal is not enough: it would come by way of another thread, such as one of BLAS.
    signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        importlib.import_module("duckdb")
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def is_locked(error: duckdb.Error) -> bool:
    """Whether an error of DuckDB says that another process has the file open."""
    return any(sign in str(error) for sign in _LOCKED)


def explain(error: duckdb.Error, path: Path) -> StoreError:
    """Turns an error of DuckDB into one that says what happened to the store and what to do."""
    import duckdb

    text = " ".join(str(error).split())
    if is_locked(error):
        holder = re.search(r"held in (\S+) \(PID (\d+)\)", text)
        who = f"process {holder[2]} ({Path(holder[1]).name})" if holder else "a connection in this process"
        return StoreLockedError(f"the store {path} is held by {who}; wait for it to end, then run again")
    if is_disk_full(error):
        return StoreError(disk_full(f"the store {path}"))
    for signs, kind, says in _EXPLAINED:
        if any(sign in text for sign in signs):
            return kind(says.format(path=path, text=text[:200]))
    passing = (duckdb.IOException, duckdb.TransactionException)
    if isinstance(error, passing) and not any(sign in text.lower() for sign in _BROKEN_FILE):
        return StoreError(f"the store {path} cannot be used now: {text[:200]}; fix that and run again")
    return StoreDamagedError(
        f"the store {path} cannot be read ({text[:200]}); {rebuild_command(path)} rebuilds it from its "
        "journal and sets the damaged file aside"
    )


def rebuild_command(path: Path) -> str:
    """Returns the command that makes a store again."""
    return f"`scalelab store rebuild --store {path}`"
