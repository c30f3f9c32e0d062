"""One self-contained HTML page: the answer first, then tables and figures, then how it was computed.

The page opens offline: its style is inline, its figures are inline SVG, it names no address, and its policy
lets a browser load nothing and run its one script alone, without which it is whole. Colors follow the
reader's light or dark theme; on paper it is black on white. Sections, figures and tables have names that
stay the same from report to report: `#laws`, `#f-laws`, `#t-laws`; points and rows name their run
(`data-run`), cells their number (`data-value`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib import resources
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from scalelab.amounts import counted
from scalelab.errors import visible
from scalelab.report.numbers import Shown, value_of, whole_number
from scalelab.report.parts import Figure, Section, Table
from scalelab.report.script import script, script_source, script_style
from scalelab.report.script.payload import NO_RUNS
from scalelab.report.sections.all import OnError
from scalelab.report.svg.figure import identifier, panels_markup
from scalelab.version import __version__

_MOST_NOTES = 8
"""Of a table; more are shown on request."""
_WRAPPED = 36


def html_page(
    sections: Sequence[Section],
    *,
    title: str = "Scaling report",
    source: str = "",
    n_runs: int | None = None,
    runs_data: str = NO_RUNS,
    on_error: OnError | None = None,
) -> str:
    """Returns the page.

    Args:
        sections: The report, with its figures.
        title: The page's heading.
        source: Where the runs came from, for a line under the heading.
        n_runs: How many finished runs it is about.
        runs_data: What the script knows of each run, as `scalelab.report.script.payload` writes it.
        on_error: Told in a line of a figure that cannot be drawn; without it the error is raised.
    """

    def drawn(figure: Figure) -> Markup:
        try:
            return panels_markup(figure)
        except Exception as error:
            if on_error is None:
                raise
            line = f"figure {figure.name} could not be drawn ({type(error).__name__}: {error})"
            on_error(line)
            return escape(line)

    environment = Environment(
        loader=PackageLoader("scalelab.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "powers": _powers, "drawn": drawn, "number": _number, "identifier": identifier,
        "heads": _heads, "shape": _shape,
    }  # fmt: skip
    page = environment.get_template("page.html").render(
        title=title,
        made=made_line(source, n_runs),
        style=Markup(_style()),
        script=Markup(script()),
        script_source=Markup(script_source()),
        runs_data=Markup(runs_data),
        sections=sections,
        names=table_names,
        most_notes=_MOST_NOTES,
    )
    return visible(page)


def _style() -> str:
    """Returns the style of a page and of what its script adds, without indentation and lines of comment."""
    style = resources.files("scalelab.report").joinpath("page.css").read_text("utf-8") + script_style()
    lines = map(str.strip, style.splitlines())
    return "\n".join(line for line in lines if not line.startswith("/*"))


def table_names(section: Section) -> list[str]:
    """Returns what the tables of a section are called, on a page and as files: `laws`, `laws-2` and so on."""
    return [f"{section.key}-{i + 1}" if i else section.key for i in range(len(section.tables))]


def unit_of(cells: Iterable[str]) -> str:
    """Returns the unit that all numbers of a column share; an empty text where they share none."""
    units = {cell.unit for cell in cells if isinstance(cell, Shown)}
    return units.pop() if len(units) == 1 else ""


class _Head(NamedTuple):
    """The head of a column: its name, whether its cells are numbers, and what they are in."""

    name: str
    numeric: bool
    unit: str


def _heads(table: Table) -> list[_Head]:
    """Returns the heads of a table; a column in which all that is said is numbers is one of numbers."""
    columns = [list(filter(None, cells)) for cells in zip(*table.rows, strict=True)]
    return [
        _Head(
            name,
            name in table.numeric or (bool(cells) and all(isinstance(cell, Shown) for cell in cells)),
            unit_of(cells),
        )
        for name, cells in zip(table.columns, columns, strict=True)
    ]


def _shape(table: Table) -> Markup:
    """Returns which columns are numbers, as classes, and about how many characters wide the table is.

    Texts that may be wrapped count as short ones.
    """
    numbers = " ".join(f"n{i}" for i, head in enumerate(_heads(table), 1) if head.numeric)
    width = sum(min(one, _WRAPPED) + 2 for one in table.widths.values())
    return Markup(' class="{}" style="--n:{}"').format(numbers, width)


def _number(cell: str, numeric: bool) -> Markup:
    """Returns the number of a cell in a column of numbers as an attribute, unless its text is all of it."""
    value = value_of(cell) if numeric and cell else None
    if value is None:
        return Markup("")
    written = f"{value:.5g}"
    return Markup("") if whole_number(cell) == float(written) else Markup(f" data-value={written}")


def made_line(source: str, n_runs: int | None) -> str:
    """Returns what a report was made of, when and by which version."""
    when = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    runs = "" if n_runs is None else counted(n_runs, "finished runs")
    return " · ".join(filter(None, [source, runs, when, f"scalelab {__version__}"]))


def _powers(text: str) -> Markup:
    return Markup(with_powers(str(escape(text))))


def with_powers(text: str) -> str:
    """Raises the exponents of a text that is HTML already: `N^-0.31` becomes `N` with a superscript."""
    return re.sub(r"\^(-?[\w.]+\w)", lambda match: f"<sup>{match[1].replace('-', '−')}</sup>", text)
