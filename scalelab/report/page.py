"""One self-contained HTML page: the answer first, then tables and figures, then how it was computed.

The page opens offline: its style is inline, its figures are inline SVG, it names no address, and its policy
lets a browser load and run nothing. Colors follow the reader's light or dark theme; on paper it is black on
white.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from scalelab.report.drawing.figure import inline_svg
from scalelab.report.parts import Figure, Section
from scalelab.report.sections.all import OnError
from scalelab.version import __version__


def html_page(
    sections: Sequence[Section],
    *,
    title: str = "Scaling report",
    source: str = "",
    n_runs: int | None = None,
    on_error: OnError | None = None,
) -> str:
    """Returns the page.

    Args:
        sections: The report, with its figures.
        title: The page's heading.
        source: Where the runs came from, for a line under the heading.
        n_runs: How many finished runs it is about.
        on_error: Told in a line of a figure that cannot be drawn; without it the error is raised.
    """

    def drawn(figure: Figure) -> Markup:
        try:
            return Markup(inline_svg(figure))
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
    environment.filters |= {"powers": _powers, "drawn": drawn}
    return environment.get_template("page.html").render(
        title=title,
        made=made_line(source, n_runs),
        style=Markup(resources.files("scalelab.report").joinpath("page.css").read_text("utf-8")),
        sections=sections,
    )


def made_line(source: str, n_runs: int | None) -> str:
    """Returns what a report was made of, when and by which version."""
    when = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    runs = "" if n_runs is None else f"{n_runs:,} finished runs"
    return " · ".join(filter(None, [source, runs, when, f"scalelab {__version__}"]))


def _powers(text: str) -> Markup:
    return Markup(with_powers(str(escape(text))))


def with_powers(text: str) -> str:
    """Raises the exponents of a text that is HTML already: `N^-0.31` becomes `N` with a superscript."""
    return re.sub(r"\^(-?[\w.]+\w)", lambda match: f"<sup>{match[1].replace('-', '−')}</sup>", text)
