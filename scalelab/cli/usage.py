"""What is wrong with a command line, said as everything that is wrong: in one line."""

from __future__ import annotations

from typing import Any

import typer

from scalelab.errors import plain_line

# The base of what Typer's parser refuses; of them only one has a public name.
UsageError: Any = typer.BadParameter.__mro__[-4]


def one_line_of(error: Any) -> str:
    """Returns what is wrong and where help is; the help itself where a group was called without a command."""
    said: str = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        return said
    command = error.ctx.command_path if getattr(error, "ctx", None) else "scalelab"
    return f"error: {plain_line(said, 4000).rstrip('.')}; see {command} -h"
