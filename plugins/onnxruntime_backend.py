"""`onnxruntime`: ONNX Runtime with any of its execution providers.

A model is exported to ONNX with the batch fixed. Devices are providers, named without `ExecutionProvider`.
There is no bf16: the CPU provider has no kernels for it, and ONNX lets convolutions have it only since
opset 22, later than most providers.
"""

from __future__ import annotations

import copy
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from scalelab_plugins.runtimes import Loading, missing, required

import scalelab

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

SUFFIX = "ExecutionProvider"
INPUT, OUTPUT = "inputs", "outputs"
ABSENT = {
    "CPU": "this build of onnxruntime has no CPU provider",
    "CUDA": "needs an NVIDIA GPU and pip install onnxruntime-gpu, in place of onnxruntime",
    "Tensorrt": "needs an NVIDIA GPU, TensorRT and pip install onnxruntime-gpu, in place of onnxruntime",
    "Dml": "DirectML needs Windows and pip install onnxruntime-directml, in place of onnxruntime",
    "CoreML": "needs macOS, where onnxruntime has it",
    "OpenVINO": "needs pip install onnxruntime-openvino, in place of onnxruntime",
    "MIGraphX": "needs an AMD GPU with ROCm and a build of onnxruntime for it",
    "QNN": "needs a Qualcomm processor and pip install onnxruntime-qnn, in place of onnxruntime",
}
"""Providers that models run on in practice, and how to get each."""
REMOTE = {"Azure": "sends models to a service, it does not run them on this machine"}


class OnnxruntimeParams(scalelab.BackendParams):
    """Options of the `onnxruntime` backend."""

    precision: Literal["f32", "f16", "int8"] = Field("f32", description="of weights and activations")
    quantization: Literal["static", "dynamic"] = Field(
        "static", description="int8: scales of activations from calibration, or computed at each call"
    )
    calibration_examples: int = Field(
        300, ge=1, le=100_000, description="examples that static int8 is calibrated with, at most"
    )
    exporter: Literal["auto", "torchscript", "dynamo"] = Field(
        "auto", description="torch's exporter to ONNX; auto: dynamo where the faster torchscript fails"
    )
    opset: int = Field(18, ge=17, le=20, description="version of the ONNX operators")


def devices() -> list[scalelab.Device]:
    """Lists every provider of this build, and the usual others with the way to get them."""
    absent = missing("onnx", "onnxruntime")
    if absent:
        return [scalelab.Device(name, absent, False) for name in ABSENT]
    names = [name.removesuffix(SUFFIX) for name in _onnxruntime().get_available_providers()]
    local = [name for name in names if name not in REMOTE]
    cpu = scalelab.machine_facts("cpu", threads=1).cpu
    found = [scalelab.Device(name, cpu if name == "CPU" else f"{name} of this onnxruntime") for name in local]
    others = {**ABSENT, **{name: why for name, why in REMOTE.items() if name in names}}
    found += [scalelab.Device(name, why, False) for name, why in others.items() if name not in local]
    return sorted(found, key=lambda device: not device.available)


def load(
    params: OnnxruntimeParams,
    module: nn.Module,
    example: np.ndarray,
    device: str,
    calibration: np.ndarray | None,
) -> scalelab.Executable:
    """Exports, quantizes where asked, opens a session, and runs the model once.

    Raises:
        scalelab.InputError: The device is unknown or unavailable; static int8 without `calibration`.
        scalelab.BackendError: The model does not export, load or run.
    """
    loading = Loading.of("onnxruntime", params, devices(), device)
    device, threads = loading.device, loading.threads
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path, exporter = convert(params, module, example, calibration, Path(folder), loading)
        model_bytes = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
        with loading.step("load"):
            session = open_session(path, device, threads)
    providers = [name.removesuffix(SUFFIX) for name in session.get_providers()]
    if providers[0] != device:
        raise loading.error("load", RuntimeError(f"the session fell back to {', '.join(providers)}"))

    def run(inputs: np.ndarray) -> np.ndarray:
        outputs: np.ndarray = session.run([OUTPUT], {INPUT: inputs})[0]
        return outputs

    infer = loading.guarded(run, example.shape)
    infer(example)
    facts: dict[str, str | int | float | bool] = {
        "onnxruntime": _onnxruntime().__version__,
        "onnx": required("onnx", "onnx").__version__,
        "providers": ", ".join(providers),
        "exporter": exporter,
        "opset": params.opset,
    }
    if params.precision == "int8":
        facts["quantization"] = params.quantization
    return scalelab.Executable(
        infer=infer, seconds=loading.seconds, model_bytes=model_bytes, threads=threads, facts=facts
    )


def open_session(path: Path, device: str, threads: int) -> Any:
    """Returns a session that runs a model's nodes one after another, each on `threads` threads."""
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Its threads stop spinning when a call ends, so that they do not disturb what is timed next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    wanted = device + SUFFIX
    fallback = [] if device == "CPU" else ["CPU" + SUFFIX]
    return runtime.InferenceSession(path, options, providers=[wanted, *fallback])


def convert(
    params: OnnxruntimeParams,
    module: nn.Module,
    example: np.ndarray,
    calibration: np.ndarray | None,
    folder: Path,
    loading: Loading | None = None,
) -> tuple[Path, str]:
    """Writes the model in the precision asked for; returns its file and the exporter that was used.

    Raises:
        scalelab.InputError: Static int8 without `calibration`, or a package is missing.
        scalelab.BackendError: The model does not convert.
    """
    loading = loading or Loading("onnxruntime", "CPU", params.precision)
    onnx = required("onnx", "onnx")
    _onnxruntime()
    path = folder / "exported.onnx"
    with loading.step("convert"):
        exporter = export(copy.deepcopy(module).cpu().eval(), example, path, params)
        if params.precision == "f16":
            float16 = required("onnx", "onnxruntime.transformers.float16")
            half = float16.convert_float_to_float16(onnx.load(path), keep_io_types=True)
            path = folder / "half.onnx"
            onnx.save(half, path)
    if params.precision == "int8":
        path = quantize(path, params, example, calibration, loading)
    return path, exporter


def export(module: nn.Module, example: np.ndarray, path: Path, params: OnnxruntimeParams) -> str:
    """Writes the module as ONNX; returns the name of the exporter that could."""
    attempts = ("torchscript", "dynamo") if params.exporter == "auto" else (params.exporter,)
    first: Exception | None = None
    for name in attempts:
        try:
            _export(module, example, path, params.opset, name)
        except Exception as error:
            first = first or error
        else:
            return name
    assert first is not None
    raise first


def _export(module: nn.Module, example: np.ndarray, path: Path, opset: int, exporter: str) -> None:
    import torch

    torch.onnx.export(
        module,
        (torch.from_numpy(example.copy()),),
        path,
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=opset,
        dynamo=exporter == "dynamo",
    )


def quantize(
    path: Path,
    params: OnnxruntimeParams,
    example: np.ndarray,
    calibration: np.ndarray | None,
    loading: Loading,
) -> Path:
    """Writes the model in int8, weights by channel; returns its file.

    Raises:
        scalelab.InputError: Static quantization without `calibration`.
        scalelab.BackendError: The model cannot be quantized.
    """
    batches = None
    if params.quantization == "static":
        otherwise = "; or ask for quantization = 'dynamic'"
        batches = loading.calibration_batches(
            "static quantization", calibration, len(example), params.calibration_examples, otherwise
        )
    prepared, result = path.with_name("prepared.onnx"), path.with_name("int8.onnx")
    with loading.step("quantize"):
        quantization = required("onnx", "onnxruntime.quantization")
        # All shapes are fixed, and its symbolic inference does not know every reshape of attention.
        inference = required("onnx", "onnxruntime.quantization.shape_inference")
        inference.quant_pre_process(path, prepared, skip_symbolic_shape=True)
        unshare_gemm_weights(prepared)
        if batches is not None:
            reader = _reader(batches, quantization.CalibrationDataReader)
            quantization.quantize_static(prepared, result, reader, per_channel=True)
        else:
            quantization.quantize_dynamic(prepared, result, per_channel=True)
    return result


def unshare_gemm_weights(path: Path) -> None:
    """Gives each Gemm of a model weights of its own.

    Quantization transposes a Gemm's weights in place, once for each Gemm that uses them (onnxruntime 1.31),
    so that tied layers, and layers that start out equal and are stored once, would come out wrong.
    """
    onnx = required("onnx", "onnx")
    model = onnx.load(path)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    uses = Counter(name for node in model.graph.node for name in node.input)
    for number, node in enumerate(model.graph.node):
        name = node.input[1] if node.op_type == "Gemm" else ""
        if name in weights and uses[name] > 1:
            own = model.graph.initializer.add()
            own.CopyFrom(weights[name])
            own.name = node.input[1] = f"{name}.{number}"
    onnx.save(model, path)


def _reader(batches: Sequence[np.ndarray], base: Any) -> Any:
    """Returns what `quantize_static` reads examples from."""

    class Reader(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = iter([{INPUT: batch} for batch in batches])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    return Reader()


def _onnxruntime() -> Any:
    """Returns ONNX Runtime, which on Windows reports its use unless told not to."""
    runtime = required("onnx", "onnxruntime")
    silence: Callable[[], None] = runtime.disable_telemetry_events
    silence()
    return runtime


@scalelab.hookimpl
def scalelab_backends() -> list[scalelab.Backend]:
    """ONNX Runtime."""
    return [
        scalelab.Backend(
            name="onnxruntime",
            summary="ONNX Runtime with any of its execution providers, dynamic and static int8",
            devices=devices,
            load=load,
            params=OnnxruntimeParams,
            packages=("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnx", "torch"),
        )
    ]
