"""`scalelab plugins`."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalelab.cli import options as opt
from scalelab.cli.context import print_json
from scalelab.jsonable import json_object

if TYPE_CHECKING:
    from scalelab.plugins import Catalog, Kind, Option, Provided
    from scalelab.report.parts import Table


def plugins(
    ctx: typer.Context,
    plugins_dir: opt.PluginsDir = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print the options of each component too.")
    ] = False,
    json: opt.Json = False,
) -> None:
    """List the plugins: who provides them, their hooks, components and laws, and whether they are healthy."""
    catalog = ctx.obj.catalog(plugins_dir)
    if json:
        print_json("plugins", _document(catalog))
        return
    ctx.obj.show(_plugins_table(catalog))
    if verbose:
        ctx.obj.show(*(_options_table(*one) for one in _components(catalog)))


def _plugins_table(catalog: Catalog) -> Table:
    from scalelab.report.parts import Table

    rows = tuple(
        (
            info.name,
            info.distribution,
            info.version,
            ", ".join(hook.removeprefix("scalelab_") for hook in info.hooks),
            "; ".join(f"{kind} {', '.join(names)}" for kind, names in info.components.items()),
            info.status,
        )
        for info in catalog.plugins
    )
    notes = tuple(f"{info.name}: {info.problem}" for info in catalog.plugins if info.problem)
    columns = ("plugin", "distribution", "version", "hooks", "components", "health")
    notes = notes or (() if rows else ("no plugin is installed",))
    return Table("", columns, rows, notes=notes, optional=("hooks",))


def _options_table(kind: Kind, name: str, component: Provided) -> Table:
    from scalelab.law import Law
    from scalelab.plugins import options_of
    from scalelab.report.parts import Table

    if isinstance(component, Law):
        return Table(f"{kind} {name}: {component.equation}", (), (), notes=(f"  {component.paper}",))
    lines = tuple(_option_line(option) for option in options_of(component.params))
    return Table(f"{kind} {name}: {component.summary}", (), (), notes=lines or ("  no options",))


def _option_line(option: Option) -> str:
    """Returns an option as it appears in a study file, its type and bounds, and its line of help."""
    default = "" if option.required else f" = {_default(option.default)}"
    facts = ", ".join(filter(None, (option.type, option.bounds, "required" if option.required else "")))
    return f"  {option.name}{default}  ({facts}): {option.help}"


def _default(value: Any) -> str:
    from scalelab.errors import brief, text_of

    if value is None:
        return "none"
    try:
        return json_module.dumps(value, default=text_of)
    except (TypeError, ValueError, RecursionError):  # what is foreign need be no JSON
        return brief(value)


def _components(catalog: Catalog) -> list[tuple[Kind, str, Provided]]:
    from scalelab.plugins import KINDS

    return [(kind, name, catalog.find(kind, name)) for kind in KINDS for name in catalog.names(kind)]


def _document(catalog: Catalog) -> dict[str, Any]:
    return {
        "select": catalog.select,
        "plugins_dirs": catalog.plugins_dirs,
        "plugins": [{**json_object(info), "healthy": info.healthy} for info in catalog.plugins],
        "components": [_component(catalog, *one) for one in _components(catalog)],
    }


def _component(catalog: Catalog, kind: Kind, name: str, component: Provided) -> dict[str, Any]:
    from scalelab.law import Law
    from scalelab.plugins import options_of

    common = {"kind": kind, "name": name, "provenance": catalog.provenance(kind, name)}
    if isinstance(component, Law):
        return {**common, "equation": component.equation, "paper": component.paper}
    facts = {"summary": component.summary, "version": component.version}
    return {**common, **facts, "options": options_of(component.params)}
