"""``torch``: PyTorch itself as a runtime for trained models, eager or compiled."""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

import scalelab

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn


class TorchParams(scalelab.Params):
    """Options of the ``torch`` backend."""

    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="type of weights and activations")
    compile: bool = Field(False, description="compile the model with torch.compile before the first call")
    threads: int | None = Field(None, ge=1, le=4096, description="CPU threads; torch's setting by default")


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if names:
            return names[0].partition(":")[2].strip()
    return platform.processor() or platform.machine()


def devices() -> list[scalelab.Device]:
    """Lists the CPU, every CUDA device and Apple's MPS, each with its name or the reason why not."""
    import torch

    found = [scalelab.Device("cpu", _cpu_name())]
    if torch.cuda.is_available():
        found += [
            scalelab.Device(f"cuda:{i}", torch.cuda.get_device_name(i))
            for i in range(torch.cuda.device_count())
        ]
    elif torch.version.cuda is None:
        found.append(
            scalelab.Device("cuda:0", "this torch is built without CUDA; see pytorch.org/get-started", False)
        )
    else:
        found.append(scalelab.Device("cuda:0", "torch sees no GPU; check the driver with nvidia-smi", False))
    if torch.backends.mps.is_available():
        found.append(scalelab.Device("mps", "Apple GPU"))
    else:
        found.append(scalelab.Device("mps", "needs macOS on Apple silicon", False))
    return found


def load(
    params: TorchParams, module: nn.Module, example: np.ndarray, device: str
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that runs a copy of ``module`` on ``device`` and waits for the outputs.

    Raises:
        scalelab.InputError: The device is unknown or unavailable, or the model does not run there in this
            precision; the first call is made here, compilation included.
    """
    import torch

    known = {entry.name: entry for entry in devices()}
    if device not in known or not known[device].available:
        usable = ", ".join(entry.name for entry in known.values() if entry.available)
        reason = known[device].detail if device in known else "there is no such device"
        raise scalelab.InputError(f"backend torch cannot use {device!r}: {reason} (usable: {usable})")
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[params.precision]
    model: Callable[[torch.Tensor], torch.Tensor] = copy.deepcopy(module).eval().to(device, kind)
    if params.compile:
        model = torch.compile(model)
    if params.threads is not None:
        torch.set_num_threads(params.threads)

    def infer(inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            outputs = model(torch.from_numpy(inputs).to(device, kind))
            return outputs.float().cpu().numpy()  # the copy to the CPU waits for the device

    try:
        infer(example)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise scalelab.InputError(
            f"backend torch cannot run the model on {device} in {params.precision}"
            f"{' compiled' if params.compile else ''}: {type(error).__name__}: {reason}"
        ) from error
    return infer


@scalelab.hookimpl
def scalelab_backends() -> list[scalelab.Backend]:
    """PyTorch."""
    return [
        scalelab.Backend(
            name="torch", summary="PyTorch, eager or compiled", devices=devices, load=load, params=TorchParams
        )
    ]
