"""`scalelab analyze`: laws, fronts, trees; in the terminal, as JSON, Markdown, figures, one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from scalelab.cli import options as opt
from scalelab.cli.context import print_json, require_folder, say, warn
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
    on: opt.On = "validation",
    charge: opt.Charge = "last",
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
    files = _files(store, figures, html=html, markdown=markdown)
    opened = scalelab.open_store(store)
    catalog = ctx.obj.catalog(plugins_dir) if propose is not None or plugins_dir else None
    known = study_to_narrow(opened, study, propose, source, catalog) if propose and catalog else None
    say(f"analyzing {study or store}")
    how: Any = {"estimator": estimator, "level": level, "on": on, "charge": charge}
    analysis = scalelab.analyze(
        opened,
        study=study,
        law=law,
        axes=axis,
        trees=trees,
        design=design or propose is not None,
        curves=bool(files or figures),
        catalog=catalog,
        **how,
    )
    for line in analysis.warnings:
        warn(line)
    if json:
        print_json(analysis)
    else:
        from scalelab.report.sections.all import sections
        from scalelab.report.terminal import show_sections

        show_sections(sections(analysis, on_error=warn), plain=ctx.obj.plain)
    if files or figures:
        _write(analysis, files, figures, study, store)
    if propose is not None:
        _propose(analysis, known, propose, catalog)


def _files(store: Path, figures: Path | None, **asked: Path | None) -> dict[str, Path]:
    """Returns the files to write, those called `-` named after the store, before anything is computed.

    Raises:
        InputError: One is the store, another one of them, or a folder; or the folder of figures is a file.
    """
    require_folder("--figures", figures)
    endings = {"html": "html", "markdown": "md"}
    files: dict[str, Path] = {}
    taken = {store.resolve(): "--store"}
    for name, path in asked.items():
        if path is None:
            continue
        path = Path(f"{store.stem}-report.{endings[name]}") if str(path) == "-" else path
        other = "a folder" if path.is_dir() else taken.get(path.resolve())
        if other is not None:
            raise InputError(f"--{name} {path}: it is {other}; choose another file")
        files[name] = path
        taken[path.resolve()] = f"--{name}"
    return files


def _write(
    analysis: Analysis, files: dict[str, Path], figures: Path | None, study: str | None, store: Path
) -> None:
    from scalelab.report.files import write_report

    title = f"Scaling report: {study or store.stem}"
    written = write_report(analysis, **files, figures=figures, title=title, source=store.name, on_error=warn)
    n_drawn = sum(path.parent == figures for path in written)
    if n_drawn:
        say(f"wrote {n_drawn} files to {figures}")
    for path in files.values():
        say(f"wrote {path}")


def _propose(analysis: Analysis, study: Study | None, path: Path, catalog: Catalog | None) -> None:
    import scalelab

    found = scalelab.propose_space(analysis, study, path, catalog=catalog)
    for line in found.changes:
        say(line)
    say(f"wrote {path}: {found.n_trials:,} trials; next: scalelab plan {path}")
