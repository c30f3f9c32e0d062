"""What is the same for every input of `fuzz.py`, done once in a child instead of once an input."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import Any

import duckdb

_connect = duckdb.connect
REAL = 4
"""One input of so many opens its databases as users do, each in an instance of DuckDB."""


class Attached:
    """A connection to a file that is attached to this process's one instance of DuckDB.

    An instance takes about 20 ms of a core to make, attaching 1, and an input opens its store twenty times.
    """

    allowed = False
    _instance: duckdb.DuckDBPyConnection | None = None

    def __init__(self, path: str, read_only: bool, layout: str | None) -> None:
        if Attached._instance is None:
            Attached._instance = _connect(":memory:")
        options = ["read_only"] * read_only + [f"storage_version '{layout}'"] * (layout is not None)
        quoted = path.replace("'", "''")
        self._connection = Attached._instance.cursor()
        self._connection.execute(f"attach '{quoted}' as opened ({', '.join(options)})".replace("()", ""))
        self._connection.execute("use opened")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def close(self) -> None:
        """Lets the file go; after an error that ends an instance, the next file gets another."""
        with contextlib.suppress(duckdb.Error):  # nothing was begun
            self._connection.rollback()
        try:
            self._connection.execute("use memory").execute("detach opened")
        except duckdb.Error:
            Attached._instance = None
        self._connection.close()


def connect(database: str = ":memory:", read_only: bool = False, config: dict[str, Any] | None = None) -> Any:
    """Opens a database like `duckdb.connect`, whose errors hold where a file cannot be attached."""
    config = config or {}
    if Attached.allowed and database != ":memory:" and config.get("enable_external_access", True):
        try:
            return Attached(database, read_only, config.get("storage_compatibility_version"))
        except duckdb.Error:
            pass
    return _connect(database, read_only=read_only, config=config)


def hurry() -> None:
    """Leaves out what takes long and does not depend on the input."""
    import typer.main

    from scalelab.errors import InputError
    from scalelab.execute import clock
    from scalelab.plugins import loader

    def not_timed(_: object) -> None:
        raise InputError("nothing is timed here")

    clock.time_jobs = not_timed  # two processes train for seconds
    typer.main.get_command = functools.cache(typer.main.get_command)
    found, load = tuple(loader._installed()), loader._load
    loaded = {info.origin: load(info, call) for info, call in found}
    loader._installed = lambda: iter(found)
    loader._load = lambda info, call: loaded.get(info.origin) or load(info, call)
    os.sync = lambda: None  # waits for all that the machine writes
    duckdb.connect = connect  # type: ignore[assignment]


def begin(case: int) -> None:
    """Makes ready for an input."""
    Attached.allowed = case % REAL != 0
