"""The walls of docs/design.md: who imports whom, what loads when, how big a room is, what is documented."""

import ast
import dataclasses
import fnmatch
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import scalelab
from scalelab import errors
from scalelab.plugins.verify import HOOKS

ROOT = Path(__file__).parents[1]
CORE, PLUGINS, EXAMPLES, DOCS = (ROOT / name for name in ("scalelab", "plugins", "examples", "docs"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

HOME = {name: room for room, names in scalelab._ROOMS.items() for name in names}
FLOORS = {
    "errors": 0, "constraints": 0, "space": 0, "components": 0, "records": 0, "cache": 0,
    "arrays": 0, "law": 0, "lazy": 0, "jsonable": 0,
    "hookspecs": 1,
    "plugins": 2, "study": 2,
    "train": 3, "measure": 3, "store": 3,
    "supervise": 4,
    "analysis": 5, "execute": 5, "bench": 5, "propose": 5,
    "report": 6,
    "cli": 7,
}  # fmt: skip
"""The floor of each room. A room imports from floors below its own; floor 0 is one room."""
ALLOWED_BESIDE = {("study", "plugins")}
"""Rooms of one floor that may be imported all the same."""
HEAVY = {*PYPROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"], "scipy"}
LONGEST = 420


def python_files(folder):
    return sorted(path for path in folder.rglob("*.py") if "build" not in path.relative_to(ROOT).parts)


def module_name(path):
    """The dotted name of a file in scalelab/."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in python_files(CORE)}


def imports(path):
    """Every module that a file names in an import, wherever it stands, or in a text; with the line."""
    package = module_name(path).split(".") if path.is_relative_to(ROOT) else []
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Constant) and node.value in MODULES and "." in node.value:
            yield node.lineno, node.value


def room_of(name):
    """The room of scalelab that a dotted name lies in, `None` for scalelab itself and other packages."""
    parts = name.split(".")
    if parts[0] != "scalelab" or len(parts) < 2:
        return None
    if f"scalelab.{parts[1]}" in MODULES:
        return parts[1]
    home = HOME.get(parts[1])
    return home.split(".")[1] if home else None


CORE_FILES = [path for path in python_files(CORE) if path != CORE / "__init__.py"]


def test_hidden_imports_are_seen(tmp_path):
    (tmp_path / "room.py").write_text(
        "import scalelab.cli\n"
        "def f():\n    from scalelab import fit_law, plugins\n"
        "if TYPE_CHECKING:\n    from scalelab.report.terminal import Table\n"
        "importlib.import_module('scalelab.execute.worker')\n"
        "import torch\n"
    )
    rooms = {room_of(name) for _, name in imports(tmp_path / "room.py")}
    assert rooms == {"cli", "analysis", "plugins", "report", "execute", None}


def test_every_room_has_a_floor():
    rooms = {path.relative_to(CORE).parts[0].removesuffix(".py") for path in CORE_FILES}
    assert rooms - {"testing"} == set(FLOORS), "give a new room its floor, here and in docs/design.md"


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: str(path.relative_to(CORE)))
def test_no_import_goes_up_a_floor(path):
    room = path.relative_to(CORE).parts[0].removesuffix(".py")
    # Contract tests use what can be measured, trained and fitted, and stand beside the house.
    floor = 5.5 if room == "testing" else FLOORS[room]
    for line, name in imports(path):
        other = room_of(name)
        if other in (None, room) or (room, other) in ALLOWED_BESIDE:
            continue
        assert other != "testing", f"line {line}: {name}: only tests import scalelab.testing"
        below = FLOORS[other] < floor or FLOORS[other] == floor == 0
        assert below, f"line {line}: {room} (floor {floor}) imports {name} (floor {FLOORS[other]})"


def test_core_names_no_bundled_plugin():
    for path in CORE.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert "scalelab_plugins" not in path.read_text(), path


@pytest.mark.parametrize("room", ["analysis", "report"])
def test_stores_can_be_analyzed_where_no_plugin_is_installed(room):
    for path in python_files(CORE / room):
        for line, name in imports(path):
            assert room_of(name) not in ("components", "plugins", "hookspecs"), f"{path}:{line}: {name}"


OUTSIDE_FILES = [*python_files(PLUGINS), *python_files(EXAMPLES)]


@pytest.mark.parametrize("path", OUTSIDE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_use_the_public_api_alone(path):
    public = {*scalelab.__all__, "testing"}
    names = [(line, name) for line, name in imports(path) if name.split(".")[0] == "scalelab"]
    names += [
        (node.lineno, f"scalelab.{node.attr}")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "scalelab"
    ]
    for line, name in names:
        parts = name.split(".")
        assert len(parts) == 1 or parts[1] in public, f"line {line}: {name} is not public"
        if len(parts) > 2:
            assert parts[1] == "testing", f"line {line}: {name} reaches into a room"
            assert parts[2] in importlib.import_module("scalelab.testing").__all__, f"line {line}: {name}"


def loaded_by(code):
    """The heavy modules that are loaded after running some code in a new process."""
    code = f"import sys\n{code}\nprint('loaded', *sorted(m for m in {sorted(HEAVY)} if m in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split()[1:])


def test_help_loads_nothing_heavy():
    code = (
        "sys.argv = ['scalelab', '--help']\n"
        "from scalelab.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert loaded_by(code) == set()


def test_importing_scalelab_loads_nothing_heavy():
    assert loaded_by("import scalelab; dir(scalelab)") == set()


def test_loading_the_catalog_loads_nothing_heavy():
    code = "from scalelab.plugins import load_plugins\nassert load_plugins(select='').names('dataset')"
    assert loaded_by(code) == set()


def test_bundled_plugins_are_healthy():
    from scalelab.plugins import load_plugins

    bundled = PYPROJECT["project"]["entry-points"]["scalelab"]
    catalog = load_plugins(select=",".join(bundled))
    assert catalog.warnings == ()
    found = {plugin.name: plugin.origin for plugin in catalog.plugins if plugin.status == "healthy"}
    assert found == bundled


@pytest.mark.parametrize("name", scalelab.__all__)
def test_public_name_resolves(name):
    assert getattr(scalelab, name) is not None


def test_public_names_of_type_checkers_are_those_of_the_program():
    tree = ast.parse((CORE / "__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    typed = {
        node.module: {alias.name for alias in node.names}
        for node in block.body
        if isinstance(node, ast.ImportFrom)
    }
    assert typed == {room: set(names) for room, names in scalelab._ROOMS.items()}


LAZY = [
    module_name(p)
    for p in python_files(CORE)
    if p.name == "__init__.py" and "__getattr__ = lazy_names(" in p.read_text()
]
assert len(LAZY) >= 2, "the lazy packages are found by the line that makes them lazy"


@pytest.mark.parametrize("package", LAZY)
def test_lazy_package_gives_every_name_it_lists(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


def package_folders():
    for folder, package in ((CORE, "scalelab"), (PLUGINS, "scalelab_plugins")):
        for path in sorted({file.parent for file in python_files(folder)}):
            yield ".".join([package, *path.relative_to(folder).parts]), path


def test_every_package_is_in_the_wheel():
    listed = PYPROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(name for name, _ in package_folders()), "mend packages in pyproject.toml"
    for _, path in package_folders():
        assert (path / "__init__.py").is_file(), f"{path} has no __init__.py"


def test_every_data_file_is_in_the_wheel():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]
    for folder, package in ((CORE, "scalelab"), (PLUGINS, "scalelab_plugins")):
        for path in folder.rglob("*"):
            inside = path.relative_to(folder)
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                globs = [pattern.removeprefix("**/") for pattern in patterns.get(package, [])]
                assert any(fnmatch.fnmatch(path.name, glob) for glob in globs), f"{inside}: mend package-data"


@pytest.mark.parametrize("folder", [CORE, PLUGINS], ids=lambda folder: folder.name)
def test_rooms_are_small(folder):
    long = {
        str(p.relative_to(ROOT)): n
        for p in python_files(folder)
        if (n := len(p.read_text().splitlines())) > LONGEST
    }
    assert not long, f"over {LONGEST} lines; find the rooms in them: {long}"


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
    return {path.name: path.read_text() for path in DOCS.glob("*.md")}


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

    catalog = load_plugins(select=",".join(PYPROJECT["project"]["entry-points"]["scalelab"]))
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
