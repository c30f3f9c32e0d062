"""What made a result beside scalelab: the libraries that a plugin's modules import, with their versions.

A plugin's modules are the file of its function and what that imports of the same package, or of the same
folder for a single file. They are read, not run: imports inside functions count too. A file that no
distribution brought, such as a plugin of `--plugins-dir`, stands among the libraries with a digest of its
text.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from scalelab.cache import file_digest

if TYPE_CHECKING:
    from scalelab.plugins.catalog import Catalog
    from scalelab.records import Trial

BESIDE = frozenset({"scalelab", "pydantic", "pydantic_core", "annotated-types"})
"""Distributions that are not told: records have scalelab's own version, and options compute nothing."""


def libraries_of_trial(catalog: Catalog, trial: Trial) -> dict[str, str]:
    """Returns the versions of what the components of a trial import, by distribution.

    Raises:
        PluginError: A component is unknown.
    """
    found: dict[str, str] = {}
    for component in (
        catalog.dataset(trial.dataset.name).open,
        catalog.architecture(trial.architecture.name).build,
        catalog.optimizer(trial.optimizer.name).build,
    ):
        found |= libraries_of(component)
    return dict(sorted(found.items()))


def libraries_of(function: Callable[..., Any]) -> Mapping[str, str]:
    """Returns the versions of what a function's modules import, by distribution; of loose files a digest.

    Args:
        function: `open` or `build` of a component.
    """
    path = _file_of(function)
    return MappingProxyType({}) if path is None else _libraries_behind(path)


@functools.cache
def _libraries_behind(path: Path) -> Mapping[str, str]:
    names, files = _imports(path)
    found: dict[str, str] = {}
    owners = packages_distributions()
    for name in names - sys.stdlib_module_names:
        for distribution in set(owners.get(name, ())) - BESIDE:
            try:
                found[distribution] = version(distribution).partition("+")[0]
            except PackageNotFoundError:
                continue
    if _package_of(path) is None:
        found |= {file.name: file_digest(file)[:12] for file in files}
    return MappingProxyType(found)


def _file_of(function: Callable[..., Any]) -> Path | None:
    while isinstance(function, functools.partial):
        function = function.func
    try:
        source = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        return None
    return Path(source) if source and Path(source).is_file() else None


def _package_of(path: Path) -> Path | None:
    """Returns the folder of the outermost package that a file lies in; `None` for a single file."""
    found = None
    for folder in path.parents:
        if not (folder / "__init__.py").is_file():
            break
        found = folder
    return found


def _imports(path: Path) -> tuple[set[str], set[Path]]:
    """Returns the names of foreign packages that a file and its own modules import, and these modules."""
    package = _package_of(path)
    root = path.parent if package is None else package.parent
    names: set[str] = set()
    files, waiting = {path}, [path]
    while waiting:
        file = waiting.pop()
        for module in _modules(file, root):
            own = _own_files(root, module) if package is None or module[0] == package.name else set()
            if not own and module:
                names.add(module[0])
            waiting += own - files
            files |= own
    return names, files


def _modules(file: Path, root: Path) -> Iterator[tuple[str, ...]]:
    """Yields every module that a file imports, as the parts of its name; what may be one is among them."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    here = file.parent.relative_to(root).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            if module:
                yield module
            yield from ((*module, alias.name) for alias in node.names if alias.name != "*")


def _own_files(root: Path, module: tuple[str, ...]) -> set[Path]:
    """Returns the file of a module below a folder; none where it has none."""
    place = root.joinpath(*module)
    return {file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()}
