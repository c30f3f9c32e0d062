"""The store: every method opens the database, does its work, commits and closes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace as replaced
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.errors import InputError, suggest
from scalelab.records import Trial
from scalelab.store import imports, leftovers, registrations, schema, tally
from scalelab.store.claims import Claim, Claims
from scalelab.store.connection import Database
from scalelab.store.fleet import ClusterRun, cluster_runs
from scalelab.store.imports import ImportedTable
from scalelab.store.journal import Journal, resolve
from scalelab.store.kind import later, told_time
from scalelab.store.kinds import IMPORTS, PREDICTIONS, REGISTRATIONS
from scalelab.store.questions import Questions
from scalelab.store.registrations import Registration
from scalelab.store.updates import updated

if TYPE_CHECKING:
    import duckdb

    from scalelab.predictions import RegisteredPrediction
    from scalelab.store.check import CheckReport
    from scalelab.store.drop import Dropped
    from scalelab.store.mapping import Import
    from scalelab.store.merge import MergeReport
    from scalelab.store.other import Other
    from scalelab.store.rebuild import RebuildReport

WAIT = 30.0


class Store(Questions):
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

    def register(
        self,
        study: str,
        text: str,
        trials: Sequence[Trial],
        *,
        precision: str | None = None,
        tuned: Mapping[str, str] | None = None,
        refitted: Sequence[str] = (),
    ) -> None:
        """Notes what a study asks for; nothing happens where that is what it asked for last.

        Args:
            study: The study's name.
            text: The study file.
            trials: The trials that it asks for, in order.
            precision: What trials of precision `"auto"` are trained in; what was noted first holds.
            tuned: By trial the option of its optimizer that a sweep of the study varies.
            refitted: The trials of the best design, trained again.

        Raises:
            InputError: An imported table has that name.
            StoreError: The journal or the database cannot be written.
        """
        with self.database.read() as connection:
            self._refuse_imported(connection, study)
            last = REGISTRATIONS.last_of(connection, study)
        waiting = (path.name for path in self.journal.pending(REGISTRATIONS))
        registration = Registration(
            study=study,
            text=text,
            registered_at=later([last, *waiting]),
            trials=tuple(trials),
            precision=precision,
            tuned=dict(tuned or {}),
            refitted=tuple(refitted),
        )
        if last is None or not last.endswith(registration.digest):
            self.journal.write(registration)
            self.ingest()

    def refuse_imported(self, study: str) -> None:
        """Makes sure that no imported table has the name of a study.

        Raises:
            InputError: One has.
            StoreError: The database cannot be read.
        """
        with self.database.read() as connection:
            self._refuse_imported(connection, study)

    def _refuse_imported(self, connection: duckdb.DuckDBPyConnection, study: str) -> None:
        if IMPORTS.last_of(connection, study) is not None:
            raise InputError(
                f"{self.path} has an imported table of the name {study!r}; give the study another name"
            )

    def take_import(self, read: Import, *, replace: bool = False) -> Import:
        """Takes a foreign table, which `scalelab.store.mapping.read_runs` read, as runs of a study.

        Nothing happens where the store holds the same runs under that name already. Runs of the same source
        that their tracker tells apart are brought up to date.

        Args:
            read: The table.
            replace: Whether to replace what was imported under that name before.

        Returns:
            The same, and the outcome of it.

        Raises:
            InputError: The name is taken; nothing was changed.
            StoreError: The store cannot be written.
        """
        self.ingest()
        study, table = read.study, read.table
        with self.database.write() as connection:
            if registrations.ran(connection, study):
                raise InputError(
                    f"{self.path} has a study {study!r} that was run, not imported; "
                    "give the table another name with --study"
                )
            last = IMPORTS.last_of(connection, study)
            if last is not None and imports.parts(last)[1] == table.digest:
                return replaced(read, outcome="unchanged")
            update = None if last is None or replace else updated(connection, read)
            if last is not None and not replace and update is None:
                raise InputError(
                    f"{self.path} has other runs under the name {study!r}; replace them with "
                    "--replace, or give these another name with --study"
                )
            if update is not None:
                table, counts, kept = update
                notes = (*read.notes, *([] if kept is None else [kept]))
                read = replaced(read, counts=counts, notes=notes, outcome="updated")
                if not counts["new"] and not counts["changed"]:
                    return replaced(read, outcome="unchanged")
            self._put(connection, table.after(last))
        return read if update is not None else replaced(read, outcome="replaced" if last else "imported")

    def remove_import(self, study: str) -> int:
        """Takes an imported table out of the store again; its files stay in the journal.

        Returns:
            How many runs it had.

        Raises:
            InputError: No imported table has that name.
            StoreError: The store cannot be written.
        """
        self.ingest()
        with self.database.write() as connection:
            there = imports.sizes(connection)
            if study not in there:
                hint = f"{suggest(study, there)} (there are: {', '.join(there) or 'none'})"
                raise InputError(f"{self.path} has no imported table {study!r}{hint}")
            last = IMPORTS.last_of(connection, study)
            self._put(connection, imports.nothing(study).after(last))
        return there[study]

    def _put(self, connection: duckdb.DuckDBPyConnection, table: ImportedTable) -> None:
        """Takes an imported table into journal and database, which commits it before its file is kept."""
        self.journal.write(table)
        IMPORTS.insert(connection, {IMPORTS.name_of(table): table})
        tally.note(connection, self.journal)
        self.journal.keep([self.journal.place(table)])

    def register_predictions(
        self, predictions: Sequence[RegisteredPrediction]
    ) -> tuple[RegisteredPrediction, ...]:
        """Registers predictions, now; what is wrong with one is said before any is written.

        Args:
            predictions: What is said.

        Returns:
            The same with their time, which is later than that of all before them.

        Raises:
            InputError: One is registered already.
            StoreError: The store cannot be read or written.
        """
        self.ingest()
        with self.database.write() as connection:
            held = sorted(PREDICTIONS.held(connection), reverse=True)
            known = {name.partition("-")[2]: name for name in held}
            for one in predictions:
                if one.id in known:
                    raise InputError(
                        f"prediction {one.id} is registered already, since {told_time(known[one.id])}, and "
                        f"nothing was written; scalelab verdicts --store {self.path} shows it"
                    )
            made: dict[str, RegisteredPrediction] = {}
            for one in predictions:
                dated = one.model_copy(update={"registered_at": later([*held[:1], *made])})
                made[PREDICTIONS.name_of(dated)] = dated
            for dated in made.values():
                self.journal.write(dated)
            PREDICTIONS.insert(connection, made)
            tally.note(connection, self.journal)
            self.journal.keep([self.journal.place(one) for one in made.values()])
        return tuple(made.values())

    def cluster_runs(self) -> list[ClusterRun]:
        """Returns the runs on clusters that have not ended: their machines, and what waits for them."""
        return cluster_runs(self.journal, self.claims.now())

    def check(self) -> CheckReport:
        """Reads all of the store and compares it with its journal; changes nothing.

        Raises:
            StoreError: It is missing, locked for too long, or of another schema. Damage is in the report.
        """
        from scalelab.store.check import check

        return check(self.database, self.claims)

    def rebuild(self) -> RebuildReport:
        """Rebuilds the database from the journal, after salvaging what only the database holds.

        The old file and its WAL go into the journal's quarantine.

        Raises:
            StoreError: There is nothing to rebuild from, or it cannot be done now; nothing was changed.
        """
        from scalelab.store.rebuild import rebuild

        return rebuild(self.database, self.wait)

    def merge(self, other: Other | Path | str, *, replace: bool = False) -> MergeReport:
        """Takes over what another store holds, each content once; the other one is not changed.

        Args:
            other: The other store's file, or what was read of it.
            replace: Whether of two different imported tables of one name the one imported last may hold.

        Raises:
            InputError: It is this store, no file, or a name means different things in both; nothing was
                changed.
            StoreError: One of the two cannot be read or written.
        """
        from scalelab.store.merge import merge

        return merge(self, other, replace=replace)

    def drop(self, study: str, *, dry_run: bool = False) -> Dropped:
        """Takes a study out of the store: what only it has, in the database and in the journal.

        Trials that another study has, too, stay. After a kill half way the study is still there; dropping it
        again completes that.

        Args:
            study: The study's name.
            dry_run: Whether to say only what would go.

        Raises:
            InputError: There is no such study, or it is an imported table.
            StoreLockedError: A run of it is going on.
            StoreError: The store cannot be read or written.
        """
        from scalelab.store.drop import drop

        return drop(self.database, self.claims, study, dry_run=dry_run)

    def migrate(self) -> tuple[int, int]:
        """Brings the database to this scalelab's schema; returns the version before and after.

        Raises:
            StoreError: It cannot be opened for writing, or a newer scalelab wrote it.
        """
        before = self.database.version()
        with self.database.write():
            return before, schema.VERSION

    def export(self, folder: Path | str, study: str | None = None, *, anonymous: bool = False) -> list[Path]:
        """Writes runs, curves, trials, studies, latencies and predictions as Parquet files.

        Args:
            folder: Where to; made where it is missing.
            study: Only this study.
            anonymous: Whether to leave out hosts, users and paths.

        Raises:
            InputError: The folder cannot be written, or there is no such study.
            StoreError: The store cannot be read.
        """
        from scalelab.store.export import export

        if not str(folder).strip():
            raise InputError("the folder to export to has no name; give one, or . for this folder")
        return export(self.database, Path(folder), study, without_names=anonymous)

    def _settle(self, claim: Claim) -> None:
        """Records an attempt whose processes are gone as interrupted."""
        there = self.outcomes([claim.trial_id]).get(claim.trial_id)
        trial = self.trial(claim.trial_id) or self.journal.logged(claim.trial_id)
        if trial is not None and (there is None or there.attempts < claim.attempt):
            facts = self.journal.reported(trial)
            self.journal.settle(claim.record(trial, "interrupted", "its process has ended", **facts))


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
    if create and leftovers.built(store.database):
        with store.database.alone():
            leftovers.tidy(store.database)
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
