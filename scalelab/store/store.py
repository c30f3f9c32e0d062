"""The store: every method opens the database, does its work, commits and closes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import InputError
from scalelab.records import Direction, Measurement, Record, Trial
from scalelab.store import queries, schema
from scalelab.store.claims import Claim, Claims
from scalelab.store.connection import Database
from scalelab.store.envelope import Registration
from scalelab.store.journal import Journal, registration_digest, resolve
from scalelab.store.queries import Outcome, StudySummary

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from scalelab.store.check import CheckReport
    from scalelab.store.latencies import Tried
    from scalelab.store.mapping import Import
    from scalelab.store.rebuild import RebuildReport

WAIT = 30.0


class Store:
    """Every run that was ever made: a DuckDB file and, beside it, the journal that it is made from.

    Holds no connection, so that any number of readers and one writer at a time share the file; each method
    waits up to `wait` seconds for the others. May be used from several threads and processes at once.
    Reading never changes the file.

    Args:
        path: The store's file. Nothing is opened here; see `open_store`.
        wait: Seconds to wait for other processes.
    """

    def __init__(self, path: Path | str, *, wait: float = WAIT) -> None:
        self.path = resolve(path)
        self.wait = wait
        self.journal = Journal(self.path)
        self.database = Database(self.path, self.journal, wait)
        self.claims = Claims(self.journal, self._settle)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def ingest(self, wait: float | None = None) -> int:
        """Takes the journal's pending records into the database.

        Args:
            wait: Seconds to wait for other processes; by default the store's.

        Returns:
            How many records the database did not have before.

        Raises:
            StoreLockedError: Somebody uses the database for too long; the records stay pending.
            StoreError: The database cannot be written.
        """
        from scalelab.store.ingest import ingest

        return ingest(self.database, wait)

    def register(self, study: str, text: str, trials: Sequence[Trial]) -> None:
        """Notes what a study asks for; nothing happens where that is what it asked for last.

        Args:
            study: The study's name.
            text: The study file.
            trials: The trials that it asks for, in order.

        Raises:
            InputError: An imported table has that name.
            StoreError: The journal or the database cannot be written.
        """
        digest = registration_digest(study, text, [trial.id for trial in trials])
        with self.database.read() as connection:
            if queries.imported(connection, study) is not None:
                raise InputError(
                    f"{self.path} has an imported table of the name {study!r}; give the study another name"
                )
            last = schema.one(
                connection.execute("select max(registration) from studies where study = ?", [study])
            )
        if last is not None and str(last).endswith(digest):
            return
        self.journal.write_registration(
            Registration(study=study, text=text, registered_at=time.time(), trials=tuple(trials))
        )
        self.ingest()

    def import_runs(
        self,
        table: pd.DataFrame | Path | str,
        *,
        study: str | None = None,
        map: Mapping[str, str] | None = None,
        only: str | None = None,
        metric: str | None = None,
        direction: Direction | None = None,
        rest: str = "feature",
        replace: bool = False,
    ) -> Import:
        """Takes runs that were made elsewhere into the store, so that they can be analyzed like its own.

        Nothing happens where the store holds the same runs under that name already.

        Args:
            table: A DataFrame, or a CSV, Parquet or JSON-lines file.
            study: The name to analyze them by; by default the file's.
            map: By column of `runs`, an SQL expression over the table's columns. What is named plainly
                (`scalelab.store.mapping.KNOWN_AS`) need not be mapped.
            only: An SQL condition: which rows to take.
            metric: Name of the objective, where that is another one than the loss; its value is the column
                of that name, unless `objective` is mapped.
            direction: `"minimize"` or `"maximize"`; said with `metric`.
            rest: What columns that were not mapped are: `feature` (a fact), or `architecture`,
                `optimizer`, `training` or `dataset` (options of the design).
            replace: Whether to replace what was imported under that name before.

        Returns:
            What was mapped, taken and left out.

        Raises:
            InputError: The table or an expression is wrong, or the name is taken; nothing was changed.
            StoreError: The store cannot be written.
        """
        from scalelab.store.mapping import Wanted, read_runs

        wanted = Wanted(study, dict(map or {}), only, metric, direction, rest)
        return self.take_import(read_runs(table, wanted), replace=replace)

    def take_import(self, read: Import, *, replace: bool = False) -> Import:
        """Takes a foreign table that was read already; see `import_runs`.

        Raises:
            InputError: The name is taken; nothing was changed.
            StoreError: The store cannot be written.
        """
        from scalelab.store.imports import import_table

        self.ingest()
        return import_table(self.database, read, replace=replace)

    def remove_import(self, study: str) -> int:
        """Takes an imported table out of the store again; its files stay in the journal.

        Returns:
            How many runs it had.

        Raises:
            InputError: No imported table has that name.
            StoreError: The store cannot be written.
        """
        from scalelab.store.imports import remove_import

        self.ingest()
        return remove_import(self.database, study)

    def outcomes(self, trial_ids: Iterable[str] | None = None) -> dict[str, Outcome]:
        """Returns how far trials have come, by id; those without a record are left out.

        Args:
            trial_ids: The trials; by default all.

        Raises:
            StoreError: The store cannot be read.
        """
        with self.database.read() as connection:
            return queries.outcomes(connection, trial_ids)

    def studies(self) -> list[StudySummary]:
        """Returns how far the studies have come, by name.

        Raises:
            StoreError: The store cannot be read.
        """
        running = {claim.trial_id for claim in self.claims.live()}
        with self.database.read() as connection:
            return queries.studies(connection, running)

    def runs(self, study: str | None = None) -> pd.DataFrame:
        """Returns a row for each attempted trial of a study, or of all studies: the view `runs`.

        Raises:
            InputError: There is no such study.
            StoreError: The store cannot be read.
        """
        with self.database.read() as connection:
            if study is not None:
                queries.require_study(connection, study, self.path)
            return queries.runs(connection, study)

    def curves(self, study: str | None = None, trial_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """Returns a row for each validation of the runs: the view `curves`.

        Args:
            study: Only this study.
            trial_ids: Only these trials.

        Raises:
            InputError: There is no such study.
            StoreError: The store cannot be read.
        """
        with self.database.read() as connection:
            if study is not None:
                queries.require_study(connection, study, self.path)
            return queries.curves(connection, study, trial_ids)

    def measure(self, measurement: Measurement) -> None:
        """Keeps a measurement in the journal; `ingest` takes it into the database.

        Raises:
            StoreError: The journal cannot be written.
        """
        self.journal.write_measurement(measurement)

    def tried(self, benchmark_ids: Iterable[str]) -> dict[str, Tried]:
        """Returns how far benchmarks have come, by id; those that were never attempted are left out.

        Raises:
            StoreError: The store cannot be read.
        """
        from scalelab.store import latencies

        with self.database.read() as connection:
            return latencies.tried(connection, benchmark_ids)

    def latencies(self, study: str | None = None, benchmark_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """Returns a row for each benchmark that was attempted: the view `latencies`.

        Args:
            study: Only those that were made for this study.
            benchmark_ids: Only these.

        Raises:
            StoreError: The store cannot be read.
        """
        from scalelab.store import latencies

        with self.database.read() as connection:
            return latencies.latencies(connection, study, benchmark_ids)

    def sql(self, query: str) -> pd.DataFrame:
        """Returns the result of a query; the database is open for reading only.

        Raises:
            InputError: The query is wrong, or would change the store.
            StoreError: The store cannot be read.
        """
        with self.database.read() as connection, self._asked():
            return queries.frame(_result(connection, query))

    def rows(self, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Returns the result of a query as names of columns and rows, exactly and without pandas.

        Raises:
            InputError: The query is wrong, or would change the store.
            StoreError: The store cannot be read.
        """
        with self.database.read() as connection, self._asked():
            result = _result(connection, query)
            return [column[0] for column in result.description or []], result.fetchall()

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Tells what is wrong with a user's query from what is wrong with the store."""
        import duckdb

        try:
            yield
        except (duckdb.InterruptException, duckdb.FatalException, duckdb.InternalException):
            raise
        except duckdb.Error as error:
            if "corrupt" in str(error).lower() or str(self.path) in str(error):
                raise
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            shown = (
                lines[:2] if lines[1:2] and lines[1].startswith(("Candidate", "Did you mean")) else lines[:1]
            )
            raise InputError(f"the query cannot be run: {' '.join(shown)}") from error

    def check(self) -> CheckReport:
        """Reads all of the store and compares it with its journal; changes nothing.

        Raises:
            StoreError: It is missing, locked for too long, or of another schema. Damage is in the report.
        """
        from scalelab.store.check import check

        return check(self.database, self.claims)

    def rebuild(self) -> RebuildReport:
        """Makes the database again from the journal, after salvaging what only the database holds.

        The old file and its WAL go into the journal's quarantine.

        Raises:
            StoreError: There is nothing to rebuild from, or it cannot be done now; nothing was changed.
        """
        from scalelab.store.rebuild import rebuild

        return rebuild(self.database, self.wait)

    def migrate(self) -> tuple[int, int]:
        """Brings the database to this scalelab's schema; returns the version before and after.

        Raises:
            StoreError: It cannot be opened for writing, or a newer scalelab wrote it.
        """
        before = self.database.version()
        with self.database.write():
            return before, schema.VERSION

    def export(self, folder: Path | str, study: str | None = None) -> list[Path]:
        """Writes runs, curves, trials, studies and latencies as Parquet files.

        Args:
            folder: Where to; made where it is missing.
            study: Only this study.

        Raises:
            InputError: The folder cannot be written, or there is no such study.
            StoreError: The store cannot be read.
        """
        from scalelab.store.export import export

        return export(self.database, Path(folder), study)

    def _settle(self, claim: Claim) -> None:
        """Records an attempt whose processes are gone as interrupted."""
        with self.database.read() as connection:
            there = queries.outcomes(connection, [claim.trial_id]).get(claim.trial_id)
            if there is not None and there.attempts >= claim.attempt:
                return
            trial = queries.trial(connection, claim.trial_id)
        if trial is not None:
            self.journal.write(
                Record(
                    trial=trial,
                    study=claim.study,
                    attempt=claim.attempt,
                    status="interrupted",
                    error="its process is gone",
                    started_at=claim.started_at,
                    finished_at=time.time(),
                )
            )


def open_store(path: Store | Path | str, *, create: bool = False, wait: float = WAIT) -> Store:
    """Opens a store and makes sure that it can be read.

    Args:
        path: The store's file, such as `experiments.duckdb`; a store is returned as it is.
        create: Whether to make it where it is missing: empty, or from its journal where that is there.
        wait: Seconds that every operation waits for other processes.

    Raises:
        StoreError: It is missing, a folder, locked for too long, damaged, or of another schema.
    """
    if isinstance(path, Store):
        return path
    store = Store(path, wait=wait)
    if create and not store.path.exists():
        if store.journal.empty:
            store.database.create()
        else:
            store.rebuild()
    if create:
        if store.database.version() < schema.VERSION:
            store.migrate()
    else:
        with store.database.read():
            pass
    return store


def _result(connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyConnection:
    result: duckdb.DuckDBPyConnection | None = connection.execute(query)
    if result is None or result.description is None:
        raise InputError("the query is empty; give one such as: select * from runs limit 5")
    return result
