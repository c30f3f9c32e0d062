"""`scalelab bench`: latency of a study's networks on hardware, and what it says."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from scalelab.amounts import counted
from scalelab.cli import options as opt
from scalelab.cli.context import Context, names, pairs, print_json, require_folder, say, tell
from scalelab.errors import InputError, suggest

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.bench.coordinator import BenchSummary
    from scalelab.plugins import Catalog
    from scalelab.store import Store
    from scalelab.study import Study


def bench(
    ctx: typer.Context,
    study_file: opt.Benched = None,
    store: opt.Store = opt.DEFAULT_STORE,
    study: opt.BenchedName = None,
    targets: opt.Targets = None,
    precisions: opt.Precisions = None,
    batch_sizes: opt.BatchSizes = "1",
    top: opt.Top = None,
    threads: opt.Threads = None,
    option: opt.BackendOptions = None,
    time_limit: opt.TimeLimit = 5.0,
    retry: opt.Retry = False,
    stall_seconds: opt.BenchStall = 300.0,
    list_: opt.ListDevices = False,
    dry_run: opt.DryBench = False,
    measured: opt.Measured = False,
    figures: opt.Figures = None,
    plugins_dir: opt.PluginsDir = None,
    json: opt.Json = False,
) -> None:
    """Measure the inference latency of a study's networks on devices, and fit its law.

    Trained or merely described; what was measured before is kept, what failed is retried with --retry. For
    example: scalelab bench study.toml --targets openvino:CPU,torch:cpu --precisions f32,int8 --top 5
    """
    catalog = ctx.obj.catalog(plugins_dir)
    asks: dict[str, Any] = {
        "precisions": names(precisions),
        "batch_sizes": _batch_sizes(batch_sizes),
        "top": top,
        "threads": threads,
        "options": pairs("--option", option, "KEY=VALUE, such as compile=true"),
        "retry": retry,
        "dry_run": dry_run,
    }
    if list_:
        _list(ctx.obj, catalog, threads, json=json)
        return
    if study_file is not None and study is not None:
        raise InputError("give a study file or --study NAME, not both")
    require_folder("--figures", figures)
    if measured:
        _refuse_heedless({"targets": targets, **asks, "batch_sizes": None})
        latencies, facts = _measured(store, study_file, study, catalog)
        summary = None
    else:
        loaded, opened = _study(study_file, study, store, catalog)
        asks |= {"time_limit": time_limit, "stall_seconds": stall_seconds}
        summary = _measure(loaded, opened, targets, asks, catalog)
        latencies, facts = opened.latencies(benchmark_ids=summary.ids), asdict(summary)
    _draw(latencies, figures)
    _show(ctx.obj, latencies, facts, json=json)
    if summary is not None and not json:
        _say_what_was_done(summary, store, dry_run=dry_run)
    if summary is not None:
        _exit(summary, latencies)


def _list(context: Context, catalog: Catalog, threads: int | None, *, json: bool) -> None:
    import scalelab
    from scalelab.report.sections.latency import devices_table

    rows = scalelab.list_devices(catalog, threads=threads or 1)
    if json:
        print_json("bench-devices", {"devices": rows})
    else:
        context.show(devices_table(rows))


def _refuse_heedless(given: dict[str, object]) -> None:
    """Refuses options that say what to measure beside --measured, which measures nothing."""
    for name, value in given.items():
        if value:
            option = "option" if name == "options" else name.replace("_", "-")
            raise InputError(
                f"--{option} says what to measure, and --measured measures nothing; leave one out"
            )


def _measured(
    path: Path, study_file: Path | None, study: str | None, catalog: Catalog
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Returns what all machines measured of a study, or of all studies."""
    import scalelab

    name = study if study_file is None else scalelab.load_study(study_file, catalog).name
    opened = scalelab.open_store(path)
    known = [summary.study for summary in opened.studies()]
    if name is not None and name not in known:
        raise InputError(
            f"{path} has no study {name!r}{suggest(name, known)}; it has {', '.join(known) or 'none'}"
        )
    latencies = opened.latencies(name)
    if latencies.empty:
        of_it = "" if name is None else f" of study {name!r}"
        raise InputError(f"{path} has no measurements{of_it}; scalelab bench without --measured makes them")
    return latencies, {"study": name}


def _study(path: Path | None, name: str | None, store: Path, catalog: Catalog) -> tuple[Study, Store]:
    """Returns the study to measure, from its file or from the store, and the store."""
    import scalelab

    if path is not None:
        return scalelab.load_study(path, catalog), scalelab.open_store(store, create=True)
    opened = scalelab.open_store(store)
    return scalelab.stored_study(opened, name, catalog=catalog), opened


def _measure(
    study: Study, store: Store, targets: str | None, asks: dict[str, Any], catalog: Catalog
) -> BenchSummary:
    import scalelab
    from scalelab.report.work import work_display

    with work_display(sys.stderr) as progress:
        summary = scalelab.bench_study(
            study,
            store,
            [scalelab.parse_target(one) for one in names(targets) or ()],
            catalog=catalog,
            on_progress=progress,
            **asks,
        )
    for note in summary.notes:
        say(note)
    return summary


def _batch_sizes(text: str) -> list[int]:
    try:
        return [int(one) for one in text.split(",")]
    except ValueError:
        raise InputError(f"--batch-sizes {text!r}: must be whole numbers such as 1,8,64") from None


def _show(context: Context, latencies: pd.DataFrame, facts: dict[str, Any], *, json: bool) -> None:
    """Prints what measurements say; as JSON with `facts` before them."""
    from scalelab.analysis.latency.law import fit_laws
    from scalelab.report.sections.latency import bench_tables

    laws = fit_laws(latencies)
    if json:
        print_json("bench", {**facts, "laws": laws, "latencies": latencies})
    else:
        context.show(*bench_tables(latencies, laws))


def _say_what_was_done(summary: BenchSummary, store: Path, *, dry_run: bool) -> None:
    from scalelab.report.numbers import duration

    counts = {"measured": summary.ok, "kept": summary.kept, "pending": summary.pending}
    counts["not measured"] = sum(sum(reasons.values()) for reasons in summary.problems.values())
    words = ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "nothing to measure"
    tell(f"{summary.study}: {len(summary.ids)} benchmarks: {words} ({duration(summary.seconds)})")
    if summary.pending:
        again = "run without --dry-run to measure" if dry_run else "run the same command again to continue"
        tell(f"next: {again}, into {store}")


def _draw(latencies: pd.DataFrame, folder: Path | None) -> None:
    import scalelab

    if folder is not None:
        say(f"wrote {counted(len(scalelab.draw_latencies(latencies, folder)), 'files')} to {folder}")


def _exit(summary: BenchSummary, latencies: pd.DataFrame) -> None:
    if summary.stopped and summary.pending:
        raise SystemExit(130)
    if latencies["status"].isin(["failed", "timeout"]).any():
        raise typer.Exit(1)
