"""How results reach the terminal: rich tables on one, aligned plain text elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from scalelab.report.parts import Section, Table

_RICH_GAP = 3


def show_sections(sections: Iterable[Section], *, plain: bool) -> None:
    """Prints a report: the answer, the tables, and in a line why a topic is not there.

    Args:
        sections: The report; its warnings are narration, which standard error has.
        plain: Aligned text without styles.
    """
    for section in sections:
        if section.reason:
            show(Table("", notes=(f"{section.title}: {section.reason}",)), plain=plain)
        for line in section.answer:
            print(_printable(line))
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
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(highlight=False)
    table = table.within(console.width, gap=_RICH_GAP)
    if table.title:
        console.print(Text(table.title, style="bold"))
    if table.rows:
        grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name in table.columns:
            grid.add_column(Text(name), justify="right" if name in table.numeric else "left", overflow="fold")
        for row in table.rows:
            grid.add_row(*(Text(cell) for cell in row))
        console.print(grid)
    for note in table.notes:
        console.print(Text(note, style="dim"))
    console.print()
