"""`scalelab analyze`: laws, fronts, trees; in the terminal, as JSON, Markdown, figures, one HTML page."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scalelab.cli import options as opt
from scalelab.cli.context import say, warn
from scalelab.errors import InputError
from scalelab.jsonable import jsonable

if TYPE_CHECKING:
    from scalelab.analysis.analyze import Analysis
    from scalelab.plugins import Catalog
    from scalelab.study import Study


def analyze(
    ctx: typer.Context,
    store: opt.Store = opt.DEFAULT_STORE,
    study: opt.Study = None,
    law: opt.Law = None,
    axis: opt.Axes = None,
    estimator: opt.Estimator = "log-huber",
    level: opt.Level = 0.9,
    trees: opt.Trees = True,
    design: opt.Design = False,
    propose: opt.Propose = None,
    source: opt.StudyFile = None,
    html: opt.Html = None,
    figures: opt.Figures = None,
    plugins_dir: opt.PluginsDir = None,
    json: opt.Json = False,
) -> None:
    """Fit the laws of a store's runs: loss by size, data and compute, Pareto fronts, importances.

    Works while a run goes on, on the trials that are finished. What they cannot support is refused, with the
    reason.
    """
    import scalelab
    from scalelab.api.proposals import study_to_narrow

    if source is not None and propose is None:
        raise InputError("--from goes with --propose: it says where the new study's settings come from")
    opened = scalelab.open_store(store)
    catalog = ctx.obj.catalog(plugins_dir) if propose is not None or plugins_dir else None
    known = study_to_narrow(opened, study, propose, source, catalog) if propose and catalog else None
    say(f"analyzing {study or store}")
    analysis = scalelab.analyze(
        opened,
        study=study,
        law=law,
        axes=axis,
        estimator=estimator,
        level=level,
        trees=trees,
        design=design or propose is not None,
        curves=html is not None or figures is not None,
        catalog=catalog,
    )
    for line in analysis.warnings:
        warn(line)
    if json:
        print(json_module.dumps(jsonable(analysis), indent=2))
    else:
        _print(analysis, plain=ctx.obj.plain)
    _draw(analysis, html=html, figures=figures, title=study or store.stem, store=store)
    if propose is not None and known is not None:
        _propose(analysis, known, propose, catalog)


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

    if html is None and figures is None:
        return
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


def _propose(analysis: Analysis, study: Study, path: Path, catalog: Catalog | None) -> None:
    import scalelab

    found = scalelab.propose_space(analysis, study, path, catalog=catalog)
    for line in found.changes:
        say(line)
    say(f"wrote {path}: {found.n_trials:,} trials; next: scalelab plan {path}")
