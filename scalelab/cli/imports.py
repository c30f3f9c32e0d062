"""`scalelab import`: runs that were made elsewhere, from a table into the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from scalelab.cli import options as opt
from scalelab.cli.context import Context, pairs, print_json, warn
from scalelab.errors import InputError
from scalelab.records import UNSPECIFIED

if TYPE_CHECKING:
    from scalelab.records import Direction
    from scalelab.store.mapping import Import


def import_(
    ctx: typer.Context,
    file: opt.Table = None,
    store: opt.Store = opt.DEFAULT_STORE,
    study: opt.ImportedName = None,
    mapping: opt.Mapping = None,
    only: opt.Only = None,
    metric: opt.Metric = None,
    direction: opt.MetricDirection = None,
    rest: opt.Rest = "feature",
    replace: opt.Replace = False,
    remove: opt.Remove = None,
    dry_run: opt.DryImport = False,
    json: opt.Json = False,
) -> None:
    """Import runs made elsewhere into a store, to analyze them like its own.

    For example: scalelab import table.csv --map n_examples="flops / (6 * n_params)" --only "loss < 4"
    """
    import scalelab

    if file is not None and remove is not None:
        raise InputError("give a file to import or --remove NAME, not both; see scalelab import --help")
    if remove is not None:
        _remove(store, remove, json=json)
        return
    if file is None:
        raise InputError("give a file to import, or --remove NAME; scalelab import --help shows both")
    result = scalelab.import_runs(
        file,
        store,
        study=study,
        map=pairs("--map", mapping, 'COLUMN="expression", such as n_params="params * 1e6"'),
        only=only,
        metric=metric,
        direction=cast("Direction | None", direction),
        rest=rest,
        replace=replace,
        dry_run=dry_run,
    )
    for note in result.notes:
        warn(note)
    if json:
        print_json(result)
    else:
        _print(ctx.obj, result, store)


def _remove(store: Path, study: str, *, json: bool) -> None:
    import scalelab

    n_runs = scalelab.open_store(store).remove_import(study)
    if json:
        print_json({"removed": study, "n_runs": n_runs})
    else:
        print(f"{study}: {n_runs} runs removed from {store}")


def _print(context: Context, result: Import, store: Path) -> None:
    from scalelab.report.parts import Table

    unnamed = f"'{UNSPECIFIED}'"
    rows = tuple(
        (item.column, "" if item.expression == unnamed else item.expression, item.how)
        for item in result.mapped
    )
    taken = f"{result.n_runs:,} of {result.n_rows:,} rows"
    context.show(Table(f"{result.source}: {taken}", ("column", "from", "how"), rows))
    if result.outcome == "read":
        print(f"study {result.study}: nothing was stored; run without --dry-run to store it in {store}")
        return
    if result.outcome == "unchanged":
        print(f"study {result.study}: {store} already holds these runs")
    else:
        print(f"study {result.study}: {result.n_runs:,} runs {result.outcome} in {store}")
    print(f"next: scalelab analyze --store {store} --study {result.study}")
