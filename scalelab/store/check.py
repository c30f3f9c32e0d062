"""Is a store healthy? Reads all of it and compares it with its journal; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.errors import StoreDamagedError, StoreLockedError, StoreNewerError
from scalelab.store import schema
from scalelab.store.claims import Claims
from scalelab.store.connection import Database, rebuild_command
from scalelab.store.imports import compare_imports
from scalelab.store.latencies import compare_measurements

if TYPE_CHECKING:
    import duckdb

TABLES = (
    "scalelab_schema", "studies", "study_trials", "trials", "records", "curve_points", "parameters",
    "imports", "imported_runs", "measurements",
)  # fmt: skip


@dataclass
class CheckReport:
    """The state of a store.

    Attributes:
        path: The store's file.
        schema_version: `None` where it cannot be read.
        rows: Rows by table.
        pending: Records in the journal that wait to be ingested: the next run takes them in.
        missing: Ids of records that the journal has as ingested and the database has not.
        missing_imports: The same for imported tables, by their names.
        missing_measurements: The same for measurements on hardware.
        without_journal: How many records, imported tables and measurements only the database holds.
        duplicates: Ids of records that the database holds more than once.
        orphans: Ids of trials that have a record but no content.
        quarantined: Files that were set aside.
        unfinished: Files whose writing was cut off; they were never acknowledged.
        wal: Size in bytes of a WAL beside the database, `None` where there is none.
        live_claims: Ids of trials that somebody alive is at.
        dead_claims: Ids of trials whose processes are gone: the next run marks them interrupted.
        problems: What is wrong, each with what to do; empty where the store is healthy.
    """

    path: Path
    schema_version: int | None = None
    rows: dict[str, int] = field(default_factory=dict)
    pending: int = 0
    missing: list[str] = field(default_factory=list)
    missing_imports: list[str] = field(default_factory=list)
    missing_measurements: list[str] = field(default_factory=list)
    without_journal: int = 0
    duplicates: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    quarantined: list[Path] = field(default_factory=list)
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
    pending = journal.pending()
    pending_imports = [path.name for path in journal.pending_imports()]
    measurements = journal.pending_measurements()
    registrations = journal.pending_registrations()
    report.pending = len(pending) + len(pending_imports) + len(registrations) + len(measurements)
    report.quarantined = journal.quarantined()
    report.unfinished = journal.unfinished()
    report.live_claims = [claim.trial_id for claim in claims.live()]
    report.dead_claims = [claim.trial_id for claim in claims.dead()]
    # Listed before the database is read: what is kept now is in the database then.
    kept = {path.stem for path in journal.kept_records()}
    kept_imports = [path.name for path in journal.kept_imports()]
    kept_measurements = journal.kept_measurements()
    try:
        with database.read(wait) as connection:
            report.schema_version = schema.version_of(connection)
            _read_all(connection, report)
            _compare(connection, kept, report)
            report.missing_imports, only_here = compare_imports(connection, kept_imports, pending_imports)
            report.without_journal += only_here
            report.missing_measurements, only_here = compare_measurements(
                connection, kept_measurements, measurements
            )
            report.without_journal += only_here
    except (StoreLockedError, StoreNewerError):
        raise
    except StoreDamagedError as error:
        report.problems.append(str(error))
    else:
        _judge(report)
    return report


def _read_all(connection: duckdb.DuckDBPyConnection, report: CheckReport) -> None:
    """Counts the rows and reads every value, so that a broken block shows itself."""
    for table in TABLES:
        row = connection.execute(f"select count(*), bit_xor(hash({table})) from {table}").fetchone()
        report.rows[table] = row[0] if row else 0


def _compare(connection: duckdb.DuckDBPyConnection, kept: set[str], report: CheckReport) -> None:
    ids = [row[0] for row in connection.execute("select trial_id || '-' || attempt from records").fetchall()]
    there = set(ids)
    report.missing = sorted(kept - there)
    report.without_journal = len(there - kept)
    report.duplicates = [
        row[0]
        for row in connection.execute(
            "select trial_id || '-' || attempt as id from records group by id having count(*) > 1 order by id"
        ).fetchall()
    ]
    report.orphans = [
        row[0]
        for row in connection.execute(
            "select distinct trial_id from records anti join trials using (trial_id) order by trial_id"
        ).fetchall()
    ]


def _judge(report: CheckReport) -> None:
    remedy = f"run {rebuild_command(report.path)}"
    if report.missing:
        report.problems.append(
            f"{len(report.missing)} records of the journal are not in the database; {remedy}"
        )
    if report.missing_imports:
        names = ", ".join(report.missing_imports)
        report.problems.append(
            f"imported tables of the journal are not whole in the database: {names}; {remedy}"
        )
    if report.missing_measurements:
        n = len(report.missing_measurements)
        report.problems.append(f"{n} measurements of the journal are not in the database; {remedy}")
    if report.duplicates:
        report.problems.append(
            f"{len(report.duplicates)} records are in the database more than once; {remedy}"
        )
    if report.orphans:
        report.problems.append(f"{len(report.orphans)} trials have records but no content; {remedy}")
