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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.cache import file_digest
from scalelab.trainers import components_of

if TYPE_CHECKING:
    from scalelab.plugins.catalog import Catalog
    from scalelab.plugins.verify import Kind
    from scalelab.records import Trial

BESIDE = frozenset({"scalelab", "pydantic", "pydantic_core", "annotated-types"})
"""Distributions that are not told: records have scalelab's own version, and options compute nothing."""


_MAKES = {"dataset": "open", "trainer": "train"}
"""The functions of components that are not called `build`."""


def libraries_of_trial(catalog: Catalog, trial: Trial) -> dict[str, str]:
    """Returns the versions of what the components of a trial import, by distribution.

    Raises:
        PluginError: A component is unknown.
    """
    found: dict[str, str] = {}
    for kind, own in components_of(trial).items():
        found |= libraries_of(_made_by(catalog, kind, own.name))
    return dict(sorted(found.items()))


def files_of(catalog: Catalog, components: Iterable[tuple[Kind, str]]) -> dict[str, str]:
    """Returns digests of the files, of no distribution, that components are made of, by file.

    Raises:
        PluginError: A component is unknown.
    """
    found: dict[str, str] = {}
    for kind, name in components:
        code = _code_of(_made_by(catalog, kind, name))
        found |= {} if code is None else code.loose()
    return dict(sorted(found.items()))


def _made_by(catalog: Catalog, kind: Kind, name: str) -> Callable[..., Any]:
    """Returns the function of a component that makes what it is for."""
    function: Callable[..., Any] = getattr(catalog.find(kind, name), _MAKES.get(kind, "build"))
    return function


def libraries_of(function: Callable[..., Any]) -> Mapping[str, str]:
    """Returns the versions of what a function's modules import, by distribution; of loose files a digest.

    Args:
        function: `open`, `build` or `train` of a component.
    """
    code = _code_of(function)
    if code is None:
        return {}
    owners = _owners()
    names = {one for name in code.names - sys.stdlib_module_names for one in owners.get(name, ())}
    versions = {name: _version(name) for name in names - BESIDE}
    found = {name: known for name, known in versions.items() if known is not None}
    return found | code.loose()


def sources_of(function: Callable[..., Any]) -> Mapping[str, str]:
    """Returns digests of a function's modules, by file; none where it has no file."""
    code = _code_of(function)
    return {} if code is None else code.digests()


@functools.cache
def _owners() -> Mapping[str, list[str]]:
    return packages_distributions()


@functools.cache
def _version(distribution: str) -> str | None:
    """Returns a version; builds for another accelerator (+cpu, +cu130) are one."""
    try:
        return version(distribution).partition("+")[0]
    except PackageNotFoundError:
        return None


@dataclass(frozen=True)
class _Code:
    """The modules behind a function, as they were when their files were last changed.

    Attributes:
        root: The folder that their names start from.
        package: What the outermost package is imported as; `None` for a single file.
        names: The first names of all else that they import.
        files: Their files.
        changed: When each was last changed, in nanoseconds.
    """

    root: Path
    package: str | None
    names: frozenset[str]
    files: tuple[Path, ...]
    changed: tuple[int, ...]

    def digests(self) -> dict[str, str]:
        """Returns what names each file by its content."""
        return {file.relative_to(self.root).as_posix(): file_digest(file)[:12] for file in self.files}

    def loose(self) -> dict[str, str]:
        """Returns likewise the files that no distribution brought."""
        return {} if self.package in _owners() else self.digests()


_READ: dict[Path, _Code] = {}
"""By file the code behind its functions."""


def _code_of(function: Callable[..., Any]) -> _Code | None:
    """Returns the modules behind a function, read anew where one changed; `None` where it has no file."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    try:
        source = inspect.getsourcefile(function)
    except TypeError:
        return None
    if not source or not Path(source).is_file():
        return None
    path = Path(source)
    known = _READ.get(path)
    if known is None or known.changed != _changed(known.files):
        known = _READ[path] = _read(path, str(getattr(function, "__module__", "")).partition(".")[0])
    return known


def _read(path: Path, top: str) -> _Code:
    """Reads a file and what it imports of its own package, which is imported as `top`."""
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
            if not own:
                names.add(module[0])
            waiting += own - files
            files |= own
    found = tuple(sorted(files))
    return _Code(root, None if package is None else top, frozenset(names), found, _changed(found))


def _changed(files: Iterable[Path]) -> tuple[int, ...]:
    return tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in files)


def _package_of(path: Path) -> Path | None:
    """Returns the folder of the outermost package that a file lies in; `None` for a single file."""
    found = None
    for folder in path.parents:
        if not (folder / "__init__.py").is_file():
            break
        found = folder
    return found


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
