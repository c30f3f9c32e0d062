"""`scalelab import`: runs that were made elsewhere, from a table into the store."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalelab.cli.context import DEFAULT_STORE, JsonOption, StoreOption, warn
from scalelab.errors import InputError

if TYPE_CHECKING:
    from scalelab.store.mapping import Import


def import_(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="CSV, Parquet or JSON lines.", show_default=False)
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    study: Annotated[
        str | None, typer.Option("--study", help="Name to analyze the runs by; the file's by default.")
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help='COLUMN="expression" over the file\'s columns; may be given more than once.'
        ),
    ] = None,
    only: Annotated[str | None, typer.Option("--only", help="Condition: which rows to take.")] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="The objective, where it is not the loss: a column.")
    ] = None,
    direction: Annotated[
        str | None, typer.Option("--direction", help="Of the metric: minimize or maximize.")
    ] = None,
    rest: Annotated[
        str,
        typer.Option(
            "--rest",
            help="What other columns are: feature (a fact), or options of architecture, optimizer, …",
        ),
    ] = "feature",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace what was imported under that name before.")
    ] = False,
    remove: Annotated[
        str | None, typer.Option("--remove", help="Take the imported table of this name out again.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check the file, show the mapping, store nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Take runs that were made elsewhere into a store, so that they can be analyzed like its own.

    For example: scalelab import table.csv --map n_examples="flops / (6 * n_params)" --only "loss < 4"
    """
    if file is not None and remove is not None:
        raise InputError(
            "give a file to import or --remove NAME, not both; scalelab import --help shows both"
        )
    if remove is not None:
        n_runs = ctx.obj.store(store).remove_import(remove)
        print(
            json_module.dumps({"removed": remove, "n_runs": n_runs})
            if json
            else f"{remove}: {n_runs} runs taken out of {store}"
        )
        return
    from scalelab.store.mapping import Wanted, read_runs

    if file is None:
        raise InputError("give a file to import, or --remove NAME; scalelab import --help shows both")
    wanted = Wanted(
        study=study, map=_pairs(mapping or []), only=only, metric=metric, direction=direction, rest=rest
    )
    # Read before the store is opened, which makes it where it is missing.
    result = read_runs(file, wanted)
    if not dry_run:
        result = ctx.obj.store(store, create=True).take_import(result, replace=replace)
    for note in result.notes:
        warn(note)
    if json:
        print(json_module.dumps(result.to_dict(), indent=2))
    else:
        _print(result, store, plain=ctx.obj.plain)


def _pairs(given: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given:
        column, sign, expression = text.partition("=")
        if not (sign and column.strip() and expression.strip()):
            raise InputError(
                f'--map {text!r} is not COLUMN="expression"; write one such as n_params="params * 1e6"'
            )
        if column.strip() in pairs:
            raise InputError(f"--map {column.strip()} is given twice; drop one")
        pairs[column.strip()] = expression.strip()
    return pairs


def _print(result: Import, store: Path, *, plain: bool) -> None:
    from scalelab.report.terminal import Table, show

    rows = tuple((item.column, item.expression, item.how) for item in result.mapped)
    taken = f"{result.n_runs:,} of {result.n_rows:,} rows"
    show(Table(f"{result.source}: {taken}", ("column", "from", "how"), rows), plain=plain)
    if result.outcome == "read":
        print(f"study {result.study}: nothing was stored; without --dry-run it goes into {store}")
    elif result.outcome == "unchanged":
        print(f"study {result.study}: {store} holds these runs already")
    else:
        print(f"study {result.study}: {result.n_runs:,} runs {result.outcome} in {store}")
    if result.outcome != "read":
        print(f"next: scalelab analyze --store {store} --study {result.study}")
