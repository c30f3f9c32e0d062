"""What must be documented: errors, hooks, components, laws, commands."""

import dataclasses
import re
import tomllib

import pytest
from house import ROOT

import scalelab
from scalelab import errors
from scalelab.plugins.verify import HOOKS

BUNDLED = ",".join(
    tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"][
        "scalelab"
    ]
)


def test_the_tree_in_the_errors_module_is_the_tree_of_the_classes():
    drawn = re.findall(r"(\w+Error)\b(?:\s+exit code (\d))?", errors.__doc__.split("Every message")[0])
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.ScalelabError)
    }
    assert {name for name, _ in drawn} == set(classes)
    assert set(classes) <= set(scalelab.__all__)
    for name, code in drawn:
        assert not code or classes[name].exit_code == int(code)


def docs():
    return {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_documented(hook):
    assert f"`{hook}`" in docs()["plugin-hooks.md"]


def test_every_hook_has_a_kind_of_component():
    from scalelab import hookspecs

    assert {name for name in vars(hookspecs) if name.startswith("scalelab_")} == set(HOOKS)


def test_every_field_of_a_component_is_documented():
    page = docs()["plugin-hooks.md"]
    descriptors = (cls for _, cls in HOOKS.values() if dataclasses.is_dataclass(cls))
    for cls in (*descriptors, scalelab.OpenDataset, scalelab.Task, scalelab.Device):
        for field in dataclasses.fields(cls):
            known = {"detail", "available", "name"} if cls is scalelab.Device else set()
            shown = re.search(rf"`[^`]*\b{field.name}\b[^`]*`", page)
            assert shown or field.name in known, f"{cls.__name__}.{field.name} is not in docs/plugin-hooks.md"


def test_every_part_of_a_law_is_documented():
    page = docs()["plugin-hooks.md"]
    parts = [name for name in scalelab.Law.__annotations__ if not name.startswith("_")]
    for name in (*parts, *scalelab.Law.__abstractmethods__):
        assert re.search(rf"`[^`]*\b{name}\b[^`]*`", page), f"Law.{name} is not in docs/plugin-hooks.md"


def test_every_bundled_component_is_documented():
    from scalelab.plugins import KINDS, load_plugins

    catalog = load_plugins(select=BUNDLED)
    everything = "\n".join(docs().values())
    missing = [
        f"{kind} {name}"
        for kind in KINDS
        for name in catalog.names(kind)
        if f"`{name}`" not in everything and f'"{name}"' not in everything
    ]
    assert not missing, f"no page of docs/ names {', '.join(missing)}"


def commands(command, path):
    """Every command line there is, with its long options."""
    children = getattr(command, "commands", {})
    if not children:
        options = [option for parameter in command.params for option in parameter.opts]
        yield " ".join(path), [option for option in options if option.startswith("--")]
    for name, child in children.items():
        yield from commands(child, [*path, name])


def test_every_command_is_documented():
    import typer.main

    from scalelab.cli.app import app

    page = docs()["command-line.md"]
    missing = []
    for command, options in commands(typer.main.get_command(app), ["scalelab"]):
        wanted = [command, *(option for option in options if option != "--help")]
        missing += [f"{command}: {text}" for text in wanted if not re.search(rf"{re.escape(text)}\b", page)]
    assert not missing, f"docs/command-line.md does not name {'; '.join(missing)}"
