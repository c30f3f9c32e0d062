"""Measuring: what a model costs, how fast it runs, how exact it stays, and on what machine.

Names are imported when they are first used; nothing here loads torch until a function needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalelab.lazy import lazy_names

_ROOMS = {
    "scalelab.measure.environment": ("environment_facts",),
    "scalelab.measure.fidelity": (
        "Fidelity",
        "calibration_inputs",
        "compare",
        "model_inputs",
        "outputs_of",
        "reference_outputs",
    ),
    "scalelab.measure.flops": ("complexity",),
    "scalelab.measure.interleave": ("interleaved",),
    "scalelab.measure.machine": ("machine_facts",),
    "scalelab.measure.targets": ("Target", "parse_target", "resolve", "usable"),
    "scalelab.measure.rates": ("Throughput", "batch_of", "throughput", "throughputs"),
    "scalelab.measure.timing": ("Latency", "latency"),
}

__all__ = [
    "Fidelity",
    "Latency",
    "Target",
    "Throughput",
    "batch_of",
    "calibration_inputs",
    "compare",
    "complexity",
    "environment_facts",
    "interleaved",
    "latency",
    "machine_facts",
    "model_inputs",
    "outputs_of",
    "parse_target",
    "reference_outputs",
    "resolve",
    "throughput",
    "throughputs",
    "usable",
]


__getattr__ = lazy_names(__name__, _ROOMS)


if TYPE_CHECKING:
    from scalelab.measure.environment import environment_facts
    from scalelab.measure.fidelity import (
        Fidelity,
        calibration_inputs,
        compare,
        model_inputs,
        outputs_of,
        reference_outputs,
    )
    from scalelab.measure.flops import complexity
    from scalelab.measure.interleave import interleaved
    from scalelab.measure.machine import machine_facts
    from scalelab.measure.rates import Throughput, batch_of, throughput, throughputs
    from scalelab.measure.targets import Target, parse_target, resolve, usable
    from scalelab.measure.timing import Latency, latency
