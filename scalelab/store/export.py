"""Parquet out: the views and tables that people analyze, one file each."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from scalelab.errors import InputError, is_disk_full
from scalelab.regular_files import expanded
from scalelab.store.anonymous import anonymous
from scalelab.store.connection import Database
from scalelab.store.questions import require_study
from scalelab.store.schema import literal

if TYPE_CHECKING:
    import duckdb

EXPORTED = ("runs", "curves", "trials", "studies", "latencies", "predictions")


def export(
    database: Database, folder: Path, study: str | None = None, *, without_names: bool = False
) -> list[Path]:
    """Writes the tables of `EXPORTED` as Parquet files; files of those names are replaced.

    Args:
        database: Of the store.
        folder: Where to; made where it is missing.
        study: Only this study.
        without_names: Whether to leave out hosts, users and paths; see `scalelab.store.anonymous`.

    Returns:
        The files, `runs.parquet` first.

    Raises:
        InputError: The folder cannot be written, or there is no such study.
        StoreError: The store cannot be read.
    """
    folder = expanded(folder)
    names = {name: f"{name}.parquet" for name in EXPORTED}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".export-", ignore_cleanup_errors=True) as scratch:
            with database.read() as connection:
                if study is not None:
                    require_study(connection, study, database.path)
                hidden = anonymous(connection) if without_names else None
                for name, file in names.items():
                    columns = hidden.select(connection, name) if hidden else "*"
                    _copy(
                        connection, f"select {columns} from {name}{_only(name, study)}", Path(scratch, file)
                    )
            return [Path(scratch, file).replace(folder / file) for file in names.values()]
    except OSError as error:
        why = "disk full" if is_disk_full(error) else error.strerror or error
        raise InputError(f"the folder {folder} cannot be written: {why}; choose another one") from error


def _copy(connection: duckdb.DuckDBPyConnection, query: str, part: Path) -> None:
    import duckdb

    try:
        connection.execute(f"copy ({query}) to {literal(str(part))} (format parquet, compression zstd)")
    except duckdb.IOException as error:
        if str(part) not in str(error):
            raise
        raise OSError(str(error).splitlines()[0]) from error


def _only(name: str, study: str | None) -> str:
    if study is None:
        return ""
    if name == "trials":
        return f" where trial_id in (select trial_id from study_trials where study = {literal(study)})"
    if name == "predictions":
        return f" where list_contains(studies->>'$[*]', {literal(study)})"
    return f" where study = {literal(study)}"
