"""`scalelab import`: runs that were made elsewhere, from a table into the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from scalelab.amounts import counted
from scalelab.cli import options as opt
from scalelab.cli.context import Context, pairs, print_json, tell, warn
from scalelab.errors import InputError
from scalelab.records import UNSPECIFIED

if TYPE_CHECKING:
    from scalelab.records import Direction
    from scalelab.store.mapping import Import

SHOWN_PROBLEMS = 20


def import_(
    ctx: typer.Context,
    files: opt.Tables = None,
    store: opt.Store = opt.DEFAULT_STORE,
    study: opt.ImportedName = None,
    mapping: opt.Mapping = None,
    only: opt.Only = None,
    metric: opt.Metric = None,
    direction: opt.MetricDirection = None,
    rest: opt.Rest = None,
    join: opt.Join = None,
    kind: opt.SourceKind = None,
    experiment: opt.Experiment = None,
    replace: opt.Replace = False,
    remove: opt.Remove = None,
    dry_run: opt.DryImport = False,
    json: opt.Json = False,
) -> None:
    """Import runs made elsewhere into a store, to analyze them like its own.

    For example: scalelab import table.csv --map n_examples="flops / (6 * n_params)" --only "loss < 4"
    """
    import scalelab

    if files and remove is not None:
        raise InputError("give a file to import or --remove NAME, not both; see scalelab import --help")
    if remove is not None:
        _remove(store, remove, json=json)
        return
    if not files:
        raise InputError("give a file to import, or --remove NAME; scalelab import --help shows both")
    result = scalelab.import_runs(
        files,
        store,
        study=study,
        map=pairs("--map", mapping, 'COLUMN="expression", such as n_params="params * 1e6"'),
        only=only,
        metric=metric,
        direction=cast("Direction | None", direction),
        rest=rest,
        join=join,
        kind=kind,
        experiment=experiment,
        replace=replace,
        dry_run=dry_run,
    )
    for problem in result.problems[:SHOWN_PROBLEMS]:
        warn(problem)
    if result.problems:
        n_more = len(result.problems) - SHOWN_PROBLEMS
        also = f", of which {n_more} are not shown (--json names all)" if n_more > 0 else ""
        warn(f"left out of {result.source}, or not whole: {len(result.problems)}{also}")
    for note in result.notes:
        warn(note)
    if json:
        print_json("import", result)
    else:
        _print(ctx.obj, result, store)


def _remove(store: Path, study: str, *, json: bool) -> None:
    import scalelab

    n_runs = scalelab.open_store(store).remove_import(study)
    if json:
        print_json("import-removed", {"removed": study, "n_runs": n_runs})
    else:
        tell(f"{study}: {counted(n_runs, 'runs')} removed from {store}")


def _print(context: Context, result: Import, store: Path) -> None:
    from scalelab.report.parts import Table
    from scalelab.store.parameters import SCALES

    unnamed = f"'{UNSPECIFIED}'"
    rows: list[tuple[str, str, str]] = []
    for item in result.mapped:
        rows.append((item.column, "" if item.expression == unnamed else item.expression, item.how))
        if item.column == "status":
            rows += [
                (f"· {state.status}", "none" if state.word is None else state.word, f"{state.n_runs:,} ×")
                for state in result.states
            ]
    what = "rows" if result.title is None else "runs"
    source = result.source if result.title is None else f"{result.source}: {result.title}"
    taken = f"{source}: {result.n_runs:,} of {result.n_rows:,} {what}"
    context.show(Table(taken, ("column", "from", "how"), tuple(rows)))
    if result.outcome == "read":
        tell(f"study {result.study}: nothing was stored; run without --dry-run to store it in {store}")
        return
    if result.outcome == "unchanged":
        tell(f"study {result.study}: {store} already holds these runs")
    elif result.outcome == "updated":
        told = ", ".join(f"{n_runs:,} {what}" for what, n_runs in result.counts.items() if n_runs)
        tell(f"study {result.study}: updated in {store}: {told}")
    else:
        tell(f"study {result.study}: {counted(result.n_runs, 'runs')} {result.outcome} in {store}")
    if not {item.column for item in result.mapped} & set(SCALES):
        scales = "--map n_params=COLUMN --map n_examples=COLUMN"
        tell(f"next: say which columns are scales; import it again with --replace and {scales}")
        return
    tell(f"next: scalelab analyze --store {store} --study {result.study}")
