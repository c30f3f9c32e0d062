"""A study is taken out of a store, with all that only it has.

Files of the journal go first and rows of the database last, in one transaction: until then the database is
whole, so that after a kill the study is still there, and dropping it again completes that. What belongs to
trials that another study has, too, stays, and counts as made for that one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.errors import InputError, StoreLockedError, suggest
from scalelab.records import Record, canonical_json
from scalelab.store import tally
from scalelab.store.files import replace_whole, writing
from scalelab.store.fleet import cluster_runs
from scalelab.store.imports import sizes
from scalelab.store.ingest import ingest
from scalelab.store.journal import Journal
from scalelab.store.kind import Attempts, Kind, as_bytes
from scalelab.store.kinds import IMPORTS, MEASUREMENTS, RECORDS, REGISTRATIONS
from scalelab.store.schema import first_column, transaction

if TYPE_CHECKING:
    import duckdb

    from scalelab.measurements import Measurement
    from scalelab.store.claims import Claims
    from scalelab.store.connection import Database

_OWN = (
    "select trial_id from study_trials where study = $1 "
    "except select trial_id from study_trials where study <> $1"
)
_SHARED: dict[Attempts[Any, Any], str] = {
    RECORDS: """
select trial_id || '-' || attempt, min(m.study) from records r join study_trials m using (trial_id)
where r.study = $1 and m.study <> $1 group by all""",
    MEASUREMENTS: """
select measurement_id || '-' || attempt, min(m.study)
from measurements r join study_trials m on m.trial_id = json_extract_string(content, '$.benchmark.weights')
where r.study = $1 and m.study <> $1 group by all""",
}
"""What was recorded for a study, of trials that stay, with the study that it counts as made for then."""
_FILES = {
    "records": f"select trial_id || '-' || attempt from records where trial_id in ({_OWN})",
    "measurements": (
        "select measurement_id || '-' || attempt from measurements where study = $1 and "
        f"coalesce(json_extract_string(content, '$.benchmark.weights') in ({_OWN}), true)"
    ),
}
_PREDICTED = "select distinct prediction_id from predictions where list_contains(studies->>'$[*]', $1)"


@dataclass(frozen=True)
class Dropped:
    """What was taken out of a store, or would be.

    Attributes:
        study: The study.
        trials: Its trials that no other study has.
        shared: Its trials that another study has, too; they stay.
        records: Attempts at the former, with their curves.
        measurements: Measurements of its networks on hardware.
        files: Trained weights, checkpoints, what scripts reported, and logs.
        predictions: Registered predictions that were made from its runs; they stay, for what was said of
            runs that came counts only where nothing of it can be taken back.
    """

    study: str
    trials: int
    shared: int
    records: int
    measurements: int
    files: int
    predictions: int

    @property
    def counts(self) -> dict[str, int]:
        """What goes, by what it is called; without what is not."""
        found = {
            "trials": self.trials,
            "records": self.records,
            "measurements": self.measurements,
            "weights, checkpoints and logs": self.files,
        }
        return {what: count for what, count in found.items() if count}


def drop(database: Database, claims: Claims, study: str, *, dry_run: bool = False) -> Dropped:
    """Takes a study out of a store, with its records, curves, measurements, registrations and files.

    Args:
        database: The store's.
        claims: The store's.
        study: The study's name.
        dry_run: Whether to say only what would go.

    Raises:
        InputError: There is no such study, or it is an imported table.
        StoreLockedError: A run of it is going on.
        StoreError: The store cannot be read or written.
    """
    claims.reap()
    ingest(database)
    journal = database.journal
    with claims.alone():
        _refuse_running(journal, claims, study)
        with database.read() as connection:
            _refuse_unknown(connection, database.path, study)
            going = _Going.of(connection, journal, study)
        if dry_run:
            return going.counted
        for path in going.files:
            with writing(path):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        _remove(journal, MEASUREMENTS, going.measurements)
        _remove(journal, RECORDS, going.records)
        _remove(journal, REGISTRATIONS, going.registrations)
        with database.write() as connection:
            with transaction(connection):
                _hand_over(connection, journal, study)
                _delete(connection, study)
            connection.execute("checkpoint")
            tally.note(connection, journal)
    return going.counted


@dataclass(frozen=True)
class _Going:
    """What goes: names of records, measurements and registrations; other files of trials."""

    counted: Dropped
    records: list[str]
    measurements: list[str]
    registrations: list[str]
    files: list[Path]

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection, journal: Journal, study: str) -> _Going:
        own = set(first_column(connection.execute(_OWN, [study])))
        every = first_column(connection.execute("select trial_id from study_trials where study = ?", [study]))
        named = {what: first_column(connection.execute(query, [study])) for what, query in _FILES.items()}
        files = list(_files_of(journal, own))
        counted = Dropped(
            study=study,
            trials=len(own),
            shared=len(set(every) - own),
            records=len(named["records"]),
            measurements=len(named["measurements"]),
            files=len(files),
            predictions=len(first_column(connection.execute(_PREDICTED, [study]))),
        )
        return cls(counted, registrations=_registrations(journal, study), files=files, **named)


def _refuse_running(journal: Journal, claims: Claims, study: str) -> None:
    live = [claim for claim in claims.live() if claim.study == study]
    clusters = [run.on for run in cluster_runs(journal, claims.now()) if run.study == study]
    if live or clusters:
        where = f"on {clusters[0]}" if clusters else f"by process {live[0].pid} on {live[0].host}"
        raise StoreLockedError(
            f"study {study!r} is being run {where}; stop the run, or wait for its end, then drop it"
        )


def _refuse_unknown(connection: duckdb.DuckDBPyConnection, path: Path, study: str) -> None:
    if IMPORTS.last_of(connection, study) is not None:
        command = f"scalelab import --remove {study} --store {path}"
        raise InputError(f"{study!r} is an imported table; {command} takes it out")
    known = first_column(
        connection.execute("select study from studies union select study from study_trials order by 1")
    )
    if study not in known:
        tables = list(sizes(connection))
        there = [f"studies: {', '.join(known)}"] if known else []
        there += [f"imported tables: {', '.join(tables)}"] if tables else []
        said = f"it has {'; '.join(there) or 'no study and no imported table'}"
        if tables:
            said += f"; scalelab import --remove NAME --store {path} takes a table out"
        raise InputError(f"{path} has no study {study!r}{suggest(study, [*known, *tables])}; {said}")


def _files_of(journal: Journal, trial_ids: Iterable[str]) -> Iterable[Path]:
    """Yields the weights, checkpoints, scripts' folders and logs that there are of trials."""
    wanted = set(trial_ids)
    for folder in ("weights", "checkpoints", "scripts", "logs"):
        with suppress(FileNotFoundError):
            for path in sorted((journal.folder / folder).iterdir()):
                name = path.stem.rpartition("-")[0] if folder == "logs" else path.name.split(".")[0]
                if name in wanted:
                    yield path


def _registrations(journal: Journal, study: str) -> list[str]:
    """Returns the names of the registrations of a study, which only their files tell."""
    names = []
    for path in journal.files(REGISTRATIONS):
        found = journal.open(REGISTRATIONS, path)
        if found is not None and found[0].study == study:
            names.append(path.name.removesuffix(REGISTRATIONS.suffix))
    return names


def _remove(journal: Journal, kind: Kind[Any, Any], names: Iterable[str]) -> None:
    for name in names:
        while (path := journal.find(name, kind)) is not None:
            with writing(path):
                path.unlink(missing_ok=True)


def _hand_over(connection: duckdb.DuckDBPyConnection, journal: Journal, study: str) -> None:
    """Makes what was recorded for a study, of trials that stay, count as made for another study of theirs.

    A rebuild would otherwise make them members of the study again.
    """
    for kind, query in _SHARED.items():
        for name, heir in connection.execute(query, [study]).fetchall():
            _rewrite(journal, kind, name, heir)
            connection.execute(f"update {kind.table} set study = ? where {kind.key} = ?", [heir, name])
            if kind is MEASUREMENTS:
                (text,) = first_column(
                    connection.execute(f"select content from measurements where {kind.key} = ?", [name])
                )
                content = canonical_json({**json.loads(text), "study": heir})
                connection.execute(
                    f"update measurements set content = ? where {kind.key} = ?", [content, name]
                )


def _rewrite(journal: Journal, kind: Attempts[Any, Any], name: str, heir: str) -> None:
    path = journal.find(name, kind)
    found = None if path is None else journal.open(kind, path)
    if path is None or found is None:
        return
    content: Record | Measurement = kind.content(found[0])
    sealed = kind.seal(content.model_copy(update={"study": heir}))
    replace_whole(path, as_bytes(sealed), journal.scratch)


def _delete(connection: duckdb.DuckDBPyConnection, study: str) -> None:
    connection.execute(f"create or replace temp table going as {_OWN}", [study])
    for table in ("curve_points", "records", "trials"):
        connection.execute(f"delete from {table} where trial_id in (from going)")
    for table in ("measurements", "study_trials", "studies"):
        connection.execute(f"delete from {table} where study = ?", [study])
    connection.execute("drop table going")
