"""The `scalelab` command and its groups."""

from __future__ import annotations

from typing import Annotated

import typer

from scalelab.cli.advise import advise
from scalelab.cli.analyze import analyze
from scalelab.cli.bench import bench
from scalelab.cli.context import Context
from scalelab.cli.data import data_app
from scalelab.cli.imports import import_
from scalelab.cli.new_plugin import new_plugin
from scalelab.cli.next import next_
from scalelab.cli.plugins import plugins
from scalelab.cli.predict import predict, verdicts
from scalelab.cli.run import plan, run, status
from scalelab.cli.schema import schema
from scalelab.cli.store import export, store_app

app = typer.Typer(
    name="scalelab",
    help="Train families of models, keep every run, fit scaling laws with honest uncertainty.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(show: bool) -> None:
    if show:
        import scalelab

        print(f"scalelab {scalelab.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    plain: Annotated[bool, typer.Option("--plain", help="Plain text even on a terminal.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    import sys

    ctx.obj = Context(plain=plain or not sys.stdout.isatty())


for command in (run, plan, status, analyze, predict, verdicts, advise, bench, plugins, new_plugin, schema):
    app.command()(command)
app.command("next")(next_)
app.command("import")(import_)
app.command()(export)
app.add_typer(data_app, name="data")
app.add_typer(store_app, name="store")
