"""What the commands share: options that mean the same everywhere, and how errors end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalelab.errors import InputError

if TYPE_CHECKING:
    from scalelab.law import Law
    from scalelab.plugins import Catalog
    from scalelab.store import Store

DEFAULT_STORE = Path("experiments.duckdb")

StoreOption = Annotated[
    Path, typer.Option("--store", envvar="SCALELAB_STORE", help="The store's file.", show_default=True)
]
PluginsDirOption = Annotated[
    list[Path] | None,
    typer.Option("--plugins-dir", help="Folder of single-file plugins; may be given more than once."),
]
FiguresOption = Annotated[
    Path | None, typer.Option("--figures", help="Write every figure into this folder, as PNG and SVG.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]


@dataclass
class Context:
    """The commands' way to the store and the plugins.

    Attributes:
        plain: Whether output is plain text: asked for, or standard output is no terminal.
    """

    plain: bool = False

    def store(self, path: Path, *, create: bool = False) -> Store:
        """Opens the store, or makes it where `create` says so."""
        from scalelab.store import open_store

        return open_store(path, create=create)

    def catalog(self, plugins_dirs: Sequence[Path] | None = None) -> Catalog:
        """Loads the plugins and warns of the broken ones."""
        from scalelab.plugins import load_plugins

        catalog = load_plugins(
            plugins_dirs=tuple(plugins_dirs or ()), select=os.environ.get("SCALELAB_PLUGINS")
        )
        for warning in catalog.warnings:
            warn(warning)
        return catalog


def law_named(ctx: typer.Context, name: str | None, plugins_dirs: Sequence[Path] | None) -> str | Law | None:
    """Returns a law as analysis takes it: plugins are loaded only for a name that is not scalelab's own."""
    from scalelab.analysis.laws import LAWS, get_law

    if name is None or name == "auto" or name in LAWS:
        return name
    catalog = ctx.obj.catalog(plugins_dirs)
    return get_law(name, {other: catalog.law(other) for other in catalog.names("law")})


def write_study(path: Path, text: str) -> None:
    """Writes a study file, and makes its folder.

    Raises:
        InputError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"the study cannot be written to {path}: {error.strerror or error}") from error


def say(line: str) -> None:
    """Prints narration: to standard error, so that results can be piped."""
    print(line, file=sys.stderr, flush=True)


def warn(line: str) -> None:
    """Prints a warning to standard error."""
    say(f"warning: {line}")


def duration(seconds: float) -> str:
    """Returns a time as people say it.

    Example::

        >>> duration(0.25), duration(75), duration(7260)
        ('0.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
