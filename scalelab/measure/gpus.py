"""The GPUs that this process may use, for workers that get one each. Nothing here starts CUDA."""

from __future__ import annotations

import os
import sys

_SIGNS = "/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd"
"""One of them is there where Linux has a GPU that torch can use: NVIDIA's (Jetson, WSL) or AMD's."""


def gpu_environments() -> tuple[dict[str, str], ...]:
    """Returns for each GPU the environment in which it is the only one, in CUDA's order.

    What was inherited is heeded: `CUDA_VISIBLE_DEVICES` may name GPUs by number, by UUID, or parts of one
    (MIG). With ROCm it is `HIP_VISIBLE_DEVICES`. Without a GPU torch is not imported.
    """
    if sys.platform == "darwin" or (sys.platform == "linux" and not any(map(os.path.exists, _SIGNS))):
        return ()
    import torch

    count = torch.cuda.device_count()  # which asks NVML, and heeds what was inherited
    variable = "CUDA_VISIBLE_DEVICES" if torch.version.hip is None else "HIP_VISIBLE_DEVICES"
    given = os.environ.get(variable, os.environ.get("CUDA_VISIBLE_DEVICES"))
    names = map(str, range(count)) if given is None else (name.strip() for name in given.split(","))
    return tuple({variable: name} for name, _ in zip(names, range(count), strict=False))
