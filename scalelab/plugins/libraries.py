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
    path, top = _file_of(function), _package_name(function)
    if path is None:
        return MappingProxyType({})
    names, files = _imports(path, top)
    found: dict[str, str] = {}
    owners = _owners()
    for name in names - sys.stdlib_module_names:
        for distribution in set(owners.get(name, ())) - BESIDE:
            try:
                # Builds for another accelerator (+cpu, +cu130) are one version.
                found[distribution] = version(distribution).partition("+")[0]
            except PackageNotFoundError:
                continue
    if _package_of(path) is None or top not in owners:
        found |= _digests(path, files)
    return MappingProxyType(found)


def sources_of(function: Callable[..., Any]) -> Mapping[str, str]:
    """Returns digests of a function's modules, by file; none where it has no file."""
    path = _file_of(function)
    modules = frozenset() if path is None else _imports(path, _package_name(function))[1]
    return MappingProxyType({} if path is None else _digests(path, modules))


def _package_name(function: Callable[..., Any]) -> str:
    """Returns the name under which a function's package is imported."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(inspect.unwrap(function), "__module__", "")).partition(".")[0]


def _digests(path: Path, files: frozenset[Path]) -> dict[str, str]:
    package = _package_of(path)
    root = path.parent if package is None else package.parent
    return {file.relative_to(root).as_posix(): file_digest(file)[:12] for file in sorted(files)}


@functools.cache
def _owners() -> Mapping[str, list[str]]:
    return packages_distributions()


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


_READ: dict[Path, tuple[tuple[tuple[Path, int], ...], frozenset[str], frozenset[Path]]] = {}
"""By file what it imports, with the times at which all its modules were last changed."""


def _imports(path: Path, top: str) -> tuple[frozenset[str], frozenset[Path]]:
    """Returns the names of foreign packages that a file and its own modules import, and these modules."""
    if path in _READ:
        times, known, modules = _READ[path]
        if times == _times(modules):
            return known, modules
    package = _package_of(path)
    root = path.parent if package is None else package.parent
    names: set[str] = set()
    files, waiting = {path}, [path]
    while waiting:
        file = waiting.pop()
        for module in _modules(file, root):
            if package is not None and module[0] == top:  # whatever its folder is called
                module = (package.name, *module[1:])
            own = _own_files(root, module) if package is None or module[0] == package.name else set()
            if not own and module:
                names.add(module[0])
            waiting += own - files
            files |= own
    found = frozenset(names), frozenset(files)
    _READ[path] = _times(found[1]), *found
    return found


def _times(files: frozenset[Path]) -> tuple[tuple[Path, int], ...]:
    return tuple((file, file.stat().st_mtime_ns if file.is_file() else 0) for file in sorted(files))


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
    """Returns the files that importing a module below a folder runs; none where it lies elsewhere."""
    place = root.joinpath(*module)
    if not any(file.is_file() for file in (place.with_suffix(".py"), place / "__init__.py")):
        return set()
    packages = (root.joinpath(*module[:n], "__init__.py") for n in range(1, len(module) + 1))
    return {file for file in (place.with_suffix(".py"), *packages) if file.is_file()}
