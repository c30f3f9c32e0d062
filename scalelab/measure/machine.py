"""What an attempt ran on."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from scalelab.records import Machine


def machine_facts(device: str, threads: int | None = None, workers: int | None = None) -> Machine:
    """Returns where this process runs.

    Args:
        device: What trains or infers, such as `"cpu"` or `"cuda:0"`.
        threads: CPU threads in use; torch's setting by default.
        workers: Worker processes that share the machine; 0 is the coordinator's own.
    """
    if threads is None:
        import torch

        threads = torch.get_num_threads()
    return Machine(
        host=platform.node(),
        pid=os.getpid(),
        platform=platform.platform(),
        cpu=cpu_name(),
        cores=usable_cores(),
        threads=threads,
        workers=workers,
        python=platform.python_version(),
        torch=version("torch"),
        device=device.partition(":")[0],
        device_name=_device_name(device),
    )


@lru_cache(maxsize=1)
def cpu_name() -> str:
    """Returns what the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Returns how many cores this process may use: of its affinity, within its control group's limit."""
    from joblib import cpu_count

    return int(cpu_count())


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return cpu_name()
