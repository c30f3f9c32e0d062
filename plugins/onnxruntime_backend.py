"""`onnxruntime`: ONNX Runtime with any of its execution providers.

A model is exported to ONNX with the batch fixed, and compared with PyTorch in f32. Devices are providers,
named without `ExecutionProvider`. There is no bf16: the CPU provider has no kernels for it, and ONNX lets
convolutions have it only since opset 22, later than most providers.
"""

from __future__ import annotations

import copy
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from scalelab_plugins.runtimes import Exporter, Loading, missing, required

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
    exporter: Exporter = Field(
        "auto",
        description="torch's exporter to ONNX; auto: dynamo where the faster torchscript fails or is wrong",
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
    """Exports, quantizes where asked, opens a session, and runs the model once; by one exporter or another.

    Raises:
        scalelab.InputError: The device is unknown or unavailable; static int8 without `calibration`.
        scalelab.BackendError: By no exporter the model converts, loads and runs with PyTorch's outputs.
    """
    loading = Loading.of("onnxruntime", params, devices(), device)
    load_by = partial(
        _load_by, params=params, module=module, example=example, calibration=calibration, loading=loading
    )
    executable: scalelab.Executable = loading.by_one_of(params.exporter, load_by)
    return executable


def _load_by(
    exporter: str,
    params: OnnxruntimeParams,
    module: nn.Module,
    example: np.ndarray,
    calibration: np.ndarray | None,
    loading: Loading,
) -> scalelab.Executable:
    """Loads the model by one exporter."""
    device, threads = loading.device, loading.threads
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = export(exporter, params, module, example, Path(folder), loading)
        with loading.step("load"):
            session = open_session(path, "CPU", threads)
        loading.check(partial(_run, session), module, example, calibration)
        if (device, params.precision) != ("CPU", "f32"):
            del session, loading.seconds["load"]
            path = convert(path, params, example, calibration, loading)
            with loading.step("load"):
                session = open_session(path, device, threads)
        model_bytes = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    providers = [name.removesuffix(SUFFIX) for name in session.get_providers()]
    if providers[0] != device:
        raise loading.error("load", RuntimeError(f"the session fell back to {', '.join(providers)}"))
    infer = loading.guarded(partial(_run, session), example.shape)
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


def _run(session: Any, inputs: np.ndarray) -> np.ndarray:
    outputs: np.ndarray = session.run([OUTPUT], {INPUT: inputs})[0]
    return outputs


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


def export(
    exporter: str,
    params: OnnxruntimeParams,
    module: nn.Module,
    example: np.ndarray,
    folder: Path,
    loading: Loading | None = None,
) -> Path:
    """Writes a copy of the module as ONNX in f32; returns the file.

    Raises:
        scalelab.InputError: A package is missing.
        scalelab.BackendError: The exporter cannot.
    """
    import torch

    loading = loading or Loading("onnxruntime", "CPU", params.precision)
    for package in ("onnx", "onnxruntime"):
        required("onnx", package)
    path = folder / "exported.onnx"
    with loading.step("convert"):
        try:
            torch.onnx.export(
                copy.deepcopy(module).cpu().eval(),
                (torch.from_numpy(example.copy()),),
                path,
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=params.opset,
                dynamo=exporter == "dynamo",
                external_data=False,  # quantization loses weights that lie beside the file
            )
        except torch.onnx.OnnxExporterError as error:
            raise _cause(error) from None
    return path


def _cause(error: BaseException) -> BaseException:
    """Returns what an exporter's error comes from: its own text is advice on how to look for it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def convert(
    path: Path,
    params: OnnxruntimeParams,
    example: np.ndarray,
    calibration: np.ndarray | None,
    loading: Loading,
) -> Path:
    """Returns the file of a model in the precision asked for, given that in f32.

    Raises:
        scalelab.InputError: Static int8 without `calibration`.
        scalelab.BackendError: The model does not convert.
    """
    if params.precision == "int8":
        return quantize(path, params, example, calibration, loading)
    if params.precision == "f32":
        return path
    half = path.with_name("half.onnx")
    with loading.step("convert"):
        onnx = required("onnx", "onnx")
        float16 = required("onnx", "onnxruntime.transformers.float16")
        onnx.save(float16.convert_float_to_float16(onnx.load(path), keep_io_types=True), half)
    return half


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
            version=2,
            packages=("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnx", "torch"),
        )
    ]
