"""One self-contained HTML page: the answer first, then tables and figures, then how it was computed.

The page opens offline: its style is inline, its figures are inline SVG, and it names no address. Colors
follow the reader's light or dark theme; on paper it is black on white.
"""

from __future__ import annotations

import html
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scalelab.analysis.analyze import Analysis
from scalelab.analysis.families.laws import FittedLaw
from scalelab.analysis.runs.designs import Family
from scalelab.analysis.trees.learners import N_TREES
from scalelab.analysis.trees.validation import FOLDS, REPEATS
from scalelab.errors import InputError
from scalelab.report.drawing.panels import svg_text
from scalelab.report.drawing.style import CSS_COLORS
from scalelab.report.figures import AnyFigure, TreeFigure, figures_of
from scalelab.report.names import family_names, family_of
from scalelab.report.numbers import percent
from scalelab.report.sections.advise import optimum_table
from scalelab.report.sections.answer import headlines
from scalelab.report.sections.comparison import comparison_tables
from scalelab.report.sections.design import design_tables
from scalelab.report.sections.studies import (
    Table,
    front_tables,
    laws_table,
    runs_table,
    scale_table,
    tree_tables,
)
from scalelab.version import __version__

_PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn", "xgboost", "matplotlib", "duckdb", "torch")

_REM_A_POINT = 0.095
"""Shows every figure at one scale: three panels fill the page."""

Figures = Sequence[AnyFigure]


def html_page(
    analysis: Analysis, *, title: str = "Scaling report", source: str = "", figures: Figures | None = None
) -> str:
    """Returns the page.

    Args:
        analysis: What to report.
        title: The page's heading.
        source: Where the runs came from, a line under the heading.
        figures: Numbers of the figures, where the caller has them already.
    """
    figures = figures_of(analysis) if figures is None else figures
    when = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    made = [source, f"{len(analysis.runs):,} finished runs", when, f"scalelab {__version__}"]
    style = resources.files("scalelab.report").joinpath("page.css").read_text("utf-8")
    body = "\n".join(_sections(analysis, figures))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{_text(title)}</h1>\n<p>{_text(' · '.join(filter(None, made)))}</p>\n</header>\n"
        f"{body}\n</body>\n</html>\n"
    )


def write_html(page: str, path: Path) -> None:
    """Writes a page to a file.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"the report cannot be written to {path}: {error.strerror or error}") from error


def _sections(analysis: Analysis, figures: Figures) -> Iterator[str]:
    name = family_names(map(family_of, analysis.laws))
    yield _answer(headlines(analysis))
    for warning in analysis.warnings:
        yield f'<p class="warning">{_text(warning[0].upper() + warning[1:])}.</p>'
    yield "<h2>What was run</h2>"
    yield _table(runs_table(analysis.studies), heading=False)
    grids = (f"<div>{_table(scale_table(scale, name(scale.family)))}</div>" for scale in analysis.scales)
    yield f'<div class="side-by-side">{"".join(grids)}</div>'
    if analysis.laws:
        yield "<h2>Scaling laws of the loss</h2>"
        yield from _drawn(figures, ("laws", "grid"))
        yield _table(laws_table(analysis), heading=False)
        yield _folded(_parameters(analysis.fitted, name))
    if analysis.comparisons:
        yield "<h2>Comparison</h2>"
        yield from _drawn(figures, ("multipliers",))
        yield from map(_table, comparison_tables(analysis.comparisons, analysis.level))
    if analysis.optima:
        yield "<h2>Compute-optimal size</h2>"
        yield from _drawn(figures, ("isoflops", "optima"))
        yield _table(optimum_table(analysis.optima, name), heading=False)
    if analysis.fronts:
        yield "<h2>Pareto fronts</h2>"
        yield from _drawn(figures, ("fronts",))
        yield from (_folded(table) for table in front_tables(analysis, whole=True))
    if analysis.design is not None:
        yield "<h2>The design space</h2>"
        yield from _drawn(figures, ("design",))
        for table in design_tables(analysis.design, whole=True):
            yield _folded(table) if table.rows else _table(table)
    elif analysis.trees:
        yield "<h2>What decides the objective</h2>"
        yield from _drawn(figures, ("trees",))
        first, *others = tree_tables(analysis, whole=True)
        yield _table(first)
        yield from (_folded(table) if table.rows else _table(table) for table in others)
    curves = list(_drawn(figures, ("curves",)))
    if curves:
        yield "<h2>Learning curves</h2>"
        yield from curves
    yield "<h2>How this was computed</h2>"
    yield _method(analysis)


def _answer(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{_powers(_text(line))}</li>" for line in lines)
    if not items:
        items = "<li>These runs support no law yet; the tables below say what is missing.</li>"
    return f'<section class="answer"><ul>{items}</ul></section>'


def _powers(text: str) -> str:
    """Raises exponents: `N^-0.31` becomes `N` with a superscript."""
    return re.sub(r"\^(-?[\w.]+\w)", lambda match: f"<sup>{match[1].replace('-', '−')}</sup>", text)


def _parameters(laws: Sequence[FittedLaw], name: Callable[[Family], str]) -> Table:
    rows = tuple(
        (name(law.family), law.equation, parameter, *(_six_digits(x) for x in e))
        for law in laws
        for parameter, e in law.params.items()
    )
    columns = ("family", "law", "parameter", "estimate", "lower", "upper")
    return Table("All parameters of all laws", columns, rows, frozenset(columns[3:]))


def _six_digits(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _table(table: Table, *, heading: bool = True) -> str:
    parts = [f"<h3>{_text(table.title)}</h3>"] if heading and table.title else []
    if table.rows:
        head = "".join(f"<th{_align(name, table)}>{_text(name)}</th>" for name in table.columns)
        rows = "\n".join(_row(row, table) for row in table.rows)
        parts.append(
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{rows}\n</tbody></table></div>"
        )
    parts += [f'<p class="note">{_text(note)}</p>' for note in table.notes]
    return "\n".join(parts)


def _row(row: tuple[str, ...], table: Table) -> str:
    named = zip(table.columns, row, strict=True)
    return (
        f"<tr>{''.join(f'<td{_align(name, table)}>{_powers(_text(cell))}</td>' for name, cell in named)}</tr>"
    )


def _align(name: str, table: Table) -> str:
    return ' class="number"' if name in table.numeric else ""


def _folded(table: Table) -> str:
    return f"<details><summary>{_text(table.title)}</summary>{_table(table, heading=False)}</details>"


def _drawn(figures: Figures, kinds: tuple[str, ...]) -> Iterator[str]:
    for figure in figures:
        kind = "trees" if isinstance(figure, TreeFigure) else figure.kind
        if kind not in kinds:
            continue
        caption = f"<b>{_text(figure.title)}.</b> {_powers(_text(figure.caption))}"
        svg = inline_svg(svg_text(figure), figure.name, figure.title)
        yield f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def inline_svg(document: str, name: str, title: str) -> str:
    """Makes an SVG document fit to stand inside a page with others.

    Strips the prologue and metadata with their addresses, makes identifiers unique by a prefix, and replaces
    the colors of `scalelab.report.drawing.style` by those of the page's theme.

    Args:
        document: What Matplotlib wrote.
        name: A prefix for identifiers, unique on the page.
        title: What a screen reader says.
    """
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    for color, variable in CSS_COLORS.items():
        svg = svg.replace(color, variable)
    width = float(re.search(r'\bwidth="([\d.]+)pt"', svg)[1])  # type: ignore[index]
    svg = re.sub(r'^<svg (?:(?:width|height)="[^"]*" )*', "<svg ", svg)
    # Text without a color of its own would be black, whatever the theme: hence the fill.
    size = f'style="max-width: {width * _REM_A_POINT:.0f}rem"'
    opening = f'<svg role="img" aria-label="{html.escape(title)}" fill="var(--ink)" {size} '
    return re.sub(r"\n\s*\n+", "\n", opening + svg.removeprefix("<svg ")).strip()


_AVERAGED = (
    "Runs that differ by their seeds only were averaged first. L(N) is fitted at the largest data size, "
    "L(D) at the largest model, L(C) on the designs that no other beats in both training FLOPs and "
    "loss, L(N, D) on the whole grid, each with the best setting of every size. The loss of a run is "
    "that of its best validation. The best of several noisy runs is a little too good, which makes a "
    "frontier lie a little too low."
)
_COMPARED = (
    "Families are compared under the same law: whether they share exponents by a likelihood ratio test and, "
    "for few points, by simulation, with Holm's correction over the pairs of a table; the interval of a "
    "difference is recovered from those of both exponents. The multiplier is the ratio of scales at equal "
    "loss; its intervals and those of crossings are percentiles of refits. The backtest of a law fits its "
    "smaller points and foretells the larger ones."
)
_GROWN = (
    f"Tree models are random forests of {N_TREES} trees, untuned, cross-validated {REPEATS} times in "
    f"{FOLDS} folds that keep all runs of a design (of a network, where there are enough) together. "
    "Importance is the rise of the squared error when a choice is shuffled, on what a bootstrap sample left "
    "out; a choice is told from noise where its interval lies above the best of the shuffled copies of all "
    "choices (Boruta, Kursa and Rudnicki 2010). Parameters, FLOPs and recorded features are not among the "
    "choices."
)
_SPACE = (
    "Gradient boosting and XGBoost are tuned (depth, rounds) on inner folds. SHAP values are XGBoost's exact "
    "TreeSHAP; interactions are compared with refits to an additive model plus shuffled residuals (Friedman "
    "and Popescu 2008). Error distributions, their Kolmogorov-Smirnov distances at equal FLOPs and the "
    "ranges of the best models follow Radosavovic et al. (2019, 2020)."
)


def _method(analysis: Analysis) -> str:
    laws = dict.fromkeys(
        (law.best.law.name, law.best.law.equation, law.best.law.paper) for law in analysis.fitted
    )
    forms = "".join(
        f"<li><code>{_text(law)}</code>: {_powers(_text(equation))} ({_text(paper)})</li>"
        for law, equation, paper in laws
    )
    facts = {
        "intervals": percent(analysis.level),
        "estimator": analysis.estimator,
        "seed": str(analysis.seed),
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **_versions(),
    }
    listed = "".join(f"<dt>{_text(key)}</dt><dd>{_text(value)}</dd>" for key, value in facts.items())
    trees = f"<p>{_GROWN}</p>" if analysis.trees or analysis.design else ""
    trees += f"<p>{_SPACE}</p>" if analysis.design else ""
    return f"<p>{_AVERAGED}</p><p>{_COMPARED}</p><ul>{forms}</ul>{trees}<dl>{listed}</dl>"


def _versions() -> dict[str, str]:
    found = {"scalelab": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _text(value: str) -> str:
    return html.escape(value, quote=False)
