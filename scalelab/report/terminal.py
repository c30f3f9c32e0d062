"""How results reach the terminal: rich tables on one, aligned plain text elsewhere."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from scalelab.report.parts import Section, Table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

_RICH_GAP = 3
_NEXT = "next: "


def tell(line: str, stream: TextIO | None = None) -> None:
    """Prints a line of words; on a terminal it is wrapped between words, and a command to copy stays whole.

    Args:
        line: What to print; what follows `next: ` is a command.
        stream: Where to; standard output by default.
    """
    stream = stream or sys.stdout
    line = "\n".join(map(_printable, line.expandtabs().split("\n")))
    if stream.isatty():
        said, following, command = line.partition(_NEXT)
        width = shutil.get_terminal_size().columns
        if following and said and len(line) > width:
            said = f"{said.rstrip()}\n"
        line = wrapped(said, width) + following + command
    print(line, file=stream, flush=True)


def wrapped(text: str, width: int) -> str:
    """Returns lines no wider than a width, broken between words; a word that is wider stays whole."""
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip()))
        fits = len(line) <= width
        lines.append(
            line
            if fits
            else textwrap.fill(
                line,
                width,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)


def show_sections(sections: Iterable[Section], *, plain: bool) -> None:
    """Prints a report: the answer, the tables, and in a line why a topic is not there.

    Args:
        sections: The report; its warnings are narration, which standard error has.
        plain: Aligned text without styles.
    """
    say = print if plain else tell
    for section in sections:
        if section.reason:
            show(Table("", notes=(f"{section.title}: {section.reason}",)), plain=plain)
        for line in section.answer:
            say(_printable(line))
        for file in section.files:
            say(_printable(f"({file.title}, {file.name}, is in what --html and --markdown write.)"))
        if section.answer:
            print()
        for table in section.tables:
            show(table, plain=plain)


def show(table: Table, *, plain: bool) -> None:
    """Prints a table to standard output.

    Args:
        table: What to print.
        plain: Aligned text without styles, as for a log or a pipe.
    """
    table = _clean(table)
    if plain:
        print("\n".join(plain_lines(table)))
    else:
        _show_rich(table)


def plain_lines(table: Table) -> list[str]:
    """Returns a table as aligned lines, with a blank one at the end."""
    lines = [table.title] if table.title else []
    if table.rows:
        right = [name in table.numeric for name in table.columns]
        heads, *rows = aligned([table.columns, *table.rows], right)
        lines += [heads, "  ".join("-" * width for width in table.widths.values()), *rows]
    return [*lines, *table.notes, ""]


def aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Returns rows of texts as lines with aligned columns, some of them at the right."""
    columns = []
    for column, at_right in zip(zip(*rows, strict=True), right, strict=True):
        width = max(map(len, column))
        columns.append([cell.rjust(width) if at_right else cell.ljust(width) for cell in column])
    return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]


def _printable(text: str) -> str:
    """Returns a text without what a terminal would obey, such as escape sequences in a name from outside."""
    return "".join(one if one.isprintable() else "�" for one in text)


def _clean(table: Table) -> Table:
    return replace(
        table,
        title=_printable(table.title),
        columns=tuple(map(_printable, table.columns)),
        rows=tuple(tuple(map(_printable, row)) for row in table.rows),
        numeric=frozenset(map(_printable, table.numeric)),
        notes=tuple(map(_printable, table.notes)),
        optional=tuple(map(_printable, table.optional)),
    )


def _show_rich(table: Table) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    table = table.within(console.width, gap=_RICH_GAP)
    if table.title:
        console.print(Text(wrapped(table.title, console.width), style="bold"), soft_wrap=True)
    if table.rows:
        widths = column_widths(table, console.width, gap=_RICH_GAP)
        if widths is None:
            _show_stacked(table, console)
        else:
            console.print(_grid(table, widths))
    for note in table.notes:
        console.print(Text(wrapped(note, console.width), style="dim"), soft_wrap=True)
    console.print()


def column_widths(table: Table, width: int, *, gap: int) -> tuple[int, ...] | None:
    """Returns how wide columns are within a width so that no word is broken; `None` where that cannot be.

    Where it can be, numbers are not parted from their units and intervals either.
    """
    cells = list(zip(table.columns, *table.rows, strict=True))
    whole = [max(map(len, column)) for column in cells]
    words = [max(len(word) for cell in column for word in cell.split() or [""]) for column in cells]
    numbers = [
        max([one, *map(len, column[1:])]) if column[0] in table.numeric else one
        for one, column in zip(words, cells, strict=True)
    ]
    space = width - gap * (len(cells) - 1)
    least = numbers if sum(numbers) <= space else words
    room = space - sum(least)
    if room < 0:
        return None
    widths = list(least)
    # Who needs little gets it whole; those who need more share the rest.
    order = sorted(range(len(cells)), key=lambda i: whole[i] - least[i])
    for n_before, i in enumerate(order):
        more = min(whole[i] - least[i], room // (len(cells) - n_before))
        widths[i] += more
        room -= more
    return tuple(widths)


def _grid(table: Table, widths: Sequence[int]) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, width in zip(table.columns, widths, strict=True):
        grid.add_column(Text(name), justify="right" if name in table.numeric else "left", width=width)
    for row in table.rows:
        grid.add_row(*(Text(cell) for cell in row))
    return grid


def _show_stacked(table: Table, console: Console) -> None:
    """Prints each row as lines, a column a line, where the columns do not fit beside each other."""
    from rich.text import Text

    heads = max(map(len, table.columns))
    for row in table.rows:
        for name, cell in zip(table.columns, row, strict=True):
            lines = wrapped(cell, max(1, console.width - heads - 2)).splitlines() or [""]
            value = f"\n{' ' * (heads + 2)}".join(lines)
            console.print(Text.assemble((name.ljust(heads), "bold"), "  ", value), soft_wrap=True)
        console.print()
