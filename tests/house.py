"""Who imports whom: the files of the program as a graph, for the tests of its walls."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE, PLUGINS, EXAMPLES = (ROOT / name for name in ("scalelab", "plugins", "examples"))


def python_files(folder):
    return sorted(path for path in folder.rglob("*.py") if "build" not in path.relative_to(ROOT).parts)


def module_name(path):
    """The dotted name by which a file is imported."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "plugins":
        parts[0] = "scalelab_plugins"
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in (*python_files(CORE), *python_files(PLUGINS))}


def stub_names(package):
    """The home of each name that a lazy package's stub lists."""
    stub = FILES[package].with_suffix(".pyi")
    if not stub.exists():
        return {}
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module for node in imports for alias in node.names}


HOMES = {package: names for package in FILES if (names := stub_names(package))}


def imports(path):
    """Every name that a file imports, wherever it stands, or names in a text; with the line."""
    package = module_name(path).split(".") if path.is_relative_to(ROOT) else []
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Constant) and node.value in FILES and "." in node.value:
            yield node.lineno, node.value


def file_of(name):
    """The module of the program that a dotted name lies in, `None` for other packages.

    A name that a lazy package gives lies where its stub says.
    """
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        module = ".".join(parts[:size])
        if module in FILES:
            home = HOMES.get(module, {}).get(parts[size]) if size < len(parts) else None
            return file_of(f"{home}.{parts[size]}") if home else module
    return None


def graph():
    """By module, the modules that it imports, with the line where it does."""
    edges = {}
    for module, path in FILES.items():
        edges[module] = {}
        for line, name in imports(path):
            other = file_of(name)
            if other is not None and other != module:
                edges[module].setdefault(other, line)
    return edges


def circles(edges):
    """The sets of modules that import each other in a loop (Tarjan 1972)."""
    sys.setrecursionlimit(10_000)
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            start = stack.index(node)
            found.append(sorted(stack[start:]))
            del stack[start:]

    for node in edges:
        if node not in index:
            visit(node)
    return [circle for circle in found if len(circle) > 1]
