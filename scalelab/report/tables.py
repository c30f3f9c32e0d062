"""Tables of a report as files for a paper: Markdown, LaTeX with booktabs, and CSV.

A file is called as its table is on the page: `laws.csv`, `laws-2.tex`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from scalelab.errors import visible
from scalelab.report.folders import writing_into
from scalelab.report.markdown import table_text
from scalelab.report.numbers import Shown
from scalelab.report.page import table_names, unit_of
from scalelab.report.parts import Section, Table

_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "ρ": r"$\rho$",
    "×": r"$\times$", "≥": r"$\geq$", "±": r"$\pm$", "∞": r"$\infty$", "·": r"$\cdot$", "∝": r"$\propto$",
    "²": r"$^2$", "−": r"$-$", "µ": r"$\mu$", "…": r"\dots{}", "≈": r"$\approx$",
}  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def save_tables(sections: Sequence[Section], folder: Path) -> list[Path]:
    """Writes every table of a report as Markdown, LaTeX and CSV.

    Args:
        sections: The report.
        folder: Where to; made where it does not exist.

    Returns:
        The files, in order.

    Raises:
        InputError: The folder cannot be written.
    """
    paths = []
    with writing_into(folder, "tables"):
        for name, title, table in _tables(sections):
            for ending, made in _FORMATS.items():
                path = folder / f"{name}.{ending}"
                path.write_text(visible(made(table, title)), encoding="utf-8", newline="")
                paths.append(path)
    return paths


def _tables(sections: Sequence[Section]) -> Iterator[tuple[str, str, Table]]:
    """Yields name, title and table of all that have rows."""
    for section in sections:
        for name, table in zip(table_names(section), section.tables, strict=True):
            if table.rows:
                yield name, table.title or section.title, table


def markdown_table(table: Table, title: str) -> str:
    """Returns a table as Markdown, with its title and its notes."""
    return "\n\n".join(table_text(table, title)) + "\n"


def latex_table(table: Table, title: str) -> str:
    r"""Returns a table for LaTeX; `\input` it where the package booktabs is loaded.

    Its notes stand below it in small type.
    """
    columns = "".join("r" if name in table.numeric else "l" for name in table.columns)
    lines = [" & ".join(map(_tex, row)) + r" \\" for row in (table.columns, *table.rows)]
    notes = [rf"\par\smallskip{{\footnotesize {_tex(note)}}}" for note in table.notes]
    return "\n".join(
        [
            r"\begin{table}", r"\centering", rf"\caption{{{_tex(title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}", *notes,
            r"\end{table}", "",
        ]
    )  # fmt: skip


def csv_table(table: Table, _title: str) -> str:
    """Returns a table as CSV for whoever computes with it or plots it again.

    Numbers are in full and without prefixes, and their units in the head, where a share is one of 1; what
    else a cell says, such as the ends of an interval, has columns of its own: `loss, lower`, `loss, upper`.
    What a spreadsheet would take for a formula is quoted.
    """
    columns = [_written(name, cells) for name, *cells in zip(table.columns, *table.rows, strict=True)]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(
        zip(*(column for own in columns for column in own), strict=True)
    )
    return buffer.getvalue()


def _written(name: str, cells: Sequence[str]) -> list[list[str]]:
    """Returns a column as those of a file of numbers, each with its head."""
    numbers = [cell if isinstance(cell, Shown) else None for cell in cells]
    unit = unit_of(cells)
    more = dict.fromkeys(key for one in numbers if one is not None for key in one.more)
    heads = [name, *(f"{name}, {key}" for key in more)]
    columns = [list(map(_csv, cells))]
    columns += [
        ["" if one is None or key not in one.more else f"{one.more[key]:.12g}" for one in numbers]
        for key in more
    ]
    units = [unit if key != "seeds" else "" for key in ("", *more)]
    named = zip(heads, units, columns, strict=True)
    return [[_csv(f"{head} ({own})" if own else head), *column] for head, own, column in named]


_FORMATS: Mapping[str, Callable[[Table, str], str]] = {
    "md": markdown_table,
    "tex": latex_table,
    "csv": csv_table,
}


def _tex(text: str) -> str:
    powers = re.split(r"\^(-?[\w.]+\w)", " ".join(text.split()))
    return "".join(
        f"$^{{{part}}}$" if i % 2 else "".join(_TEX.get(one, one) for one in part)
        for i, part in enumerate(powers)
    )


def _csv(cell: str) -> str:
    if isinstance(cell, Shown):
        return f"{cell.value:.12g}"
    number = re.match(r"[-+]?[\d.]", cell)
    return f"'{cell}" if cell.startswith(_FORMULA) and not number else cell
