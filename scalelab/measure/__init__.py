"""Measuring: what a model costs, how fast it runs, and on what machine.

Names are imported when they are first used; nothing here loads torch until a function needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_ROOMS = {
    "scalelab.measure.flops": ("Complexity", "complexity"),
    "scalelab.measure.timing": ("Latency", "latency"),
    "scalelab.measure.machine": ("machine_facts",),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["Complexity", "Latency", "complexity", "latency", "machine_facts"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'scalelab.measure' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


if TYPE_CHECKING:
    from scalelab.measure.flops import Complexity, complexity
    from scalelab.measure.machine import machine_facts
    from scalelab.measure.timing import Latency, latency
