"""`scalelab analyze`: laws, fronts, trees; in the terminal, as JSON, as figures, as one HTML page."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalelab.cli.context import (
    DEFAULT_STORE,
    FiguresOption,
    JsonOption,
    PluginsDirOption,
    StoreOption,
    law_named,
    say,
    warn,
)
from scalelab.cli.finished import planned_trials
from scalelab.cli.proposal import study_to_narrow, write_proposal
from scalelab.jsonable import jsonable

if TYPE_CHECKING:
    from scalelab.analysis.analyze import Analysis

PROPOSE_HELP = "Write a study file with the smaller space that holds the best models; implies --design."
FROM_HELP = "With --propose: the study file, where the one in the store names files relative to it."
REPORT_HELP = "Write one self-contained page here; '-' names it after the store."


def analyze(
    ctx: typer.Context,
    store: StoreOption = DEFAULT_STORE,
    study: Annotated[str | None, typer.Option("--study", help="Only this study; all by default.")] = None,
    law: Annotated[
        str | None,
        typer.Option("--law", help="Form to fit, such as power, power-offset, m4, chinchilla, auto."),
    ] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(
            "--axis", help="n_params, n_examples, train_flops or joint; may be given more than once."
        ),
    ] = None,
    estimator: Annotated[str, typer.Option("--estimator", help="What the fits minimize.")] = "log-huber",
    level: Annotated[float, typer.Option("--level", help="Coverage of the intervals.")] = 0.9,
    trees: Annotated[bool, typer.Option("--trees/--no-trees", help="Fit tree models of the design.")] = True,
    design: Annotated[
        bool, typer.Option("--design", help="Analyze the design space: three kinds of tree model and more.")
    ] = False,
    propose: Annotated[Path | None, typer.Option("--propose", help=PROPOSE_HELP)] = None,
    source: Annotated[Path | None, typer.Option("--from", help=FROM_HELP)] = None,
    html: Annotated[Path | None, typer.Option("--html", help=REPORT_HELP)] = None,
    figures: FiguresOption = None,
    plugins_dir: PluginsDirOption = None,
    json: JsonOption = False,
) -> None:
    """Fit the laws of a store's runs: loss by size, data and compute, Pareto fronts, importances.

    Works while a run goes on, on the trials that are finished. What they cannot support is refused in words.
    """
    from scalelab.analysis.analyze import analyze as analyze_runs

    opened = ctx.obj.store(store)
    planned = planned_trials(opened, store, study)
    plugins = ctx.obj.catalog(plugins_dir) if propose is not None else None
    known = study_to_narrow(opened, study, propose, source, plugins)
    runs = opened.runs(study)
    drawing = html is not None or figures is not None
    say(f"analyzing {len(runs):,} trials of {study or store}")
    analysis = analyze_runs(
        runs,
        curves=opened.curves(study) if drawing else None,
        planned=planned,
        law=law_named(ctx, law, plugins_dir),
        axes=axis,
        estimator=estimator,
        level=level,
        trees=trees,
        design=design or propose is not None,
    )
    for line in analysis.warnings:
        warn(line)
    if json:
        print(json_module.dumps(jsonable(analysis), indent=2))
    else:
        _print(analysis, plain=ctx.obj.plain)
    if drawing:
        _draw(analysis, html=html, figures=figures, title=study or store.stem, store=store)
    if propose is not None and plugins is not None:
        write_proposal(analysis, known, propose, plugins)


def _print(analysis: Analysis, *, plain: bool) -> None:
    from scalelab.report.sections.answer import headlines
    from scalelab.report.sections.studies import analysis_tables, show

    for table in analysis_tables(analysis):
        show(table, plain=plain)
    for line in headlines(analysis):
        print(line)


def _draw(analysis: Analysis, *, html: Path | None, figures: Path | None, title: str, store: Path) -> None:
    from scalelab.report.drawing.panels import save
    from scalelab.report.figures import figures_of

    drawn = figures_of(analysis)
    if figures is not None:
        say(f"wrote {len(save(drawn, figures))} files to {figures}")
    if html is not None:
        from scalelab.report.page import html_page, write_html

        path = Path(f"{store.stem}-report.html") if str(html) == "-" else html
        write_html(
            html_page(analysis, title=f"Scaling report: {title}", source=store.name, figures=drawn), path
        )
        say(f"wrote {path}")
