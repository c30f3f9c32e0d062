"""Packages that offer names and import each only when it is first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any


def lazy_package(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Returns what makes a package lazy: its `__getattr__`, `__dir__` and `__all__`.

    The names stand once, in the stub beside the package, where type checkers read them too: a line
    `from scalelab.room import name as name` each.

    Args:
        package: The package's `__name__`.
        file: The package's `__file__`.
    """
    home = _homes(f"{file.removesuffix('.py')}.pyi")
    names = sorted(home)

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: names, names


def _homes(stub: str) -> dict[str, str]:
    """Returns the module of each name that a stub imports under its own name."""
    with open(stub, encoding="utf-8") as lines:
        words = [line.split() for line in lines if line.startswith("from ")]
    return {line[3]: line[1] for line in words if line[2:3] == ["import"] and line[4:] == ["as", line[3]]}
