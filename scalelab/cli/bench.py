"""`scalelab bench`: latency of a study's networks on hardware, and what it says."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalelab.cli.context import (
    DEFAULT_STORE,
    FiguresOption,
    JsonOption,
    PluginsDirOption,
    StoreOption,
    duration,
    say,
)
from scalelab.errors import InputError
from scalelab.jsonable import jsonable

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.bench.coordinator import BenchSummary
    from scalelab.measure.targets import Target
    from scalelab.plugins import Catalog
    from scalelab.store import Store
    from scalelab.study import Study

TARGETS_HELP = (
    "As backend:device or backend:device:precision, several as a,b; every usable device by default."
)
STUDY_HELP = "A study of the store, whose own copy of the file is used."


def bench(
    ctx: typer.Context,
    study_file: Annotated[
        Path | None, typer.Argument(metavar="[STUDY]", help="The study's TOML file.", show_default=False)
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    study: Annotated[str | None, typer.Option("--study", help=STUDY_HELP)] = None,
    targets: Annotated[
        str | None, typer.Option("--targets", "--devices", help=TARGETS_HELP, show_default=False)
    ] = None,
    precisions: Annotated[
        str | None, typer.Option("--precisions", help="Such as f32,bf16,int8, for targets that name none.")
    ] = None,
    batch_sizes: Annotated[str, typer.Option("--batch-sizes", help="Examples a call, several as a,b.")] = "1",
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Only the best K of each architecture, by objective.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads; all usable cores by default.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="Another option of backends, KEY=VALUE.")
    ] = None,
    time_limit: Annotated[
        float, typer.Option("--time-limit", min=0.01, help="Seconds of timing a network and target.")
    ] = 5.0,
    retry: Annotated[bool, typer.Option("--retry", help="Measure again what failed before.")] = False,
    stall_seconds: Annotated[
        float, typer.Option("--stall-seconds", min=1.0, help="Silence after which a runtime counts as hung.")
    ] = 300.0,
    list_: Annotated[
        bool, typer.Option("--list", help="List the devices there are, and how to get the others.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be measured, measure nothing.")
    ] = False,
    measured: Annotated[
        bool, typer.Option("--measured", help="Show what the store has, of all machines; measure nothing.")
    ] = False,
    figures: FiguresOption = None,
    plugins_dir: PluginsDirOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how fast the networks of a study answer on devices, and fit the law of it.

    Trained or merely described; what was measured before is kept, what failed is retried with --retry. For
    example: scalelab bench study.toml --targets openvino:CPU,torch:cpu --precisions f32,int8 --top 5
    """
    from scalelab.bench.coordinator import bench_study
    from scalelab.study import load_study

    catalog = ctx.obj.catalog(plugins_dir)
    if list_:
        _list(catalog, threads or 1, plain=ctx.obj.plain, json=json)
        return
    if study_file is not None and study is not None:
        raise InputError("give a study file or --study NAME, not both")
    if measured:
        asked: dict[str, object] = {
            "--targets": targets,
            "--precisions": precisions,
            "--top": top,
            "--threads": threads,
        }
        asked |= {"--option": option, "--retry": retry, "--dry-run": dry_run}
        wrong = [name for name, value in asked.items() if value]
        if wrong:
            raise InputError(
                f"{wrong[0]} says what to measure, and --measured measures nothing; leave one out"
            )
        name = load_study(study_file, catalog).name if study_file is not None else study
        latencies = _measured(ctx.obj.store(store), store, name)
        _show(latencies, {"study": name}, plain=ctx.obj.plain, json=json)
        _draw(latencies, figures)
        return
    loaded, opened = _study(ctx, study_file, study, store, catalog)
    from scalelab.report.work import work_display

    with work_display(sys.stderr) as progress:
        summary = bench_study(
            loaded,
            opened,
            _targets(targets),
            precisions=_names(precisions),
            batch_sizes=_batch_sizes(batch_sizes),
            top=top,
            threads=threads,
            options=_options(option or []),
            time_limit=time_limit,
            retry=retry,
            stall_seconds=stall_seconds,
            dry_run=dry_run,
            catalog=catalog,
            on_progress=progress,
        )
    for note in summary.notes:
        say(note)
    latencies = opened.latencies(benchmark_ids=summary.ids)
    _show(latencies, asdict(summary), plain=ctx.obj.plain, json=json)
    if not json:
        _say_what_was_done(summary, store, dry_run=dry_run)
    _draw(latencies, figures)
    if summary.stopped and summary.pending:
        raise typer.Exit(130)
    if (latencies["status"].isin(["failed", "timeout"])).any():
        raise typer.Exit(1)


def _list(catalog: Catalog, threads: int, *, plain: bool, json: bool) -> None:
    from scalelab.bench.coordinator import list_devices
    from scalelab.report.sections.latency import devices_table
    from scalelab.report.terminal import show

    rows = list_devices(catalog, threads=threads)
    if json:
        print(json_module.dumps([row.model_dump(mode="json") for row in rows], indent=2))
    else:
        show(devices_table(rows), plain=plain)


def _study(
    ctx: typer.Context, path: Path | None, name: str | None, store: Path, catalog: Catalog
) -> tuple[Study, Store]:
    """Returns the study to measure, from its file or from the store, and the store.

    Raises:
        InputError: Neither was given, or the store has no such study.
    """
    from scalelab.study import load_study, parse_study

    if path is not None:
        return load_study(path, catalog), ctx.obj.store(store, create=True)
    opened = ctx.obj.store(store)
    _, rows = opened.rows("select study, text from studies order by study")
    texts = dict(rows)
    if name is None and len(texts) == 1:
        (name,) = texts
    if name is None:
        there = f"{store} has {', '.join(texts)}" if texts else f"{store} has none"
        raise InputError(f"which study? give its file, or --study NAME ({there})")
    if name not in texts:
        from scalelab.errors import suggest

        raise InputError(
            f"{store} has no study {name!r} that was run{suggest(name, texts)}; "
            f"it has {', '.join(texts) or 'none'}"
        )
    return parse_study(texts[name], f"study {name!r} of {store}", catalog), opened


def _targets(text: str | None) -> list[Target]:
    from scalelab.measure.targets import parse_target

    return [parse_target(one) for one in _names(text) or []]


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [one.strip() for one in text.split(",") if one.strip()]


def _batch_sizes(text: str) -> list[int]:
    try:
        return [int(one) for one in text.split(",")]
    except ValueError:
        raise InputError(f"--batch-sizes {text!r}: must be whole numbers such as 1,8,64") from None


def _options(given: Sequence[str]) -> dict[str, str]:
    options = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not (sign and name.strip()):
            raise InputError(f"--option {text!r}: must be KEY=VALUE, such as compile=true")
        options[name.strip()] = value.strip()
    return options


def _measured(opened: Store, path: Path, study: str | None) -> pd.DataFrame:
    """Returns what a store has measured, for one study or all.

    Raises:
        InputError: It has measured nothing of it.
    """
    latencies = opened.latencies(study)
    if latencies.empty:
        of_it = "" if study is None else f" of study {study!r}"
        raise InputError(f"{path} has no measurements{of_it}; scalelab bench without --measured makes them")
    return latencies


def _show(latencies: pd.DataFrame, facts: dict[str, Any], *, plain: bool, json: bool) -> None:
    """Prints what measurements say; as JSON with `facts` before them."""
    from scalelab.analysis.latency.law import fit_laws
    from scalelab.report.sections.latency import bench_tables
    from scalelab.report.terminal import show

    laws = fit_laws(latencies)
    if json:
        rows = json_module.loads(latencies.to_json(orient="records", date_format="iso"))
        document = {**facts, "laws": jsonable(laws), "latencies": rows}
        print(json_module.dumps(document, indent=2))
        return
    for table in bench_tables(latencies, laws):
        show(table, plain=plain)


def _say_what_was_done(summary: BenchSummary, store: Path, *, dry_run: bool) -> None:
    counts = {"measured": summary.ok, "kept": summary.kept, "pending": summary.pending}
    counts["not measured"] = sum(sum(reasons.values()) for reasons in summary.problems.values())
    words = ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "nothing to measure"
    print(f"{summary.study}: {len(summary.ids)} benchmarks: {words} ({duration(summary.seconds)})")
    if summary.pending:
        again = "without --dry-run it is measured" if dry_run else "the same command goes on"
        print(f"next: {again}, into {store}")


def _draw(latencies: pd.DataFrame, folder: Path | None) -> None:
    from scalelab.report.drawing.panels import save
    from scalelab.report.sections.latency_figures import latency_figures

    if folder is not None:
        say(f"wrote {len(save(latency_figures(latencies), folder))} files to {folder}")
