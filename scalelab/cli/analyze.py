"""`scalelab analyze`: laws, fronts, trees; in the terminal, as JSON, Markdown, figures, one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scalelab.cli import options as opt
from scalelab.cli.context import print_json, say, warn
from scalelab.errors import InputError

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
    markdown: opt.Markdown = None,
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
        curves=any((html, markdown, figures)),
        catalog=catalog,
    )
    for line in analysis.warnings:
        warn(line)
    if json:
        print_json(analysis)
    else:
        from scalelab.report.sections.all import sections
        from scalelab.report.terminal import show_sections

        show_sections(sections(analysis, on_error=warn), plain=ctx.obj.plain)
    if html or markdown or figures:
        _write(analysis, {"html": html, "markdown": markdown, "figures": figures}, study, store)
    if propose is not None:
        _propose(analysis, known, propose, catalog)


def _write(analysis: Analysis, files: dict[str, Path | None], study: str | None, store: Path) -> None:
    from scalelab.report.files import write_report

    for name, ending in (("html", "html"), ("markdown", "md")):
        if str(files[name]) == "-":
            files[name] = Path(f"{store.stem}-report.{ending}")
    title = f"Scaling report: {study or store.stem}"
    written = write_report(analysis, **files, title=title, source=store.name, on_error=warn)
    folder = files["figures"]
    n_drawn = sum(path.parent == folder for path in written)
    if n_drawn:
        say(f"wrote {n_drawn} files to {folder}")
    for path in (files["html"], files["markdown"]):
        if path is not None:
            say(f"wrote {path}")


def _propose(analysis: Analysis, study: Study | None, path: Path, catalog: Catalog | None) -> None:
    import scalelab

    found = scalelab.propose_space(analysis, study, path, catalog=catalog)
    for line in found.changes:
        say(line)
    say(f"wrote {path}: {found.n_trials:,} trials; next: scalelab plan {path}")
