"""Names that a package offers and imports only when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(package: str, rooms: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Returns a package's `__getattr__`: it imports a name's module, once, when the name is asked for.

    Args:
        package: The package's `__name__`.
        rooms: The names that each module provides, by the module's full name.
    """
    home = {name: room for room, names in rooms.items() for name in names}

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get
