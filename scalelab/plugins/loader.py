"""Finds plugins, imports each separately, and calls each hook of each plugin separately.

Every plugin gets a plugin manager of its own, so that what it returns, or raises, is known to be its own and
cannot reach another plugin.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pluggy

from scalelab import hookspecs
from scalelab.cache import file_digest
from scalelab.errors import PluginError, in_words, plain_line, suggest, text_of
from scalelab.file_plugins import import_file
from scalelab.plugins.catalog import Catalog, PluginInfo
from scalelab.plugins.selection import VARIABLE, Selection
from scalelab.plugins.verify import HOOKS, Provided, claimed, verify_returned
from scalelab.regular_files import expanded

GROUP = "scalelab"
FILE = "file"
"""The distribution of a plugin that is a single file; its version is a digest of its text."""


_Source = tuple[PluginInfo, Callable[[], Any]]
"""A plugin that was found, and how to import it."""


def load_plugins(*, plugins_dirs: Sequence[str | Path] = (), select: str | None = None) -> Catalog:
    """Loads the installed plugins and those of the given folders.

    A plugin that cannot be imported or returns something wrong does not raise: it stands in
    `Catalog.plugins` with its problem, and asking for what it would provide raises.

    Args:
        plugins_dirs: Folders whose `*.py` files (but for `_*.py`) are a plugin each, named by the file.
            A folder is also put at the end of `sys.path`, for what its files share in a `_*.py`.
        select: Names to allow (`"a,b"`) or to block (`"-a,-b"`); by default what the environment variable
            `SCALELAB_PLUGINS` says. Empty selects every plugin.

    Raises:
        PluginError: A folder is missing, or `select` is malformed or names no plugin there is.
    """
    text = os.environ.get(VARIABLE, "") if select is None else select
    selection = Selection.parse(text)
    folders = tuple(dict.fromkeys(expanded(folder).resolve() for folder in plugins_dirs))
    sources = [*_installed(), *(source for folder in folders for source in _files(folder))]
    selection.check([(info.name, info.distribution) for info, _ in sources])
    loaded = [
        _load(info, load)
        if selection.allows(info.name, info.distribution)
        else (replace(info, status="blocked"), ())
        for info, load in sources
    ]
    return Catalog.collect(loaded, plugins_dirs=folders, select=text)


def _installed() -> Iterator[_Source]:
    found = sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    versions: dict[str, str] = {}
    for point in found:
        distribution = point.dist.name if point.dist else ""
        if point.dist and distribution not in versions:
            versions[distribution] = point.dist.version
        info = PluginInfo(
            name=point.name,
            distribution=distribution,
            version=versions.get(distribution, ""),
            origin=point.value,
        )
        yield info, point.load


def _files(folder: Path) -> Iterator[_Source]:
    if not folder.is_dir():
        raise PluginError(
            f"--plugins-dir {folder}: {'not a folder' if folder.exists() else 'no such folder'}"
        )
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    for path in sorted(folder.glob("*.py")):
        if not path.name.startswith("_") and not path.is_dir():
            info = PluginInfo(name=path.stem, distribution=FILE, version=_digest(path), origin=str(path))
            yield info, functools.partial(import_file, path)


def _digest(path: Path) -> str:
    try:
        return file_digest(path)[:12]
    except OSError:
        return ""  # importing it will fail too, and say why


def _load(info: PluginInfo, load: Callable[[], Any]) -> tuple[PluginInfo, tuple[Provided, ...]]:
    """Imports a plugin and asks its hooks; what goes wrong becomes its problem."""
    hooks: tuple[str, ...] = ()
    components: list[Provided] = []
    problems: list[str] = []
    # What a plugin prints must not mix with results: those alone go to standard output.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            plugin = _guarded("importing it", load, info.origin)
            manager = _registered(plugin)
            hooks = tuple(hook for hook in HOOKS if getattr(manager.hook, hook).get_hookimpls())
            problems.extend(_unknown_hooks(manager, plugin, hooks))
        except PluginError as error:
            problems.append(str(error))
        for hook in hooks:
            try:
                returned = _ask(manager, hook, info.origin)
                components.extend(claimed(hook, returned))
                _guarded(
                    f"checking what {hook}() gives",
                    functools.partial(verify_returned, hook, returned),
                    info.origin,
                )
            except PluginError as error:
                problems.append(str(error))
    info = replace(info, hooks=hooks, problem="; ".join(problems) or None)
    return replace(info, status="broken") if problems else info, tuple(components)


def _guarded(doing: str, call: Callable[[], Any], origin: str) -> Any:
    """Calls into a plugin; an exception, `sys.exit` among them, becomes a `PluginError` with its place."""
    try:
        return call()
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:
        # A syntax error says its line itself, and its traceback ends in the import system.
        frames = [] if isinstance(error, SyntaxError) else traceback.extract_tb(error.__traceback__)
        frames = [f for f in frames if not f.filename.startswith("<") and "importlib" not in f.filename]
        inside = [frame for frame in frames if frame.filename != __file__]
        place = f" ({inside[-1].filename}, line {inside[-1].lineno})" if inside else f" ({origin})"
        raise PluginError(f"{doing} raised {in_words(error)}{place}") from error


def _registered(plugin: Any) -> pluggy.PluginManager:
    manager = pluggy.PluginManager("scalelab")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin)
    except Exception as error:
        raise PluginError(f"its hooks do not fit: {plain_line(text_of(error))}") from error
    return manager


def _unknown_hooks(manager: pluggy.PluginManager, plugin: Any, hooks: Sequence[str]) -> Iterator[str]:
    """Names hooks that do not exist, and functions that are called like a hook but not marked as one."""
    there = f"; the hooks are {', '.join(HOOKS)}"
    unknown: list[str] = []
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:
        callers = manager.get_hookcallers(plugin) or ()
        unknown = [caller.name for caller in callers if not caller.has_spec()]
    unmarked = [
        hook for hook in HOOKS if hook not in hooks and inspect.isfunction(getattr(plugin, hook, None))
    ]
    for name in unknown:
        yield f"it implements {name}(), which is not a hook{suggest(name, HOOKS, limit=1) or there}"
    for hook in unmarked:
        yield f"its {hook}() is not marked as a hook; put @scalelab.hookimpl above it"
    if not (hooks or unknown or unmarked):
        yield f"it implements no hook{there}"


def _ask(manager: pluggy.PluginManager, hook: str, origin: str) -> Any:
    returned = _guarded(f"{hook}()", getattr(manager.hook, hook), origin)
    # pluggy leaves out an implementation that returned None.
    return returned[0] if returned else None
