"""A report as files: one HTML page, one Markdown document, and every figure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.errors import InputError
from scalelab.report.drawing.figure import save
from scalelab.report.markdown import markdown_text
from scalelab.report.page import html_page
from scalelab.report.sections.all import OnError, sections

if TYPE_CHECKING:
    from scalelab.analysis.analyze import Analysis


def write_report(
    analysis: Analysis,
    *,
    html: Path | None = None,
    markdown: Path | None = None,
    figures: Path | None = None,
    title: str = "Scaling report",
    source: str = "",
    on_error: OnError | None = None,
) -> list[Path]:
    """Writes a report's files; all hold the same sections.

    Args:
        analysis: What to report; with its learning curves, where these should be drawn.
        html: A self-contained page.
        markdown: A Markdown document, which shows the files of `figures`.
        figures: A folder for every figure as PNG and SVG.
        title: The heading.
        source: Where the runs came from, for a line under the heading.
        on_error: Told in a line of a part that fails, which then says so in its place; without it the error
            is raised.

    Returns:
        The files.

    Raises:
        InputError: A file cannot be written.
    """
    if html is None and markdown is None and figures is None:
        return []
    report = sections(analysis, whole=True, draw=True, on_error=on_error)
    n_runs = len(analysis.runs)
    written = []
    if figures is not None:
        written += save([figure for section in report for figure in section.figures], figures)
    if html is not None:
        page = html_page(report, title=title, source=source, n_runs=n_runs, on_error=on_error)
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
