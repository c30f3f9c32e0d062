"""`torch`: PyTorch itself as a runtime for trained models, eager or compiled."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from scalelab_plugins.runtimes import Loading

import scalelab

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn


class TorchParams(scalelab.BackendParams):
    """Options of the `torch` backend."""

    precision: Literal["f32", "bf16", "f16", "int8"] = Field(
        "f32", description="of weights and activations; int8: of linear and recurrent layers, on the CPU"
    )
    compile: bool = Field(False, description="compile the model with torch.compile before the first call")


def devices() -> list[scalelab.Device]:
    """Lists the CPU, every CUDA device and Apple's MPS, each with its name or the reason why not."""
    import torch

    cpu = scalelab.Device("cpu", scalelab.machine_facts("cpu", threads=1).cpu)
    if torch.cuda.is_available():
        names = map(torch.cuda.get_device_name, range(torch.cuda.device_count()))
        cuda = [scalelab.Device(f"cuda:{i}", name) for i, name in enumerate(names)]
    else:
        unbuilt = "this torch is built without CUDA; see pytorch.org/get-started"
        unseen = "torch sees no GPU; check the driver with nvidia-smi"
        cuda = [scalelab.Device("cuda:0", unbuilt if torch.version.cuda is None else unseen, False)]
    apple = torch.backends.mps.is_available()
    mps = scalelab.Device("mps", "Apple GPU" if apple else "needs macOS on Apple silicon", apple)
    return [cpu, *cuda, mps]


def load(
    params: TorchParams,
    module: nn.Module,
    example: np.ndarray,
    device: str,
    calibration: np.ndarray | None,  # noqa: ARG001 - dynamic quantization needs none
) -> scalelab.Executable:
    """Loads a copy of `module` on `device` and runs it once, compilation included.

    Raises:
        scalelab.InputError: The device is unknown or unavailable, or has no such precision.
        scalelab.BackendError: The model does not run there.
    """
    import torch

    loading = Loading.of("torch", params, devices(), device)
    device, threads = loading.device, loading.threads
    facts: dict[str, str | int | float | bool] = {"torch": torch.__version__, "compiled": params.compile}
    if torch.version.cuda is not None and device.startswith("cuda"):
        facts["cuda"] = torch.version.cuda
    kinds = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16, "int8": torch.float32}
    kind = kinds[params.precision]
    if kind.itemsize < 4 and any(map(torch.is_complex, module.state_dict().values())):
        raise loading.refusal(f"the model has complex weights, and PyTorch has no complex {params.precision}")
    with loading.step("load"):
        weights = cast(copy.deepcopy(module).eval().to(device), kind)
    if params.precision == "int8":
        with loading.step("quantize"):
            weights, facts["int8_weights"] = quantized(weights, loading)
    with loading.step("save"):
        model_bytes = size_on_disk(weights)
    del loading.seconds["save"]
    model: Callable[[torch.Tensor], torch.Tensor] = torch.compile(weights) if params.compile else weights

    def infer(inputs: np.ndarray) -> np.ndarray:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode(), exact_f32(device, kind), plain_attention(params.precision):
                outputs = model(torch.from_numpy(inputs).to(device, kind))
                return outputs.float().cpu().numpy()  # the copy to the CPU waits for the device
        finally:
            torch.set_num_threads(before)

    checked = loading.guarded(infer, example.shape)
    with loading.step("compile") if params.compile else nullcontext():
        checked(example)
    return scalelab.Executable(
        infer=checked, seconds=loading.seconds, model_bytes=model_bytes, threads=threads, facts=facts
    )


def cast(model: nn.Module, kind: torch.dtype) -> nn.Module:
    """Returns the model with its real weights in `kind`; complex ones and integers stay what they are.

    `model.to(kind)` would drop the imaginary parts of complex weights.
    """
    import torch

    halves = {torch.bfloat16: model.bfloat16, torch.float16: model.half}
    return halves.get(kind, model.float)()


def quantized(model: nn.Module, loading: Loading) -> tuple[nn.Module, float]:
    """Returns the model with int8 linear and recurrent layers, and the share of weights that are int8.

    Weights are quantized once, activations at each call (PyTorch's dynamic quantization, which has no
    convolutions and runs on the CPU alone).

    Raises:
        scalelab.InputError: The device is not the CPU, this torch cannot do it, or there is no such layer.
    """
    from torch import nn, qint8

    if loading.device != "cpu":
        raise loading.refusal("PyTorch's dynamic quantization runs on the CPU alone")
    try:
        from torch.ao.quantization import quantize_dynamic
    except ImportError:
        raise loading.refusal("this torch no longer has dynamic quantization; use f32 or bf16") from None
    kinds = {nn.Linear, nn.LSTM, nn.GRU}
    layers = [layer for layer in model.modules() if type(layer) in kinds]
    n_weights = sum(parameter.numel() for layer in layers for parameter in layer.parameters())
    if not layers:
        raise loading.refusal("it quantizes linear and recurrent layers, and the model has none; use f32")
    if any(parameter.is_complex() for layer in layers for parameter in layer.parameters()):
        raise loading.refusal("PyTorch quantizes no linear layer of complex weights; use f32")
    share = n_weights / sum(parameter.numel() for parameter in model.parameters())
    result: nn.Module = quantize_dynamic(model, kinds, dtype=qint8)  # type: ignore[no-untyped-call]
    return result, round(share, 4)


def exact_f32(device: str, kind: torch.dtype) -> AbstractContextManager[Any]:
    """Turns TF32 off on CUDA: its convolutions would round inputs of f32 to ten bits of mantissa."""
    import torch

    if device.startswith("cuda") and kind == torch.float32:
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return nullcontext()


@contextmanager
def plain_attention(precision: str) -> Iterator[None]:
    """Keeps torch's fused transformer layers out of int8: they read weights that quantized layers hide."""
    from torch.backends import mha

    before = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(before and precision != "int8")
    try:
        yield
    finally:
        mha.set_fastpath_enabled(before)


def size_on_disk(model: nn.Module) -> int:
    """Returns the bytes of the model's saved weights."""
    import torch

    with tempfile.TemporaryFile() as file:
        torch.save(model.state_dict(), file)
        return file.tell()


@scalelab.hookimpl
def scalelab_backends() -> list[scalelab.Backend]:
    """PyTorch."""
    return [
        scalelab.Backend(
            name="torch",
            summary="PyTorch, eager or compiled",
            devices=devices,
            load=load,
            params=TorchParams,
            version=2,
            packages=("torch",),
        )
    ]
