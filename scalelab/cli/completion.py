"""What a shell offers where an option or argument is typed: names of the store, of plugins, study files.

A shell has no place for errors: where a store cannot be read, nothing is offered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import typer

from scalelab.cli.context import DEFAULT_STORE

Complete = Callable[[typer.Context, list[str], str], list[str]]


def _offer(known: Iterable[object], incomplete: str) -> list[str]:
    return sorted({str(name) for name in known if str(name).startswith(incomplete)})


def _store(ctx: typer.Context) -> Path:
    return Path(ctx.params.get("store") or DEFAULT_STORE)


def studies(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """Offers the studies of the store that the line names."""
    from scalelab.errors import ScalelabError
    from scalelab.store import open_store

    del args
    try:
        return _offer((one.study for one in open_store(_store(ctx)).studies()), incomplete)
    except (ScalelabError, OSError):
        return []


def used(kind: Literal["dataset", "architecture", "optimizer"]) -> Complete:
    """Returns what offers the datasets, architectures or optimizers of the store's runs."""

    def complete(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
        from scalelab.errors import ScalelabError
        from scalelab.store import open_store

        del args
        try:
            runs = open_store(_store(ctx)).runs()
        except (ScalelabError, OSError):
            return []
        asked = ctx.params.get("study")  # of `next` a file
        own = runs[runs["study"].isin(asked if isinstance(asked, (list, tuple)) else ())]
        return _offer((runs if own.empty else own)[kind].dropna().unique(), incomplete)

    return complete


def datasets(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """Offers the datasets of the plugins."""
    from scalelab.api.source import installed
    from scalelab.errors import ScalelabError

    del args
    try:
        catalog = installed(ctx.params.get("plugins_dir") or ())
    except (ScalelabError, OSError):
        return []
    return _offer(catalog.names("dataset"), incomplete)


def laws(incomplete: str) -> list[str]:
    """Offers the forms of laws that scalelab brings."""
    from scalelab.analysis.laws import LAWS

    return _offer(("auto", *LAWS), incomplete)


def kinds(incomplete: str) -> list[str]:
    """Offers the kinds of plugins."""
    from scalelab.plugins import KINDS

    return _offer(KINDS, incomplete)


def study_files(incomplete: str) -> list[str]:
    """Offers TOML files, and folders to look for them in."""
    typed = Path(incomplete)
    folder = typed if incomplete.endswith("/") or not incomplete else typed.parent
    try:
        found = [path for path in folder.iterdir() if path.suffix == ".toml" or path.is_dir()]
    except OSError:
        return []
    shown = [f"{path}/" if path.is_dir() else str(path) for path in found if not path.name.startswith(".")]
    return _offer(shown, incomplete.removeprefix("./"))
