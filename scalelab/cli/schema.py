"""`scalelab schema`: the JSON Schemas of what `--json` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scalelab.errors import InputError, suggest

_FOLDER = Path(__file__).with_name("schemas")


def names() -> list[str]:
    """Returns what the documents are called, as `scalelab/NAME/1` in them says."""
    return sorted(file.stem for file in _FOLDER.glob("*.json"))


def text(name: str) -> str:
    """Returns the JSON Schema of a document.

    Raises:
        InputError: There is no such document.
    """
    if name not in names():
        raise InputError(
            f"there is no document {name!r}{suggest(name, names())}; there are {', '.join(names())}"
        )
    return (_FOLDER / f"{name}.json").read_text(encoding="utf-8")


def _offered(incomplete: str) -> list[str]:
    return [name for name in names() if name.startswith(incomplete)]


def schema(
    name: Annotated[
        str | None,
        typer.Argument(help="Of which document; lists them without it.", autocompletion=_offered),
    ] = None,
) -> None:
    """Print the JSON Schema of what a command prints with --json, or list the schemas."""
    print(text(name).rstrip() if name else "\n".join(names()))
