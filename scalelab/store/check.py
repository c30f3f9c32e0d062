"""Is a store healthy? Reads all of it and compares it with its journal; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.amounts import counted, verb
from scalelab.errors import StoreDamagedError
from scalelab.store import schema
from scalelab.store.claims import Claims
from scalelab.store.connection import Database, rebuild_command
from scalelab.store.envelope import check_file
from scalelab.store.fleet import strangers
from scalelab.store.journal import Journal
from scalelab.store.kind import Kind
from scalelab.store.kinds import KINDS, RECORDS
from scalelab.store.leftovers import abandoned

if TYPE_CHECKING:
    import duckdb

TABLES = (
    "scalelab_schema", "studies", "study_trials", "trials", "records", "curve_points", "parameters",
    "imports", "imported_runs", "measurements", "predictions",
)  # fmt: skip
SHOWN = 10
_DUPLICATES = f"select {RECORDS.key} as id from records group by id having count(*) > 1 order by id"
_ORPHANS = "select distinct trial_id from records anti join trials using (trial_id) order by 1"


@dataclass
class CheckReport:
    """The state of a store.

    Attributes:
        path: The store's file.
        schema_version: `None` where it cannot be read.
        rows: Rows by table.
        pending: Records in the journal that wait to be ingested: the next run takes them in.
        missing: By table what the journal has as ingested and the database has not, or not whole: ids of
            records and measurements, names of imported tables and predictions.
        without_journal: How many records, registrations, imported tables, measurements and predictions only
            the database holds.
        duplicates: Ids of records that the database holds more than once.
        orphans: Ids of trials that have a record but no content.
        quarantined: Files that were set aside.
        unreadable: What cannot be used in the journal's folders of contents, claims and runs on clusters,
            each with the reason.
        leftovers: Half-made databases of rebuilds that were killed: the next run or rebuild removes them.
        unfinished: Files whose writing was cut off; they were never acknowledged.
        wal: Size in bytes of a WAL beside the database, `None` where there is none.
        live_claims: Ids of trials that a living process is attempting.
        dead_claims: Ids of trials whose processes are gone: the next run marks them interrupted.
        problems: What is wrong, each with what to do; empty where the store is healthy.
    """

    path: Path
    schema_version: int | None = None
    rows: dict[str, int] = field(default_factory=dict)
    pending: int = 0
    missing: dict[str, list[str]] = field(default_factory=dict)
    without_journal: int = 0
    duplicates: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    quarantined: list[Path] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    leftovers: list[Path] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)
    wal: int | None = None
    live_claims: list[str] = field(default_factory=list)
    dead_claims: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(database: Database, claims: Claims, wait: float | None = None) -> CheckReport:
    """Reads every block of a store and compares it with its journal.

    Raises:
        StoreLockedError: Somebody writes to it for too long.
        StoreNewerError: A newer scalelab wrote it.
        StoreError: It is missing or no file.
    """
    journal = database.journal
    report = CheckReport(database.path)
    wal = Path(f"{database.path}.wal")
    report.wal = wal.stat().st_size if wal.exists() else None
    pending = {kind.table: _names(kind, journal.pending(kind)) for kind in KINDS}
    report.pending = sum(map(len, pending.values()))
    report.quarantined = journal.quarantined()
    report.unfinished = journal.unfinished()
    report.leftovers = abandoned(database)
    report.unreadable = dict(_unreadable(journal, claims))
    report.live_claims = [claim.trial_id for claim in claims.live()]
    report.dead_claims = [claim.trial_id for claim in claims.dead()]
    # Listed before the database is read: what is kept now is in the database then.
    taken = {kind.table: _names(kind, journal.taken(kind)) for kind in KINDS}
    try:
        with database.read(wait) as connection:
            report.schema_version = schema.version_of(connection)
            _read_all(connection, report)
            for kind in KINDS:
                there = kind.held(connection)
                missing = kind.missing(connection, taken[kind.table], there)
                if missing is not None:
                    report.missing[kind.table] = missing
                report.without_journal += len(there.difference(taken[kind.table], pending[kind.table]))
            report.duplicates, report.orphans = (
                schema.first_column(connection.execute(query)) for query in (_DUPLICATES, _ORPHANS)
            )
    except StoreDamagedError as error:
        report.problems.append(str(error))
    else:
        _judge(report)
    for folder, cure in (
        (journal.new, "the next run sets aside what can never be read"),
        (journal.kept, f"run {rebuild_command(report.path)}"),
        (claims.folder, "the next run sets them aside"),
        (journal.folder / "cluster", "no run on a cluster reads them; delete them once none goes on"),
    ):
        told = {path: why for path, why in report.unreadable.items() if path.is_relative_to(folder)}
        if told:
            shown = [f"{path.name} ({why})" for path, why in told.items()]
            many = counted(len(told), "files")
            report.problems.append(f"{many} in {folder} cannot be used: {_shown(shown)}; {cure}")
    return report


def _unreadable(journal: Journal, claims: Claims) -> Iterator[tuple[Path, str]]:
    """Yields what cannot be used: of pending files the content is checked, others have to be whole."""
    for kind in KINDS:
        for path in journal.files(kind):
            try:
                if path.parent == journal.new:
                    journal.examine(kind, path)
                else:
                    check_file(path)
            except FileNotFoundError:
                continue  # it was taken in, or set aside, just now
            except OSError as error:
                yield path, error.strerror or str(error)
            except ValueError as error:
                yield path, str(error)
    for path in claims.unreadable():
        yield path, "it is no claim"
    for path in strangers(journal):
        yield path, "it is no run on a cluster"


def _read_all(connection: duckdb.DuckDBPyConnection, report: CheckReport) -> None:
    """Counts the rows and reads every value, so that a broken block shows itself."""
    for table in TABLES:
        row = connection.execute(f"select count(*), bit_xor(hash({table})) from {table}").fetchone()
        report.rows[table] = row[0] if row else 0


def _names(kind: Kind[Any, Any], paths: list[Path]) -> list[str]:
    return [path.name.removesuffix(kind.suffix) for path in paths]


def _judge(report: CheckReport) -> None:
    lost = "in the journal and missing from the database, or incomplete there"
    found = [
        *((f"{kind.name}s", "are", lost, report.missing.get(kind.table)) for kind in KINDS),
        ("records", "are", "in the database more than once", report.duplicates),
        ("trials", "have", "records but no content", report.orphans),
    ]
    for what, plural, said, names in found:
        if names:
            many = f"{counted(len(names), what)} {verb(len(names), plural)}"
            report.problems.append(f"{many} {said}: {_shown(names)}; run {rebuild_command(report.path)}")


def _shown(names: list[str]) -> str:
    return ", ".join(map(str, names[:SHOWN])) + (" …" if len(names) > SHOWN else "")
