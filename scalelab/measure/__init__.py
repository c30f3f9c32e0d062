"""Measuring: what a model costs, how fast it runs, and on what machine.

Names are imported when they are first used; nothing here loads torch until a function needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalelab.lazy import lazy_names

_ROOMS = {
    "scalelab.measure.flops": ("Complexity", "complexity"),
    "scalelab.measure.timing": ("Latency", "latency"),
    "scalelab.measure.machine": ("machine_facts",),
}

__all__ = ["Complexity", "Latency", "complexity", "latency", "machine_facts"]


__getattr__ = lazy_names(__name__, _ROOMS)


if TYPE_CHECKING:
    from scalelab.measure.flops import Complexity, complexity
    from scalelab.measure.machine import machine_facts
    from scalelab.measure.timing import Latency, latency
