"""A report as files: one HTML page, one Markdown document, every figure and every table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.errors import InputError
from scalelab.report.drawing.figure import save
from scalelab.report.markdown import markdown_text
from scalelab.report.page import html_page
from scalelab.report.script.payload import payload
from scalelab.report.sections.again import with_commands
from scalelab.report.sections.all import OnError, sections
from scalelab.report.sections.answer import NextStudy
from scalelab.report.tables import save_tables

if TYPE_CHECKING:
    from scalelab.analysis.analyze import Analysis


def write_report(
    analysis: Analysis,
    *,
    html: Path | None = None,
    markdown: Path | None = None,
    figures: Path | None = None,
    tables: Path | None = None,
    title: str = "Scaling report",
    source: str = "",
    studies: Mapping[str, NextStudy] | None = None,
    command: str = "",
    on_error: OnError | None = None,
) -> list[Path]:
    """Writes a report's files; all hold the same sections.

    Args:
        analysis: What to report; with its learning curves, where these should be drawn.
        html: A self-contained page.
        markdown: A Markdown document, which shows the files of `figures`.
        figures: A folder for every figure as PNG, SVG and PDF.
        tables: A folder for every table as Markdown, LaTeX (booktabs) and CSV.
        title: The heading.
        source: Where the runs came from, for a line under the heading.
        studies: What to train next, by dataset, as `scalelab.next_studies` gives it.
        command: What makes this analysis again on a command line, without its files.
        on_error: Told in a line of a part that fails, which then says so in its place; without it the error
            is raised.

    Returns:
        The files.

    Raises:
        InputError: A file cannot be written.
    """
    if html is markdown is figures is tables is None:
        return []
    report = sections(analysis, whole=True, draw=True, studies=studies, on_error=on_error)
    report = with_commands(report, command) if command else report
    n_runs = len(analysis.runs)
    written = []
    if figures is not None:
        written += save([figure for section in report for figure in section.figures], figures)
    if tables is not None:
        written += save_tables(report, tables)
    if html is not None:
        page = html_page(
            report,
            title=title,
            source=source,
            n_runs=n_runs,
            runs_data=payload(analysis),
            on_error=on_error,
        )
        written.append(_write(page, html))
    if markdown is not None:
        folder = Path(os.path.relpath(figures, markdown.parent)).as_posix() if figures is not None else None
        text = markdown_text(report, title=title, source=source, n_runs=n_runs, figures=folder)
        written.append(_write(text, markdown))
    return written


def _write(text: str, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"the report cannot be written to {path}: {error.strerror or error}") from error
    return path
