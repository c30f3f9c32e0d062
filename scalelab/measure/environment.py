"""What a latency depends on beside the model: clock policy, memory, driver, load, versions."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scalelab.measure.machine import cpu_name, usable_cores

Fact = str | int | float | bool
PACKAGES = ("scalelab", "torch", "numpy", "openvino", "nncf", "onnx", "onnxruntime", "onnxruntime-gpu")
"""Distributions whose versions can change a latency."""

CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")
TURBO = {
    Path("/sys/devices/system/cpu/intel_pstate/no_turbo"): "0",
    Path("/sys/devices/system/cpu/cpufreq/boost"): "1",
}
"""Files that tell about turbo clocks, and what they hold where it is on."""
NVIDIA = Path("/proc/driver/nvidia/version")


def environment_facts(packages: Iterable[str] = PACKAGES) -> dict[str, Fact]:
    """Returns facts about this machine now, by name; what the system does not tell is left out.

    Among them: `cpu`, `cores` (that this process may use), `physical_cores`, `memory_bytes`,
    `system`, `governor`, `turbo`, `mhz`, `load` (mean number of processes that wanted a core in
    the last minute), `nvidia_driver` and `version_<package>`.

    Args:
        packages: Distributions whose versions to tell.
    """
    import psutil

    facts: dict[str, Fact] = {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    physical = psutil.cpu_count(logical=False)
    if physical:
        facts["physical_cores"] = physical
    if hasattr(os, "getloadavg"):
        facts["load"] = round(os.getloadavg()[0], 2)
    facts.update(_clock())
    facts.update({f"version_{name}": found for name, found in _versions(packages)})
    driver = re.search(r"Kernel Module\D*([\d.]+)", _text(NVIDIA))
    if driver:
        facts["nvidia_driver"] = driver.group(1)
    return facts


def _clock() -> Iterator[tuple[str, Fact]]:
    governor = _text(CPUFREQ / "scaling_governor")
    if governor:
        yield "governor", governor
    highest = _text(CPUFREQ / "scaling_max_freq")
    if highest.isdecimal():
        yield "mhz", int(highest) // 1000
    for path, on in TURBO.items():
        state = _text(path)
        if state:
            yield "turbo", state == on
            return


def _versions(packages: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in packages:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""  # no such file on this system, or a container hides it
