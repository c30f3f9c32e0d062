"""What the commands share: the way to the store and the plugins, and how they speak."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.errors import InputError
from scalelab.jsonable import jsonable

if TYPE_CHECKING:
    from scalelab.plugins import Catalog
    from scalelab.report.parts import Table


@dataclass
class Context:
    """The commands' way to the plugins and to standard output.

    Attributes:
        plain: Whether output is plain text: asked for, or standard output is not a terminal.
    """

    plain: bool = False

    def catalog(self, plugins_dirs: Sequence[Path] | None = None) -> Catalog:
        """Loads the plugins and warns of the broken ones."""
        from scalelab.api.source import installed

        catalog = installed(plugins_dirs or ())
        for warning in catalog.warnings:
            warn(warning)
        return catalog

    def show(self, *tables: Table) -> None:
        """Prints tables."""
        from scalelab.report.terminal import show

        for table in tables:
            show(table, plain=self.plain)


def pairs(option: str, given: Sequence[str] | None, form: str) -> dict[str, str]:
    """Reads `KEY=VALUE` texts.

    Args:
        option: The option's name, for messages.
        given: The texts.
        form: What one should look like, with an example.

    Raises:
        InputError: One is not of that form, or a key is given twice.
    """
    found: dict[str, str] = {}
    for text in given or ():
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and key and value):
            raise InputError(f"{option} {text!r}: must be {form}")
        if key in found:
            raise InputError(f"{option} {key} is given twice; give it once")
        found[key] = value
    return found


def require_folder(option: str, folder: Path | None) -> None:
    """Makes sure that a folder can be made, before anything is computed that goes into it.

    Raises:
        InputError: A file of that name, or of one of the folders above it, is in the way.
    """
    there = next((path for path in (folder, *folder.parents) if path.exists()), None) if folder else None
    if there is not None and not there.is_dir():
        raise InputError(f"{option} {folder}: {there} is not a folder; name another one")


def names(text: str | None) -> list[str] | None:
    """Reads `a,b`; `None` stays `None`."""
    return None if text is None else [one.strip() for one in text.split(",") if one.strip()]


def print_json(value: object) -> None:
    """Prints a result as one JSON document."""
    print(json.dumps(jsonable(value), indent=2))


def say(line: str) -> None:
    """Prints narration: to standard error, so that results can be piped."""
    print(line, file=sys.stderr, flush=True)


def warn(line: str) -> None:
    """Prints a warning to standard error."""
    say(f"warning: {line}")


def duration(seconds: float) -> str:
    """Returns a time as people say it.

    Example:
        >>> duration(0.25), duration(75), duration(7260)
        ('0.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def span(low: float, high: float) -> str:
    """Returns a range of times as people say it.

    Example:
        >>> span(70, 130), span(0.0, 0.0)
        ('1 min 10 s to 2 min 10 s', '0.0 s')
    """
    return duration(low) if low == high else f"{duration(low)} to {duration(high)}"
