"""`scalelab run`, `plan` and `status`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scalelab.amounts import counted
from scalelab.cli import options as opt
from scalelab.cli.cluster import cluster_of
from scalelab.cli.context import print_json, say, tell
from scalelab.jsonable import json_object

if TYPE_CHECKING:
    from scalelab.execute.events import RunSummary
    from scalelab.plugins import Catalog
    from scalelab.report.progress import RunDisplay
    from scalelab.study import Study


def _load(study: Path | None, catalog: Catalog) -> Study:
    import scalelab

    if study is None:
        say("no study file given: running the embedded quick-start study on synthetic ECG")
    return scalelab.load_study(study or scalelab.embedded_study_path(), catalog)


def run(
    ctx: typer.Context,
    study: opt.Trained = None,
    store: opt.Store = opt.DEFAULT_STORE,
    workers: opt.Workers = 1,
    threads: opt.TrainThreads = None,
    device: opt.TrainDevice = "auto",
    retry_failed: opt.RetryFailed = False,
    redo_changed: opt.RedoChanged = False,
    stall_seconds: opt.Stall = 900.0,
    keep_weights: opt.KeepWeights = False,
    plugins_dir: opt.PluginsDir = None,
    on: opt.OnCluster = None,
    slots: opt.Slots = None,
    cpus: opt.CpusPerTrial = None,
    gpus: opt.GpusPerTrial = None,
    time_limit: opt.JobTimeLimit = None,
    memory: opt.JobMemory = None,
    array_size: opt.ArraySize = None,
    sbatch: opt.Sbatch = None,
    setup: opt.JobSetup = None,
    not_shared: opt.NoSharedFolder = False,
    at_stop: opt.AtStop = None,
    json: opt.Json = False,
) -> None:
    """Run a study, or resume it; without a file, the embedded quick-start study.

    Finished trials are kept, interrupted ones resume from their checkpoint, new ones are added; a finished
    study is a no-op. Ctrl-C once ends cleanly, twice at once; nothing is lost either way.
    """
    import scalelab
    from scalelab.supervise.stop import StopSignal

    cluster = cluster_of(
        on, workers, slots, cpus, gpus, time_limit, memory, array_size, sbatch, setup, not_shared, at_stop
    )
    catalog = ctx.obj.catalog(plugins_dir)
    loaded = _load(study, catalog)
    with _display(leaves=cluster is not None and cluster.at_stop == "leave") as display:
        summary = scalelab.run_study(
            loaded,
            store,
            workers=workers,
            on=cluster,
            threads=threads,
            device=device,
            retry_failed=retry_failed,
            redo_changed=redo_changed,
            stall_seconds=stall_seconds,
            keep_weights=keep_weights,
            catalog=catalog,
            stop=StopSignal(display.stopping),
            on_event=display,
        )
    if json:
        print_json("run", {**json_object(summary), "complete": summary.complete})
    else:
        _print_summary(summary, store, redo_changed=redo_changed)
    _exit(summary)


def _exit(summary: RunSummary) -> None:
    if summary.failed:
        raise typer.Exit(1)
    if summary.stopped and not summary.complete:
        raise SystemExit(130)


def _display(*, leaves: bool) -> RunDisplay:
    from scalelab.report.progress import LiveDisplay, PlainDisplay

    if not sys.stderr.isatty():
        return PlainDisplay(sys.stderr, leaves=leaves)
    from rich.console import Console

    return LiveDisplay(Console(stderr=True), leaves=leaves)


def _print_summary(summary: RunSummary, store: Path, *, redo_changed: bool) -> None:
    from scalelab.report.numbers import duration, span

    counts = {
        "kept": summary.kept,
        "done": summary.done,
        "diverged": summary.diverged,
        "failed": len(summary.failed),
        "interrupted": summary.interrupted,
        "running elsewhere": summary.elsewhere,
        "left to the cluster": summary.left,
    }
    words = ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "none begun"
    said = f"; the plan said {span(*summary.forecast)}" if summary.forecast else ""
    tell(
        f"{summary.study}: {counted(summary.n_trials, 'trials')}: {words} ({duration(summary.seconds)}{said})"
    )
    if summary.sweeping:
        tell(f"  {summary.sweeping}")
    if summary.refitting:
        tell(f"  {summary.refitting}")
    for trial_id, reason in list(summary.failed.items())[:10]:
        log = summary.logs.get(trial_id)
        where = f" (log: {log})" if log else ""
        tell(f"  failed {trial_id}: {reason.removesuffix(f' (log: {log.name})') if log else reason}{where}")
    if len(summary.failed) > 10:
        tell(f"  … and {len(summary.failed) - 10} more; see: scalelab status --store {store}")
    if summary.complete:
        tell(f"next: scalelab analyze --store {store} --study {summary.study}")
    elif summary.failed:
        again = "--redo-changed" if redo_changed else "--retry-failed"
        tell(f"next: fix the cause, then run the study again with {again}")
    else:
        tell("next: run the same command again to continue")


def plan(
    ctx: typer.Context,
    study: opt.Trained = None,
    store: opt.Store = opt.DEFAULT_STORE,
    workers: opt.Workers = 1,
    threads: opt.TrainThreads = None,
    device: opt.TrainDevice = "auto",
    plugins_dir: opt.PluginsDir = None,
    json: opt.Json = False,
) -> None:
    """Show what a study would do: trials, parameters, FLOPs, estimated time, what is already done."""
    import scalelab

    catalog = ctx.obj.catalog(plugins_dir)
    opened = scalelab.open_store(store) if store.exists() else None
    planned = scalelab.plan_study(
        _load(study, catalog),
        opened,
        workers=workers,
        threads=threads,
        device=device,
        catalog=catalog,
        on_timing=lambda: say("timing some of the study's networks here"),
    )
    if json:
        print_json("plan", planned)
        return
    from scalelab.report.numbers import duration, span
    from scalelab.report.sections.studies import at_least, plan_table

    ctx.obj.show(plan_table(planned))
    if planned.counting >= 1.0:
        say(f"counting FLOPs took {duration(planned.counting)}; the cache keeps them")
    for reason in planned.skipped:
        say(f"left out: {reason}")
    if planned.precision:
        say(f"precision: {planned.precision}")
    if planned.sweeping:
        say(planned.sweeping)
    if planned.refitting:
        say(planned.refitting)
    uncounted = [name for row in planned.pending for name in row.uncounted]
    known = [row.train_flops for row in planned.pending if row.train_flops is not None]
    flops = at_least(f"{sum(known):.3g} FLOPs, ", uncounted) if known else ""
    if planned.seconds is None:
        time = f"time unknown: {planned.unknown}"
    else:
        time = f"{span(planned.seconds.low, planned.seconds.high)} with {planned.crew} on this machine"
    tell(f"{counted(len(planned.trials), 'trials')}, {len(planned.pending)} to do: {flops}{time}")


def status(ctx: typer.Context, store: opt.Store = opt.DEFAULT_STORE, json: opt.Json = False) -> None:
    """List the studies of a store, how far their trials are, and the cluster jobs that are at them."""
    import scalelab

    opened = scalelab.open_store(store)
    studies, clusters = opened.studies(), opened.cluster_runs()
    if json:
        print_json("status", {"studies": studies, "clusters": clusters})
        return
    from scalelab.report.sections.studies import cluster_lines, studies_table

    if not studies:
        tell(f"{store} holds no studies yet; next: scalelab run STUDY.toml --store {store}")
        return
    ctx.obj.show(studies_table(studies))
    for line in cluster_lines(clusters):
        tell(line)
