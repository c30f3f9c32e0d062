"""What the commands share: the way to the store and the plugins, and how they speak."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scalelab.errors import InputError
from scalelab.jsonable import jsonable

if TYPE_CHECKING:
    from scalelab.api.filters import Filters
    from scalelab.plugins import Catalog
    from scalelab.records import Charge, On
    from scalelab.report.parts import Table

DEFAULT_STORE = Path("experiments.duckdb")
SCHEMA_VERSION = 1


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


def filters_of(
    study: list[str] | None,
    dataset: str | None,
    architecture: str | None,
    optimizer: str | None,
    where: str | None,
    on: On,
    charge: Charge,
) -> Filters:
    """Returns the options that say which runs are meant, and which of their losses, as one."""
    import scalelab

    return scalelab.Filters(
        study=study,
        dataset=dataset,
        architecture=architecture,
        optimizer=optimizer,
        where=where,
        on=on,
        charge=charge,
    )


def require_folder(option: str, folder: Path | None) -> None:
    """Makes sure that a folder can be made, before anything is computed that goes into it.

    Raises:
        InputError: A file of that name, or of one of the folders above it, is in the way.
    """
    there = next((path for path in (folder, *folder.parents) if path.exists()), None) if folder else None
    if there is not None and not there.is_dir():
        raise InputError(f"{option} {folder}: {there} is not a folder; name another one")


def confirm(question: str, unasked: str, *, yes: bool) -> None:
    """Asks before something that takes long or cannot be undone; who declines ends with code 1.

    Args:
        question: What is asked.
        unasked: What to say where nobody can answer.
        yes: Whether the answer was given with `--yes`.

    Raises:
        InputError: There is no terminal, and `--yes` was not given.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(unasked)
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def names(text: str | None) -> list[str] | None:
    """Reads `a,b`; `None` stays `None`."""
    return None if text is None else [one.strip() for one in text.split(",") if one.strip()]


def print_json(name: str, result: object) -> None:
    """Prints a result as one JSON document, which says by which schema it is: `scalelab/NAME/1`.

    Args:
        name: A file of `scalelab/cli/schemas`, without its ending; `scalelab schema NAME` prints it.
        result: Something that is a JSON object.
    """
    document = jsonable(result)
    assert isinstance(document, dict), "a document may gain fields"
    print(json.dumps({"schema": f"scalelab/{name}/{SCHEMA_VERSION}", **document}, indent=2))


def tell(line: str) -> None:
    """Prints a result in words: to standard output."""
    from scalelab.report.terminal import tell

    tell(line)


def say(line: str) -> None:
    """Prints narration: to standard error, so that results can be piped."""
    from scalelab.report.terminal import tell

    tell(line, sys.stderr)


def warn(line: str) -> None:
    """Prints a warning to standard error."""
    say(f"warning: {line}")


def command_line(ctx: typer.Context, *, leave_out: Collection[str] = ()) -> str:
    """Returns the command that was given, in full, for whoever repeats it.

    Args:
        ctx: That of the command.
        leave_out: Names of options that are not to be repeated.
    """
    words = ["scalelab", ctx.info_name or ""]
    for param in ctx.command.params:
        name = param.name or ""
        source = ctx.get_parameter_source(name)
        given = source is not None and source.name == "COMMANDLINE"
        value = ctx.params.get(name)
        if not given or name in leave_out or name == "json":
            continue
        if isinstance(value, bool):
            words.append((param.opts if value else param.secondary_opts or param.opts)[0])
            continue
        for one in value if isinstance(value, (list, tuple)) else [value]:
            words += [max(param.opts, key=len), str(one)]
    return shlex.join(words)
