"""Plugins that are a single file, imported under a name that tells where the file is found again.

The name depends on the file's path alone, and is that of a module of this package. So a pickle of a plugin's
function or class means the same in every process: a worker, and a child that is started afresh
(`multiprocessing` by "spawn" or "forkserver", as a `DataLoader` may do). It imports this package first, which
looks the file up in the folders of `sys.path`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from scalelab.regular_files import read_regular

__path__: list[str] = []  # which makes this module a package
_NAME = re.compile(re.escape(__name__) + r"\.file_[0-9a-f]{8}_(?P<stem>.+)")


def import_file(path: Path) -> ModuleType:
    """Imports a file, anew where it was imported before."""
    spec = _spec(_name(path), path)
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _name(path: Path) -> str:
    return f"{__name__}.file_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"


def _spec(name: str, path: Path) -> ModuleSpec:
    spec = importlib.util.spec_from_file_location(name, path, loader=_Uncached(name, str(path)))
    assert spec is not None
    return spec


class _Uncached(SourceFileLoader):
    """Compiles the text each time: cached bytecode can be that of an earlier text of the same second."""

    def get_code(self, fullname: str) -> CodeType:
        """Returns the file's text as it is now, compiled."""
        path = self.get_filename(fullname)
        return self.source_to_code(read_regular(path), path)


class _Finder(MetaPathFinder):
    """Finds the files of plugins by the names under which they were imported in another process."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns the file of that name in a folder of `sys.path`, if there is one."""
        del path, target
        match = _NAME.fullmatch(fullname)
        if match is None:
            return None
        files = (Path(folder) / f"{match['stem']}.py" for folder in sys.path)
        return next((_spec(fullname, file) for file in files if _name(file) == fullname), None)


sys.meta_path.append(_Finder())
