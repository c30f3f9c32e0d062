"""`scalelab new-plugin`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scalelab.cli.completion import kinds
from scalelab.cli.context import tell


def new_plugin(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What it will be called, such as wavelet-net.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help="dataset, architecture, optimizer, backend, law or trainer.",
            show_default=False,
            autocompletion=kinds,
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder to put it into.", show_default="here")] = Path(),
) -> None:
    """Write a new plugin: a small distribution that installs and passes its contract tests as it is."""
    import shlex

    import scalelab

    folder = scalelab.new_plugin(name, kind, to, catalog=ctx.obj.catalog())
    tell(f"wrote {folder}; next: cd {shlex.quote(str(folder))} && pip install -e '.[test]' && pytest")
