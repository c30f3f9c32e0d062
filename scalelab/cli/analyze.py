"""`scalelab analyze`: laws, fronts, trees; in the terminal, as JSON, Markdown, figures, one HTML page."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from scalelab.amounts import counted
from scalelab.cli import options as opt
from scalelab.cli.context import command_line, filters_of, print_json, require_folder, say, warn
from scalelab.errors import InputError
from scalelab.heap import kept_memory

if TYPE_CHECKING:
    from scalelab.analysis.analyze import Analysis
    from scalelab.plugins import Catalog
    from scalelab.report.sections.answer import NextStudy
    from scalelab.report.waiting import LiveWaiting, PlainWaiting
    from scalelab.store import Store
    from scalelab.study import Study


_ENDINGS = {"html": (".html", ".htm"), "markdown": (".md", ".markdown")}
"""How the names of reports end, the usual one first: of files that exist a report replaces only these."""


def analyze(
    ctx: typer.Context,
    store: opt.Store = opt.DEFAULT_STORE,
    study: opt.Studies = None,
    dataset: opt.Dataset = None,
    architecture: opt.Architecture = None,
    optimizer: opt.Optimizer = None,
    where: opt.Where = None,
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
    tables: opt.TableFiles = None,
    plugins_dir: opt.PluginsDir = None,
    json: opt.Json = False,
) -> None:
    """Fit the laws of a store's runs: loss by size, data and compute, Pareto fronts, importances.

    Works while a run goes on, on the finished trials. What they cannot support is refused, with the reason.
    """
    import scalelab

    folders = {"figures": figures, "tables": tables}
    files = _files(store, folders, html=html, markdown=markdown)
    opened = scalelab.open_store(store)
    catalog = ctx.obj.catalog(plugins_dir) if propose is not None or plugins_dir else None
    known = _to_narrow(opened, study, propose, source, catalog)
    say(f"analyzing {' and '.join(study or ()) or store}")
    analysis = _analyzed(
        opened,
        law=law,
        axes=axis,
        trees=trees,
        design=design or propose is not None,
        curves=bool(files or figures or tables),
        estimator=estimator,
        level=level,
        catalog=catalog,
        **filters_of(study, dataset, architecture, optimizer, where, on, charge),
    )
    for line in analysis.warnings:
        warn(line)
    if not json:
        _show(analysis, opened, plain=ctx.obj.plain)
    if files or figures or tables:
        studies = scalelab.next_studies(analysis, opened, catalog=catalog) if files else {}
        _write(ctx, analysis, files, folders, studies)
    if propose is not None:
        _propose(analysis, known, propose, catalog)
    if json:
        print_json("analyze", analysis)


def _to_narrow(
    store: Store,
    studies: list[str] | None,
    propose: Path | None,
    source: Path | None,
    catalog: Catalog | None,
) -> Study | None:
    """Returns the study that `--propose` narrows, checked before anything takes long.

    Raises:
        InputError: Several studies are named, or it cannot be narrowed.
    """
    from scalelab.api.proposals import study_to_narrow

    if source is not None and propose is None:
        raise InputError("--from goes with --propose: it says where the new study's settings come from")
    if propose is None or catalog is None:
        return None
    if studies and len(studies) > 1:
        raise InputError("--propose narrows one study; give --study once")
    return study_to_narrow(store, studies[0] if studies else None, propose, source, catalog)


def _analyzed(store: Store, **asked: Any) -> Analysis:
    """Analyzes, and shows how far that is."""
    import scalelab

    with _waiting() as progress:
        return scalelab.analyze(store, progress=progress, **asked)


def _waiting() -> LiveWaiting | PlainWaiting:
    """Returns what shows how far the analysis is: a bar, or lines where standard error is no terminal."""
    from scalelab.report.waiting import LiveWaiting, PlainWaiting

    if not sys.stderr.isatty():
        return PlainWaiting(sys.stderr)
    from rich.console import Console

    return LiveWaiting(Console(stderr=True))


@kept_memory()
def _show(analysis: Analysis, store: Store, *, plain: bool) -> None:
    import scalelab
    from scalelab.report.sections.all import sections
    from scalelab.report.terminal import show_sections

    studies = scalelab.next_studies(analysis, store, build=False)
    show_sections(sections(analysis, studies=studies, on_error=warn), plain=plain)


def _files(store: Path, folders: Mapping[str, Path | None], **asked: Path | None) -> dict[str, Path]:
    """Returns the files to write, those called `-` named after the store, before anything is computed.

    Raises:
        InputError: One is the store, another one of them, or a folder; or a folder is a file.
    """
    for folder, path in folders.items():
        require_folder(f"--{folder}", path)
    files: dict[str, Path] = {}
    taken = {store.resolve(): "--store"}
    for name, path in asked.items():
        if path is None:
            continue
        path = Path(f"{store.stem}-report{_ENDINGS[name][0]}") if str(path) == "-" else path
        other = "a folder" if path.is_dir() else taken.get(path.resolve())
        if other is None and path.is_file() and path.suffix.lower() not in _ENDINGS[name]:
            other = f"a file already, and none that ends with {_ENDINGS[name][0]}"
        if other is not None:
            raise InputError(f"--{name} {path}: it is {other}; choose another file")
        files[name] = path
        taken[path.resolve()] = f"--{name}"
    return files


@kept_memory()
def _write(
    ctx: typer.Context,
    analysis: Analysis,
    files: Mapping[str, Path],
    folders: Mapping[str, Path | None],
    studies: Mapping[str, NextStudy],
) -> None:
    from scalelab.report.files import write_report

    store, study = ctx.params["store"], ctx.params["study"] or ()
    title = f"Scaling report: {' and '.join(study) or store.stem}"
    if analysis.only:
        title += f"; {analysis.only.rpartition(':')[0]}"
    command = command_line(ctx, leave_out=("html", "markdown", "figures", "tables", "propose"))
    named: Any = {**files, **folders}
    written = write_report(
        analysis, **named, title=title, source=store.name, studies=studies, command=command, on_error=warn
    )
    for folder in dict.fromkeys(folder for folder in folders.values() if folder is not None):
        say(f"wrote {counted(sum(path.parent == folder for path in written), 'files')} to {folder}")
    for path in files.values():
        say(f"wrote {path}")


def _propose(analysis: Analysis, study: Study | None, path: Path, catalog: Catalog | None) -> None:
    import scalelab

    found = scalelab.propose_space(analysis, study, path, catalog=catalog)
    for line in found.changes:
        say(line)
    say(f"wrote {path}: {counted(found.n_trials, 'trials')}; next: scalelab plan {path}")
