"""A report as Markdown, as GitHub and most wikis render it: the same sections as on the page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from scalelab.errors import visible
from scalelab.report.page import made_line, with_powers
from scalelab.report.parts import Figure, File, Section, Table


def markdown_text(
    sections: Sequence[Section],
    *,
    title: str = "Scaling report",
    source: str = "",
    n_runs: int | None = None,
    figures: str | None = None,
) -> str:
    """Returns the report as one Markdown document.

    Args:
        sections: The report.
        title: Its heading.
        source: Where the runs came from, for a line under the heading.
        n_runs: How many finished runs it is about.
        figures: The folder of the figures' files, as the document should name it; without it a figure is its
            title and what it shows.
    """
    parts = [f"# {_text(title)}", _text(made_line(source, n_runs))]
    for section in sections:
        parts.append(f"## {_text(section.title)}")
        parts += [f"*{_text(section.reason[0].upper() + section.reason[1:])}.*"] if section.reason else []
        parts += ["\n".join(f"- {_text(line)}" for line in section.answer)] if section.answer else []
        parts += [f"> **Warning:** {_text(line)}" for line in section.warnings]
        parts += [part for file in section.files for part in _file(file)]
        parts += [part for figure in section.figures for part in _figure(figure, figures)]
        parts += [part for table in section.tables for part in _table(table, section.title)]
        parts += map(_text, section.notes)
    return visible("\n\n".join(parts)) + "\n"


def _file(file: File) -> Iterator[str]:
    fence = "`" * max(3, *(len(ticks) + 1 for ticks in re.findall("`+", file.text)), 3)
    yield f"<details><summary>{_text(file.title)}</summary>"
    yield f"{fence}toml\n{file.text.rstrip()}\n{fence}"
    yield "</details>"


def _figure(figure: Figure, folder: str | None) -> Iterator[str]:
    if folder is not None:
        yield f"![{_text(figure.title)}](<{quote(f'{folder}/{figure.name}.svg')}>)"
    where = "" if folder is not None else " (a figure; `--figures DIR` draws it)"
    yield f"**{_text(figure.title)}.**{where} {_text(figure.caption)}"


def _table(table: Table, above: str) -> Iterator[str]:
    if table.title and table.title != above:
        yield f"### {_text(table.title)}"
    yield from table_text(table)


def table_text(table: Table, title: str = "") -> Iterator[str]:
    """Yields the blocks of a table: its title in bold, where one is given, its rows and its notes."""
    if title:
        yield f"**{_text(title)}**"
    if table.rows:
        rule = ("---:" if name in table.numeric else "---" for name in table.columns)
        rows = [map(_text, table.columns), rule, *(map(_text, row) for row in table.rows)]
        yield "\n".join(f"| {' | '.join(row)} |" for row in rows)
    if table.notes:
        yield "\n".join(f"- {_text(note)}" for note in table.notes)


def _text(text: str) -> str:
    """Returns a text that Markdown shows as it is, on one line, with raised exponents.

    Underscores within a word and brackets mean nothing there and stay, so that the source can be read.
    """
    on_a_line = html.escape(" ".join(text.split()), quote=False)
    marks = re.sub(r"[\\`*|~$#]|(?<!\w)_|_(?!\w)|(?<=\])(?=[(\[:])", r"\\\g<0>", on_a_line)
    return with_powers(marks)
