"""One public door: what it offers, that it is typed, and that plugins and docs use nothing else."""

import ast
import importlib
import inspect
import re

import pytest
from house import CORE, EXAMPLES, FILES, HOMES, PLUGINS, ROOT, imports, python_files

import scalelab

OUTSIDE_FILES = [*python_files(PLUGINS), *python_files(EXAMPLES)]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(EXAMPLES.rglob("*.md"))]
PAGES = [page for page in PAGES if not {"build", "dist"} & set(page.relative_to(ROOT).parts)]


@pytest.mark.parametrize("name", scalelab.__all__)
def test_public_name_resolves(name):
    assert getattr(scalelab, name) is not None


def test_every_public_name_is_written_once():
    stub = (CORE / "__init__.pyi").read_text(encoding="utf-8")
    imported = [node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in imported for alias in node.names]
    assert len(names) == len(set(names))
    assert {*names, "__version__"} == set(scalelab.__all__)
    assert re.findall(r"\w+", (CORE / "__init__.py").read_text(encoding="utf-8")).count("fit_law") == 0


def test_names_are_not_those_of_rooms():
    rooms = {module.split(".")[1] for module in FILES if module.startswith("scalelab.")}
    assert not rooms & set(scalelab.__all__), "importing the room would hide the name"


@pytest.mark.parametrize("package", sorted(HOMES))
def test_lazy_package_gives_every_name_it_lists(package):
    module = importlib.import_module(package)
    assert set(HOMES[package]) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


def calls():
    """Every public function, and every public method of a public class that scalelab itself defines."""
    for name in scalelab.__all__:
        value = getattr(scalelab, name)
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            for attribute, function in vars(value).items():
                for wrapped in ("func", "fget", "__func__"):
                    function = getattr(function, wrapped, function)
                if not attribute.startswith("_") and inspect.isfunction(function):
                    yield f"{name}.{attribute}", function


CALLS = dict(calls())
# An optimizer's, a component's or a trial's own hooks return what the plugin returns.


@pytest.mark.parametrize("name", CALLS)
def test_no_public_call_returns_any(name):
    returns = str(inspect.signature(CALLS[name]).return_annotation)
    assert returns != "Any", "give it overloads, or a type"
    assert "empty" not in returns, "say what it returns"


@pytest.mark.parametrize("name", CALLS)
def test_public_call_is_documented(name):
    assert inspect.getdoc(CALLS[name]), "a docstring says what it does"


@pytest.mark.parametrize("path", OUTSIDE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_use_the_public_api_alone(path):
    refuse_private(path.read_text(encoding="utf-8"), imports(path))


def refuse_private(code, imported):
    """Fails where code uses more of scalelab than its public names and those of scalelab.testing."""
    public = {*scalelab.__all__, "testing"}
    names = [(line, name) for line, name in imported if name.split(".")[0] == "scalelab"]
    names += [
        (node.lineno, f"scalelab.{node.attr}")
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "scalelab"
    ]
    for line, name in names:
        parts = name.split(".")
        assert len(parts) == 1 or parts[1] in public, f"line {line}: {name} is not public"
        if len(parts) > 2:
            assert parts[1] == "testing", f"line {line}: {name} reaches into a room"
            assert parts[2] in importlib.import_module("scalelab.testing").__all__, f"line {line}: {name}"


FENCE = re.compile(r"^```(python|pycon|console|sh|bash)?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            code = found[2]
            if found[1] == "pycon":
                code = "\n".join(line[4:] for line in code.splitlines() if line.startswith((">>> ", "... ")))
            elif found[1] != "python":
                code = "\n".join(re.findall(r"python3? -c \"(.*?)\"", code, re.DOTALL))
            yield f"{page.relative_to(ROOT)}:{text[: found.start()].count(chr(10)) + 1}", code


BLOCKS = {where: code for where, code in blocks() if "scalelab" in code}


@pytest.mark.parametrize("where", BLOCKS)
def test_pages_use_the_public_api_alone(where, tmp_path):
    code = BLOCKS[where]
    (tmp_path / "block.py").write_text(code)
    refuse_private(code, imports(tmp_path / "block.py"))


def test_every_public_name_is_on_the_page_of_the_api():
    page = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    missing = [name for name in scalelab.__all__ if not re.search(rf"`[^`]*\b{name}\b[^`]*`", page)]
    assert not missing, f"docs/python-api.md does not name {', '.join(missing)}"
