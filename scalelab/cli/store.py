"""`scalelab store` (check, rebuild, merge, drop, migrate, sql) and `scalelab export`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalelab.amounts import counted, verb
from scalelab.cli import options as opt
from scalelab.cli.completion import studies
from scalelab.cli.context import Context, confirm, print_json, say, tell, warn
from scalelab.errors import InputError
from scalelab.jsonable import json_object

if TYPE_CHECKING:
    from scalelab.store.check import CheckReport

store_app = typer.Typer(
    help="Look after a store: check, rebuild, merge, drop, migrate, query.", no_args_is_help=True
)


@store_app.command()
def check(store: opt.Store = opt.DEFAULT_STORE, json: opt.Json = False) -> None:
    """Read all of a store, compare it with its journal, and say what is wrong; exit code 3 if so."""
    from scalelab.store import Store

    report = Store(store).check()
    if json:
        print_json("store-check", {**json_object(report), "healthy": report.healthy})
    else:
        _print_report(report)
    if not report.healthy:
        raise typer.Exit(3)


def _print_report(report: CheckReport) -> None:
    tell(f"{report.path}: {'healthy' if report.healthy else 'NOT healthy'}")
    if report.schema_version is not None:
        tell(
            f"  schema {report.schema_version}; "
            + ", ".join(f"{n} {table}" for table, n in report.rows.items())
        )
    notes = (
        (report.pending, "entries", "wait", "in the journal, which the next run takes in"),
        (
            report.without_journal,
            "entries",
            "are",
            "in the database only; a rebuild would write the journal",
        ),
        (len(report.live_claims), "trials", "are", "claimed by a living process"),
        (len(report.dead_claims), "claims", "are", "dead; the next run marks such attempts interrupted"),
        (len(report.quarantined), "files", "are", "in quarantine"),
        (len(report.unfinished), "files", "were", "truncated mid-write, never acknowledged"),
        (
            len(report.leftovers),
            "databases",
            "were",
            "left by killed rebuilds; the next run removes such",
        ),
    )
    for count, what, plural, said in notes:
        if count:
            tell(f"  {counted(count, what)} {verb(count, plural)} {said}")
    if report.wal is not None:
        tell(f"  a WAL of {report.wal} bytes is beside the database; DuckDB replays it, do not delete it")
    for path in (*report.quarantined, *report.leftovers):
        tell(f"    {path}")
    for problem in report.problems:
        tell(f"  problem: {problem}")


@store_app.command()
def rebuild(store: opt.Store = opt.DEFAULT_STORE, json: opt.Json = False) -> None:
    """Rebuild the database from its journal; the old file is set aside. Exit code 3 if anything is lost."""
    from scalelab.store import Store

    report = Store(store).rebuild()
    if report.problem:
        say(f"warning: {report.problem}")
    if json:
        print_json("store-rebuild", report)
        if report.lost:
            raise typer.Exit(3)
        return
    tables = f", {counted(report.imports, 'imported tables')}" if report.imports else ""
    tables += f", {counted(report.measurements, 'measurements')}" if report.measurements else ""
    tables += f", {counted(report.predictions, 'predictions')}" if report.predictions else ""
    of_studies = counted(report.studies, "studies")
    counts = f"{counted(report.records, 'records')} of {of_studies}, {report.salvaged} salvaged"
    tell(f"{store}: {counts}{tables}")
    for path in report.set_aside:
        tell(f"  set aside: {path}")
    for name in report.lost:
        tell(f"  lost: {name} is neither in the old database nor in the journal, as far as they can be read")
    if report.lost:
        raise typer.Exit(3)


@store_app.command()
def merge(
    other: Annotated[Path, typer.Argument(help="The store to take over; it is not changed.")],
    store: opt.Store = opt.DEFAULT_STORE,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Of two imported tables of one name, the one imported last holds."),
    ] = False,
    json: opt.Json = False,
) -> None:
    """Take over what another store holds, each record once: of two machines, a copy, a backup."""
    import scalelab

    report = scalelab.merge_stores(store, other, replace=replace)
    for path, reason in report.unreadable.items():
        warn(f"{path} cannot be used: {reason}; it was left out")
    if json:
        print_json("store-merge", report)
        return
    counts = ", ".join(counted(count, what) for what, count in report.counts.items())
    tell(f"{store}: {counts} new from {other}" if counts else f"{store}: nothing new in {other}")
    for name, here in report.renumbered.items():
        tell(f"  {name} is {here} here: another attempt of that number was there")
    for study in report.changed:
        tell(f"  study {study}: its file is not the same in both; the one that was run last holds")
    for study in report.replaced:
        tell(f"  imported table {study}: replaced, the other one was imported later")


@store_app.command()
def drop(
    study: Annotated[str, typer.Argument(help="The study's name.", autocompletion=studies)],
    store: opt.Store = opt.DEFAULT_STORE,
    yes: opt.Yes = False,
    json: opt.Json = False,
) -> None:
    """Take a study out of a store: records, curves, measurements, registrations, weights, checkpoints, logs.

    Trials that another study has, too, stay. Nothing can bring back what goes.
    """
    import scalelab

    opened = scalelab.open_store(store)
    going = opened.drop(study, dry_run=True)
    counts = ", ".join(counted(count, what) for what, count in going.counts.items()) or "nothing but its name"
    shared = ""
    if n := going.shared:
        shared += f"; {counted(n, 'trials')} of other studies {verb(n, 'stay')}"
    if n := going.predictions:
        shared += f"; {counted(n, 'registered predictions')} made from it {verb(n, 'stay')}"
    unasked = f"{counts} of {study} would go from {store}{shared}; add --yes to drop them"
    confirm(f"{counts} of {study} go from {store}{shared}. Continue?", unasked, yes=yes)
    going = opened.drop(study)
    if json:
        print_json("store-drop", going)
    else:
        tell(f"{store}: study {study} is dropped: {counts}{shared}")


@store_app.command()
def migrate(store: opt.Store = opt.DEFAULT_STORE) -> None:
    """Bring a store of an older scalelab to this one's schema."""
    from scalelab.store import Store

    before, after = Store(store).migrate()
    if before == after:
        tell(f"{store} already has schema {after}")
    else:
        tell(f"{store}: schema {before} is schema {after} now")


@store_app.command()
def sql(
    ctx: typer.Context,
    query: Annotated[str, typer.Argument(help="One SQL statement; - reads it from standard input.")],
    store: opt.Store = opt.DEFAULT_STORE,
    json: opt.Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values instead.")] = False,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Let the query read and write other files, too.")
    ] = False,
) -> None:
    """Query a store, opened read-only and alone; docs/store.md lists tables, views and columns.

    For example: scalelab store sql "select optimizer, min(loss) from runs group by all"
    """
    from scalelab.store import open_store

    if json and as_csv:
        raise InputError("--json and --csv are mutually exclusive; give one")
    text = sys.stdin.read() if query == "-" else query
    names, rows = open_store(store).rows(text, files="any" if unsafe else "none")
    if json:
        print_json("store-sql", {"rows": [_record(names, row) for row in rows]})
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
    else:
        numeric = [any(isinstance(row[i], (int, float)) for row in rows) for i in range(len(names))]
        _print_rows(ctx.obj, names, [tuple(map(_cell, row)) for row in rows], numeric)


def _print_rows(
    context: Context, names: Sequence[str], rows: Sequence[tuple[str, ...]], numeric: Sequence[bool]
) -> None:
    from scalelab.report.parts import Table
    from scalelab.report.terminal import aligned

    if context.plain:
        print("\n".join(aligned([names, *rows], numeric)))
    else:
        right = frozenset(name for name, is_number in zip(names, numeric, strict=True) if is_number)
        context.show(Table("", tuple(names), tuple(rows), right, notes=() if rows else ("no rows",)))


def _record(names: Sequence[str], row: Sequence[object]) -> dict[str, object]:
    """Returns a row as JSON values; what JSON has no value for, such as a time, is its text."""
    plain = (
        value if isinstance(value, (int, float, str, list, dict, type(None))) else str(value) for value in row
    )
    return dict(zip(names, plain, strict=True))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split())


def export(
    folder: Annotated[str, typer.Argument(help="Folder to write to; created if missing.")],
    store: opt.Store = opt.DEFAULT_STORE,
    study: opt.Study = None,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Leave out hosts, users and paths.")] = False,
    json: opt.Json = False,
) -> None:
    """Write runs, curves, trials, studies, latencies and registered predictions as Parquet files."""
    import scalelab

    files = scalelab.export_runs(store, folder, study, anonymous=anonymous)
    if json:
        print_json("export", {"files": files})
    else:
        print("\n".join(str(path) for path in files))
