"""`scalelab store` (check, rebuild, merge, migrate, sql) and `scalelab export`."""

from __future__ import annotations

import csv
import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalelab.cli import options as opt
from scalelab.cli.context import print_json, say, warn
from scalelab.errors import InputError
from scalelab.jsonable import json_object

if TYPE_CHECKING:
    from scalelab.store.check import CheckReport

store_app = typer.Typer(
    help="Look after a store: check, rebuild, merge, migrate, query.", no_args_is_help=True
)


@store_app.command()
def check(store: opt.Store = opt.DEFAULT_STORE, json: opt.Json = False) -> None:
    """Read all of a store, compare it with its journal, and say what is wrong; exit code 3 if so."""
    from scalelab.store import Store

    report = Store(store).check()
    if json:
        print_json({**json_object(report), "healthy": report.healthy})
    else:
        _print_report(report)
    if not report.healthy:
        raise typer.Exit(3)


def _print_report(report: CheckReport) -> None:
    print(f"{report.path}: {'healthy' if report.healthy else 'NOT healthy'}")
    if report.schema_version is not None:
        print(
            f"  schema {report.schema_version}; "
            + ", ".join(f"{n} {table}" for table, n in report.rows.items())
        )
    notes = {
        "records, registrations, imported tables and measurements wait in the journal; "
        "the next run takes them in": report.pending,
        "records, imported tables and measurements are in the database only; "
        "a rebuild would write them to the journal": report.without_journal,
        "trials are claimed by a living process": len(report.live_claims),
        "claims are dead; the next run marks their attempts interrupted": len(report.dead_claims),
        "files are in quarantine": len(report.quarantined),
        "files were truncated mid-write, never acknowledged": len(report.unfinished),
        "databases were left half-made by rebuilds that were killed; the next run removes them": len(
            report.leftovers
        ),
    }
    for what, count in notes.items():
        if count:
            print(f"  {count} {what}")
    if report.wal is not None:
        print(f"  a WAL of {report.wal} bytes is beside the database; DuckDB replays it, do not delete it")
    for path in (*report.quarantined, *report.leftovers):
        print(f"    {path}")
    for problem in report.problems:
        print(f"  problem: {problem}")


@store_app.command()
def rebuild(store: opt.Store = opt.DEFAULT_STORE, json: opt.Json = False) -> None:
    """Rebuild the database from its journal; the old file is set aside. Exit code 3 if anything is lost."""
    from scalelab.store import Store

    report = Store(store).rebuild()
    if report.problem:
        say(f"warning: {report.problem}")
    if json:
        print_json(report)
        if report.lost:
            raise typer.Exit(3)
        return
    tables = f", {report.imports} imported tables" if report.imports else ""
    tables += f", {report.measurements} measurements" if report.measurements else ""
    counts = f"{report.records} records of {report.studies} studies, {report.salvaged} salvaged"
    print(f"{store}: {counts}{tables}")
    for path in report.set_aside:
        print(f"  set aside: {path}")
    for name in report.lost:
        print(f"  lost: {name} is neither in the old database nor in the journal, as far as they can be read")
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
        print_json(report)
        return
    counts = ", ".join(f"{count} {what}" for what, count in report.counts.items())
    print(f"{store}: {counts} new from {other}" if counts else f"{store}: nothing new in {other}")
    for name, here in report.renumbered.items():
        print(f"  {name} is {here} here: another attempt of that number was there")
    for study in report.changed:
        print(f"  study {study}: its file is not the same in both; the one that was run last holds")
    for study in report.replaced:
        print(f"  imported table {study}: replaced, the other one was imported later")


@store_app.command()
def migrate(store: opt.Store = opt.DEFAULT_STORE) -> None:
    """Bring a store of an older scalelab to this one's schema."""
    from scalelab.store import Store

    before, after = Store(store).migrate()
    if before == after:
        print(f"{store} already has schema {after}")
    else:
        print(f"{store}: schema {before} is schema {after} now")


@store_app.command()
def sql(
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
    from scalelab.report.terminal import aligned
    from scalelab.store import open_store

    if json and as_csv:
        raise InputError("--json and --csv are mutually exclusive; give one")
    text = sys.stdin.read() if query == "-" else query
    names, rows = open_store(store).rows(text, files="any" if unsafe else "none")
    if json:
        print(json_module.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2, default=str))
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
    else:
        right = [any(isinstance(row[i], (int, float)) for row in rows) for i in range(len(names))]
        print("\n".join(aligned([names, *(list(map(_cell, row)) for row in rows)], right)))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split())


def export(
    folder: Annotated[str, typer.Argument(help="Folder to write to; created if missing.")],
    store: opt.Store = opt.DEFAULT_STORE,
    study: Annotated[str | None, typer.Option("--study", help="Only this study.")] = None,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Leave out hosts, users and paths.")] = False,
    json: opt.Json = False,
) -> None:
    """Write runs, curves, trials, studies and latencies as Parquet files."""
    import scalelab

    files = scalelab.export_runs(store, folder, study, anonymous=anonymous)
    if json:
        print_json(files)
    else:
        print("\n".join(str(path) for path in files))
