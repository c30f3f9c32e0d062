"""`scalelab data`: download, inspect and synthesize the files of a dataset, as its plugin does it."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from scalelab.amounts import counted, verb
from scalelab.cli import options as opt
from scalelab.cli.context import confirm, names, pairs, print_json, say, tell
from scalelab.errors import InputError

if TYPE_CHECKING:
    from scalelab.components import Download, Row
    from scalelab.report.parts import Table

_ARGUMENTS = {"dataset", "folder", "to", "records", "catalog", "on_progress"}
"""What the calls on files take themselves."""

data_app = typer.Typer(help="Get, inspect and synthesize the files of datasets.", no_args_is_help=True)


@data_app.command()
def download(
    ctx: typer.Context,
    dataset: opt.DatasetName,
    to: opt.To,
    sources: opt.Sources = None,
    yes: opt.Yes = False,
    url: opt.Url = None,
    jobs: opt.Jobs = None,
    option: opt.MoreOptions = None,
    plugins_dir: opt.PluginsDir = None,
) -> None:
    """Download a dataset's files, after confirming how much that is; run again, it resumes."""
    import scalelab
    from scalelab.report.work import work_display

    with _asked(ctx, plugins_dir, option, sources=names(sources), url=url, jobs=jobs) as asked:
        plan = scalelab.plan_download(dataset, to, **asked)
    say(plan.title)
    for note in plan.notes:
        say(f"  {note}")
    if not plan.n_files:
        tell(f"nothing to fetch: {to} is complete")
        return
    _ask(plan, to, yes=yes)
    with _resumable(), work_display(sys.stderr, "B") as progress:
        problems = plan.fetch(progress)
    for problem in problems[:20]:
        say(f"  {problem}")
    if problems:
        say(
            f"{len(problems):,} of {plan.n_files:,} files {verb(len(problems), 'were')} not downloaded; "
            "run the command again to retry"
        )
        raise typer.Exit(1)
    tell(f"{counted(plan.n_files, 'files')} fetched; next: scalelab data inspect {dataset} --folder {to}")


def _ask(plan: Download, to: Path, *, yes: bool) -> None:
    """Asks before much is fetched; where nobody can answer, says how to continue.

    Raises:
        InputError: There is no terminal, and `--yes` was not given.
    """
    from scalelab.report.numbers import short

    size = "of unknown size" if plan.n_bytes is None else short(plan.n_bytes, "B")
    how_much = (
        f"{counted(plan.n_files, 'files')}, {'' if plan.exact or plan.n_bytes is None else 'about '}{size}"
    )
    if yes:
        say(f"  {how_much}")
    unasked = f"{how_much} would be written to {to}; add --yes to continue"
    confirm(f"{how_much}. Continue?", unasked, yes=yes)


@data_app.command()
def inspect(
    ctx: typer.Context,
    dataset: opt.DatasetName,
    folder: opt.Folder,
    records: opt.ListRecords = False,
    jobs: opt.Jobs = None,
    json: opt.Json = False,
    option: opt.MoreOptions = None,
    plugins_dir: opt.PluginsDir = None,
) -> None:
    """Read all files of a dataset and count them by source, label, rate, length, repair and rejection."""
    import scalelab

    with _asked(ctx, plugins_dir, option, jobs=jobs) as asked:
        inspection = scalelab.inspect_data(dataset, folder, **asked)
    if json:
        shown = ("title", "tables", "notes", *(["records"] if records else []))
        print_json("inspect", {name: getattr(inspection, name) for name in shown})
        return
    tell(f"{inspection.title}\n")
    ctx.obj.show(*(_table(title, rows) for title, rows in inspection.tables.items()))
    if records:
        ctx.obj.show(_table("Records", inspection.records))
    for note in inspection.notes:
        tell(note)


def _table(title: str, rows: Sequence[Row]) -> Table:
    from scalelab.report.parts import Table

    columns = tuple(rows[0]) if rows else ()
    numeric = frozenset(
        name for name in columns if all(isinstance(row[name], int | float | None) for row in rows)
    )
    return Table(title, columns, tuple(tuple(map(_cell, row.values())) for row in rows), numeric)


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else value


@data_app.command()
def synthesize(
    ctx: typer.Context,
    dataset: opt.DatasetName,
    to: opt.To,
    records: opt.Records,
    wfdb: opt.Wfdb = None,
    seed: opt.Seed = None,
    rate: opt.Rate = None,
    seconds: opt.Seconds = None,
    source: opt.SourceName = None,
    jobs: opt.Jobs = None,
    option: opt.MoreOptions = None,
    plugins_dir: opt.PluginsDir = None,
) -> None:
    """Write synthetic records as files, so that everything that reads real ones can be tested at any size."""
    import scalelab

    given = {"wfdb": wfdb, "seed": seed, "rate": rate, "seconds": seconds, "source": source, "jobs": jobs}
    with _resumable(), _asked(ctx, plugins_dir, option, **given) as asked:
        written = scalelab.synthesize_data(dataset, to, records, **asked)
    tell(written)


@contextmanager
def _asked(
    ctx: typer.Context, plugins_dir: Sequence[Path] | None, more: Sequence[str] | None, **given: Any
) -> Iterator[dict[str, Any]]:
    """Gives a call on files what it takes: the options, the plugins, and a display of its progress."""
    from scalelab.report.work import work_display

    for key, value in _more(more).items():
        if key in _ARGUMENTS or given.get(key) is not None:
            raise InputError(f"--option {key}: it is an argument or was given already; leave it out")
        given[key] = value
    catalog = ctx.obj.catalog(plugins_dir)
    with work_display(sys.stderr) as progress:
        yield {**given, "catalog": catalog, "on_progress": progress}


@contextmanager
def _resumable() -> Iterator[None]:
    """Ends the command at Ctrl-C; what is written stays."""
    try:
        yield
    except KeyboardInterrupt:
        say("stopped; run the command again to resume")
        raise SystemExit(130) from None


def _more(given: Sequence[str] | None) -> dict[str, Any]:
    """Returns further options; a value is read as JSON where it is JSON, as a text elsewhere."""
    found = pairs("--option", given, "KEY=VALUE")
    return {key.replace("-", "_"): _value(value) for key, value in found.items()}


def _value(text: str) -> Any:
    try:
        return json_module.loads(text)
    except ValueError:
        return text
