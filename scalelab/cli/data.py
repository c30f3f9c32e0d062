"""`scalelab data`: download, inspect and synthesize the files of a dataset, as its plugin does it."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalelab.cli.context import JsonOption, PluginsDirOption, say
from scalelab.errors import InputError, suggest

if TYPE_CHECKING:
    from scalelab.components import Download, FileCommand, Inspection, Params, Row
    from scalelab.plugins import Catalog
    from scalelab.report.terminal import Table

data_app = typer.Typer(help="Get, inspect and synthesize the files of datasets.", no_args_is_help=True)

DatasetArgument = Annotated[str, typer.Argument(help="The dataset's name; scalelab plugins lists them.")]
ToOption = Annotated[Path, typer.Option("--to", help="Folder to write to; made where it is missing.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Seed of everything.")]
MoreOption = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="Another option of this dataset, KEY=VALUE; may be repeated."),
]
JobsOption = Annotated[int | None, typer.Option("--jobs", help="How many things to do at a time.")]


@data_app.command()
def download(
    ctx: typer.Context,
    dataset: DatasetArgument,
    to: ToOption,
    sources: Annotated[
        str | None, typer.Option("--sources", help="Only these parts of the dataset, as a,b.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Begin without asking.")] = False,
    url: Annotated[str | None, typer.Option("--url", help="Another address, such as a mirror's.")] = None,
    jobs: JobsOption = None,
    option: MoreOption = None,
    plugins_dir: PluginsDirOption = None,
) -> None:
    """Fetch a dataset's files; how much that is is asked first. Run again, it goes on where it ended."""
    command = _command(ctx.obj.catalog(plugins_dir), dataset, "download")
    parts = None if sources is None else [part.strip() for part in sources.split(",") if part.strip()]
    params = _params(command, dataset, {"to": to, "sources": parts, "url": url, "jobs": jobs}, option)
    from scalelab.report.work import work_display

    with work_display(sys.stderr) as progress:
        plan: Download = command.run(params, progress)
    say(plan.title)
    for note in plan.notes:
        say(f"  {note}")
    if not plan.n_files:
        print(f"nothing to fetch: {to} is complete")
        return
    _ask(plan, to, yes=yes)
    with _resumable(), work_display(sys.stderr, "B") as progress:
        problems = plan.fetch(progress)
    for problem in problems[:20]:
        say(f"  {problem}")
    if problems:
        say(f"{len(problems):,} of {plan.n_files:,} files could not be had; the same command tries again")
        raise typer.Exit(1)
    print(f"{plan.n_files:,} files fetched; next: scalelab data inspect {dataset} --folder {to}")


def _ask(plan: Download, to: Path, *, yes: bool) -> None:
    """Asks before much is fetched; where nobody can answer, says how to go on.

    Raises:
        InputError: There is no terminal, and `--yes` was not given.
    """
    from scalelab.report.numbers import short

    size = "of unknown size" if plan.n_bytes is None else short(plan.n_bytes, "B")
    how_much = f"{plan.n_files:,} files, {'' if plan.exact or plan.n_bytes is None else 'about '}{size}"
    if yes:
        say(f"  {how_much}")
    elif not sys.stdin.isatty():
        raise InputError(f"{how_much} would be written to {to}; add --yes to go on")
    elif not typer.confirm(f"{how_much}. Go on?", err=True):
        raise typer.Exit(1)


@data_app.command()
def inspect(
    ctx: typer.Context,
    dataset: DatasetArgument,
    folder: Annotated[Path, typer.Option("--folder", help="Folder with the dataset's files.")],
    records: Annotated[bool, typer.Option("--records", help="List every record too.")] = False,
    jobs: JobsOption = None,
    json: JsonOption = False,
    option: MoreOption = None,
    plugins_dir: PluginsDirOption = None,
) -> None:
    """Read all files of a dataset and count them by source, label, rate, length, repair and rejection."""
    command = _command(ctx.obj.catalog(plugins_dir), dataset, "inspect")
    params = _params(command, dataset, {"folder": folder, "jobs": jobs}, option)
    from scalelab.report.terminal import show
    from scalelab.report.work import work_display

    with work_display(sys.stderr) as progress:
        inspection: Inspection = command.run(params, progress)
    if json:
        print(json_module.dumps(_document(inspection, records=records), indent=2))
        return
    print(f"{inspection.title}\n")
    for title, rows in inspection.tables.items():
        show(_table(title, rows), plain=ctx.obj.plain)
    if records:
        show(_table("Records", inspection.records), plain=ctx.obj.plain)
    for note in inspection.notes:
        print(note)


def _document(inspection: Inspection, *, records: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "title": inspection.title,
        "tables": {title: [dict(row) for row in rows] for title, rows in inspection.tables.items()},
        "notes": list(inspection.notes),
    }
    return document | {"records": [dict(row) for row in inspection.records]} if records else document


def _table(title: str, rows: Sequence[Row]) -> Table:
    from scalelab.report.terminal import Table

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
    dataset: DatasetArgument,
    to: ToOption,
    records: Annotated[int, typer.Option("--records", help="Number of records.")],
    wfdb: Annotated[
        bool | None,
        typer.Option("--wfdb", help="Write WFDB headers and MATLAB v4 files.", show_default=False),
    ] = None,
    seed: SeedOption = None,
    rate: Annotated[float | None, typer.Option("--rate", help="Sampling rate in Hz.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Length of a record.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Name of the folder of the records.")] = None,
    jobs: JobsOption = None,
    option: MoreOption = None,
    plugins_dir: PluginsDirOption = None,
) -> None:
    """Write made-up records as files, so that everything that reads real ones can be tried at any size."""
    command = _command(ctx.obj.catalog(plugins_dir), dataset, "synthesize")
    given = {
        "to": to, "records": records, "wfdb": wfdb, "seed": seed, "rate": rate, "seconds": seconds,
        "source": source, "jobs": jobs,
    }  # fmt: skip
    params = _params(command, dataset, given, option)
    from scalelab.report.work import work_display

    with _resumable(), work_display(sys.stderr) as progress:
        written = command.run(params, progress)
    print(written)


@contextmanager
def _resumable() -> Iterator[None]:
    """Ends the command at Ctrl-C; what is there already stays."""
    try:
        yield
    except KeyboardInterrupt:
        say("stopped; the same command goes on where it ended")
        raise typer.Exit(130) from None


def _command(catalog: Catalog, name: str, what: str) -> FileCommand:
    """Returns what a dataset does for one of the commands.

    Raises:
        PluginError: There is no such dataset.
        InputError: It does not offer this; the message names those that do.
    """
    command: FileCommand | None = getattr(catalog.dataset(name), what)
    if command is not None:
        return command
    others = [other for other in catalog.names("dataset") if getattr(catalog.dataset(other), what)]
    raise InputError(f"dataset {name!r} has nothing to {what}; these have: {', '.join(others) or 'none'}")


def _params(command: FileCommand, dataset: str, given: dict[str, Any], more: Sequence[str] | None) -> Params:
    """Returns the options of a command as its model has them.

    Raises:
        InputError: One is not the dataset's, or its value is wrong.
    """
    from pydantic import ValidationError

    from scalelab.study.messages import describe

    values = {key: value for key, value in given.items() if value is not None}
    for text in more or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--option {text}: give it as KEY=VALUE")
        values[key.strip().replace("-", "_")] = _value(value)
    known = command.params.model_fields
    for key in values:
        if key not in known:
            shown = suggest(key, known) or f"; its options: {', '.join(known)}"
            raise InputError(f"dataset {dataset!r} has no option {key!r} here{shown}")
    try:
        return command.params.model_validate(values)
    except ValidationError as error:
        raise InputError(f"dataset {dataset!r}: {describe(error, command.params)}") from None


def _value(text: str) -> Any:
    """Reads a value as JSON where it is JSON, as a text elsewhere."""
    try:
        return json_module.loads(text)
    except ValueError:
        return text
