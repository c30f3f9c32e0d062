"""How results reach the terminal: rich tables on one, aligned plain text elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

_RICH_GAP = 3


@dataclass(frozen=True)
class Table:
    """A table of finished text; where it is shown, on a terminal or on a page, is not its business.

    Attributes:
        title: A line above it; may be empty.
        columns: The heads.
        rows: As many texts a row as there are columns.
        numeric: Which columns hold numbers, to be aligned at the right.
        notes: Lines below it.
        optional: Columns to leave out where they do not fit, the first one first.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def widths(self) -> dict[str, int]:
        """How many characters each column takes."""
        cells = [self.columns, *self.rows]
        return {name: max(len(row[i]) for row in cells) for i, name in enumerate(self.columns)}

    def within(self, width: int, *, gap: int = 2) -> Table:
        """Returns the table without as many optional columns as it takes to fit into a width, and says so."""
        left_out: list[str] = []
        for name in self.optional:
            kept = [size for column, size in self.widths.items() if column not in left_out]
            if sum(kept) + gap * (len(kept) - 1) <= width:
                break
            left_out.append(name)
        if not left_out or not self.rows:
            return self
        places = [i for i, name in enumerate(self.columns) if name not in left_out]
        rows = tuple(tuple(row[i] for i in places) for row in self.rows)
        note = f"for {', '.join(left_out)} use a wider terminal or --plain"
        columns = tuple(self.columns[i] for i in places)
        return replace(self, columns=columns, rows=rows, notes=(*self.notes, note), optional=())


def show(table: Table, *, plain: bool) -> None:
    """Prints a table to standard output.

    Args:
        table: What to print.
        plain: Aligned text without styles, as for a log or a pipe.
    """
    if plain:
        print("\n".join(plain_lines(table)))
        return
    _show_rich(table)


def plain_lines(table: Table) -> list[str]:
    """Returns a table as aligned lines, with a blank one at the end."""
    lines = [table.title] if table.title else []
    if table.rows:
        cells = [table.columns, *table.rows]
        widths = list(table.widths.values())
        right = [name in table.numeric for name in table.columns]
        rows = [_aligned(row, widths, right) for row in cells]
        lines += [rows[0], "  ".join("-" * width for width in widths), *rows[1:]]
    return [*lines, *table.notes, ""]


def _aligned(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = [
        cell.rjust(width) if at_right else cell.ljust(width)
        for cell, width, at_right in zip(row, widths, right, strict=True)
    ]
    return "  ".join(cells).rstrip()


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
