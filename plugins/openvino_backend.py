"""`openvino`: Intel's runtime for CPUs, integrated and discrete GPUs, and NPUs.

A model is exported from PyTorch, converted to OpenVINO's own representation with the batch fixed, compared
with PyTorch in f32, and compiled for the device. INT8 is NNCF's post-training quantization, calibrated with
examples of the dataset. OpenVINO and NNCF count their users over the network; they are imported such that
they do not.
"""

from __future__ import annotations

import contextlib
import copy
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from scalelab_plugins.runtimes import Exporter, Loading, missing, quiet, required

import scalelab

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

ABSENT = {
    "CPU": "OpenVINO found no processor that it supports",
    "GPU": "OpenVINO sees no Intel GPU; where there is one, install its driver with OpenCL "
    "(docs.openvino.ai, 'Configurations for Intel GPU')",
    "NPU": "OpenVINO sees no Intel NPU; where there is one (Core Ultra), install its driver "
    "(docs.openvino.ai, 'Configurations for Intel NPU')",
}
"""Devices that OpenVINO can have, and why one is absent."""

CAPABILITIES = {"f32": "FP32", "bf16": "BF16", "f16": "FP16", "int8": "INT8"}
"""What a device calls a precision that it has in hardware."""


class OpenvinoParams(scalelab.BackendParams):
    """Options of the `openvino` backend."""

    precision: Literal["f32", "bf16", "f16", "int8"] = Field(
        "f32", description="what inference computes in; int8 is quantized by NNCF"
    )
    hint: Literal["latency", "throughput"] = Field("latency", description="what the runtime tunes itself for")
    calibration_examples: int = Field(
        300, ge=1, le=100_000, description="examples that int8 is calibrated with, at most"
    )
    preset: Literal["performance", "mixed"] = Field(
        "performance", description="int8 activations: all symmetric, or asymmetric where they need it"
    )
    transformer: bool = Field(False, description="quantize as suits transformers (int8)")
    exporter: Exporter = Field(
        "auto",
        description="torch's way out; auto: dynamo where the faster torchscript fails or is wrong",
    )


@contextlib.contextmanager
def _no_telemetry() -> Iterator[None]:
    """Hides the package that OpenVINO and NNCF report their use with; both do without where it is missing."""
    name = "openvino_telemetry"
    hidden = name not in sys.modules
    if hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[name]


def _import(package: str) -> Any:
    with _no_telemetry():
        return required("openvino", package)


def devices() -> list[scalelab.Device]:
    """Lists AUTO, every device that the runtime sees, and those it could have with the reason why not."""
    absent = missing("openvino", "openvino")
    if absent:
        return [scalelab.Device(name, absent, False) for name in ("AUTO", *ABSENT)]
    core = _import("openvino").Core()
    names = list(core.available_devices)
    found = [scalelab.Device(name, str(core.get_property(name, "FULL_DEVICE_NAME"))) for name in names]
    families = {name.partition(".")[0] for name in names}
    found += [scalelab.Device(name, why, False) for name, why in ABSENT.items() if name not in families]
    choice = f"the runtime chooses among {', '.join(names)}" if names else "there is no device to choose"
    return [scalelab.Device("AUTO", choice, bool(names)), *found]


def load(
    params: OpenvinoParams,
    module: nn.Module,
    example: np.ndarray,
    device: str,
    calibration: np.ndarray | None,
) -> scalelab.Executable:
    """Converts, quantizes where asked, compiles, and runs the model once; by one exporter or another.

    Raises:
        scalelab.InputError: The device is unknown or unavailable, or has no such precision; int8 without
            `calibration`.
        scalelab.BackendError: By no exporter the model converts, loads and runs with PyTorch's outputs.
    """
    loading = Loading.of("openvino", params, devices(), device)
    load_by = partial(
        _load_by, params=params, module=module, example=example, calibration=calibration, loading=loading
    )
    executable: scalelab.Executable = loading.by_one_of(params.exporter, load_by)
    return executable


def _load_by(
    exporter: str,
    params: OpenvinoParams,
    module: nn.Module,
    example: np.ndarray,
    calibration: np.ndarray | None,
    loading: Loading,
) -> scalelab.Executable:
    """Loads the model by one exporter."""
    openvino = _import("openvino")
    core, device, threads = openvino.Core(), loading.device, loading.threads
    model = convert(exporter, module, example, loading)
    # The conversion is judged where f32 is f32, whatever the device makes of it.
    exact = params.model_copy(update={"precision": "f32"})
    judge = "CPU" if "CPU" in core.available_devices else device
    with loading.step("compile"):
        compiled = core.compile_model(model, judge, config(exact, judge, threads))
        request = _Request(openvino, compiled)
    loading.check(request.infer, module, example, calibration)
    if (device, params.precision) != (judge, "f32"):
        del compiled, request, loading.seconds["compile"]
        if params.precision == "int8":
            model = quantize(model, params, example, calibration, loading)
        with loading.step("compile"):
            compiled = core.compile_model(model, device, config(params, device, threads))
            request = _Request(openvino, compiled)
    facts = _facts(compiled, device) | {"openvino": openvino.__version__, "hint": params.hint}
    facts |= {"exporter": exporter, "emulated": _emulated(core, compiled, params.precision)}
    computed = facts.get("inference_precision")
    if params.precision != "int8" and computed not in (None, params.precision):
        raise loading.refusal(f"the runtime computes in {computed} there; ask for {computed}")
    infer = loading.guarded(request.infer, example.shape)
    infer(example)
    return scalelab.Executable(
        infer=infer,
        seconds=loading.seconds,
        model_bytes=size_on_disk(model, half=params.precision == "f16"),
        threads=int(facts.get("inference_num_threads", threads)),
        facts=facts,
        throughput=_throughput(openvino, compiled),
        own_seconds=request.own_seconds,
    )


def convert(exporter: str, module: nn.Module, example: np.ndarray, loading: Loading | None = None) -> Any:
    """Returns a copy of the module as an `openvino.Model` in f32, for inputs of the example's shape.

    Raises:
        scalelab.InputError: A package is missing.
        scalelab.BackendError: The model does not convert.
    """
    import torch

    openvino = _import("openvino")
    loading = loading or Loading("openvino", "CPU", "f32")
    with loading.step("convert"):
        inputs, model = torch.from_numpy(example.copy()), copy.deepcopy(module).cpu().eval()
        shape = [list(example.shape)]
        with torch.no_grad():
            if exporter == "dynamo":
                return openvino.convert_model(torch.export.export(model, (inputs,)), input=shape)
            # Traced here, without the second and third run by which tracing checks itself.
            traced = torch.jit.trace(model, inputs, check_trace=False)  # type: ignore[no-untyped-call]
            return openvino.convert_model(traced, example_input=inputs, input=shape)


def quantize(
    model: Any,
    params: OpenvinoParams,
    example: np.ndarray,
    calibration: np.ndarray | None,
    loading: Loading,
) -> Any:
    """Returns a model in int8.

    Raises:
        scalelab.InputError: There is no `calibration`, or NNCF is missing.
        scalelab.BackendError: The model cannot be quantized.
    """
    batches = loading.calibration_batches("NNCF", calibration, len(example), params.calibration_examples)
    nncf = _import("nncf")
    with loading.step("quantize"):
        return nncf.quantize(
            model,
            nncf.Dataset(batches),
            subset_size=len(batches),
            preset=nncf.QuantizationPreset(params.preset),
            model_type=nncf.ModelType.TRANSFORMER if params.transformer else None,
        )


def config(params: OpenvinoParams, device: str, threads: int) -> dict[str, Any]:
    """Returns the properties that a model is compiled with."""
    properties: dict[str, Any] = {"PERFORMANCE_HINT": params.hint.upper()}
    if params.precision != "int8":  # beside int8 layers the device computes in what it does best
        properties["INFERENCE_PRECISION_HINT"] = params.precision
    if device in ("CPU", "AUTO"):
        properties["INFERENCE_NUM_THREADS"] = threads
    return properties


def _facts(compiled: Any, device: str) -> dict[str, str | int | float | bool]:
    """Returns what the compiled model says of itself: executing device, precision, streams, threads."""
    supported = compiled.get_property("SUPPORTED_PROPERTIES")
    execution = [str(name) for name in compiled.get_property("EXECUTION_DEVICES")]
    properties = {name: compiled.get_property(name) for name in supported if name != "SUPPORTED_PROPERTIES"}
    chosen = properties.get("DEVICE_PROPERTIES") or {}  # AUTO has those of the device that it chose
    for inner in chosen.values():
        properties = {**inner, **properties}
    facts: dict[str, str | int | float | bool] = {"device": device, "execution_devices": ", ".join(execution)}
    if "INFERENCE_PRECISION_HINT" in properties:
        name = getattr(properties["INFERENCE_PRECISION_HINT"], "to_string", lambda: "")()
        facts["inference_precision"] = name or str(properties["INFERENCE_PRECISION_HINT"])
    for name in ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "OPTIMAL_NUMBER_OF_INFER_REQUESTS"):
        if name in properties:
            facts[name.lower()] = int(properties[name])
    if "ENABLE_CPU_PINNING" in properties:
        facts["enable_cpu_pinning"] = bool(properties["ENABLE_CPU_PINNING"])
    if "NPU_DRIVER_VERSION" in properties:
        facts["npu_driver_version"] = str(properties["NPU_DRIVER_VERSION"])
    return facts


def _emulated(core: Any, compiled: Any, precision: str) -> bool:
    """Tells whether no device that executes the model has the precision in hardware."""
    name = CAPABILITIES[precision]
    executing = (str(device).strip("()") for device in compiled.get_property("EXECUTION_DEVICES"))
    return not any(name in core.get_property(device, "OPTIMIZATION_CAPABILITIES") for device in executing)


class _Request:
    """One inference after another, on the caller's own memory."""

    def __init__(self, openvino: Any, compiled: Any) -> None:
        import numpy as np

        self._tensor = openvino.Tensor
        self._request = compiled.create_infer_request()
        self._outputs = np.empty(tuple(compiled.output(0).shape), np.float32)
        self._request.set_output_tensor(self._tensor(self._outputs, shared_memory=True))
        self._bound: tuple[object, np.ndarray] = (None, self._outputs)  # what was given, what is read

    def infer(self, inputs: np.ndarray) -> np.ndarray:
        import numpy as np

        if inputs is not self._bound[0]:
            plain = np.require(inputs, np.float32, ["C", "W"])
            self._request.set_input_tensor(self._tensor(plain, shared_memory=True))
            self._bound = (inputs if plain is inputs else None, plain)
        self._request.infer(share_outputs=True)
        return self._outputs.copy()

    def own_seconds(self) -> float:
        milliseconds: float = self._request.latency
        return milliseconds / 1000


def _throughput(openvino: Any, compiled: Any) -> Callable[[np.ndarray, float], float]:
    """Returns a function that keeps as many requests on their way as the runtime thinks best."""

    def throughput(inputs: np.ndarray, seconds: float) -> float:
        queue = openvino.AsyncInferQueue(compiled)
        for _ in range(len(queue)):
            queue.start_async({0: inputs})
        queue.wait_all()
        n, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            queue.start_async({0: inputs})
            n += 1
        queue.wait_all()
        return n * len(inputs) / (time.perf_counter() - start)

    return throughput


def size_on_disk(model: Any, *, half: bool = False) -> int:
    """Returns the bytes of the model's two files; `half` stores weights in f16."""
    openvino = _import("openvino")
    with tempfile.TemporaryDirectory() as folder, quiet():
        openvino.save_model(model, Path(folder, "model.xml"), compress_to_fp16=half)
        return sum(path.stat().st_size for path in Path(folder).iterdir())


@scalelab.hookimpl
def scalelab_backends() -> list[scalelab.Backend]:
    """OpenVINO."""
    return [
        scalelab.Backend(
            name="openvino",
            summary="OpenVINO on Intel CPUs, GPUs and NPUs, int8 by NNCF",
            devices=devices,
            load=load,
            params=OpenvinoParams,
            version=3,
            packages=("openvino", "nncf", "torch"),
        )
    ]
