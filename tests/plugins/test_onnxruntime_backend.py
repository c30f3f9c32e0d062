from __future__ import annotations

import importlib.util
import sys

import pytest
from runtime_models import (
    CALIBRATION,
    EXAMPLE,
    MODELS,
    ComplexWeights,
    LogScan,
    helps_where_the_first_fails,
    helps_where_the_first_is_wrong,
    names_the_operator,
    network,
    refuses_absent_devices,
    relative_error,
)
from scalelab_plugins import runtimes
from scalelab_plugins.onnxruntime_backend import OnnxruntimeParams, devices, load, scalelab_backends
from torch import nn

from scalelab import Backend, BackendError, Executable, InputError
from scalelab.measure.targets import Target
from scalelab.testing import BackendContract

if not all(map(importlib.util.find_spec, ("onnx", "onnxruntime", "onnxscript"))):
    pytest.skip("needs onnx and onnxruntime: pip install 'scalelab[onnx]'", allow_module_level=True)


def params(**options: object) -> OnnxruntimeParams:
    return OnnxruntimeParams(**{"threads": 1, **options})


def test_every_provider_is_listed_and_what_is_missing_says_how_to_get_it() -> None:
    import onnxruntime

    found = {device.name: device for device in devices()}
    assert found["CPU"].available
    assert {"CPU", "CUDA", "Tensorrt", "Dml", "CoreML"} <= set(found)
    listed = {name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()}
    assert listed <= set(found)
    for device in found.values():
        assert device.available or "needs" in device.detail or "service" in device.detail


@pytest.fixture(scope="module", params=MODELS)
def loaded(request: pytest.FixtureRequest) -> dict[str, tuple[Executable, nn.Module]]:
    module = network(request.param)
    targets = {
        "f32": params(),
        "f16": params(precision="f16"),
        "static": params(precision="int8", threads=2),
        "dynamic": params(precision="int8", quantization="dynamic"),
    }
    return {
        name: (load(options, module, EXAMPLE, "CPU", CALIBRATION if name == "static" else None), module)
        for name, options in targets.items()
    }


# Without VNNI a processor saturates sums of two int8 products, and dynamic quantization loses more.
@pytest.mark.parametrize(
    ("name", "tolerance"), [("f32", 1e-4), ("f16", 0.01), ("static", 0.3), ("dynamic", 0.5)]
)
def test_outputs_agree_with_pytorch(
    loaded: dict[str, tuple[Executable, nn.Module]], name: str, tolerance: float
) -> None:
    executable, module = loaded[name]
    assert relative_error(executable, module) <= tolerance
    assert module.training


def test_it_says_what_it_did(loaded: dict[str, tuple[Executable, nn.Module]]) -> None:
    exact, quick = loaded["f32"][0], loaded["static"][0]
    n_bytes = 4 * sum(p.numel() for p in loaded["f32"][1].parameters())
    assert set(exact.seconds) == {"convert", "load"}
    assert set(quick.seconds) == {"convert", "quantize", "load"}
    assert (exact.threads, quick.threads) == (1, 2)
    assert 0.8 * n_bytes < (exact.model_bytes or 0)
    assert exact.facts["providers"] == "CPU"
    assert exact.facts["exporter"] == "torchscript"
    assert (quick.facts["quantization"], loaded["dynamic"][0].facts["quantization"]) == ("static", "dynamic")
    assert exact.throughput is None


def test_f16_halves_the_weights_on_disk() -> None:
    wide = nn.Sequential(nn.Conv1d(2, 64, 9), nn.ReLU(), nn.Conv1d(64, 64, 9), nn.Flatten())
    exact, half = (load(params(precision=p), wide, EXAMPLE, "CPU", None).model_bytes for p in ("f32", "f16"))
    assert (half or 0) == pytest.approx((exact or 0) / 2, rel=0.05)


def test_static_int8_needs_examples() -> None:
    with pytest.raises(InputError, match=r"static quantization needs examples .* quantization = 'dynamic'"):
        load(params(precision="int8"), network("regnet1d"), EXAMPLE, "CPU", None)


def test_bf16_is_refused_in_words() -> None:
    with pytest.raises(InputError, match="onnxruntime does not offer bf16; it offers f32, f16, int8"):
        Target("onnxruntime", "CPU", "bf16").params(scalelab_backends()[0])


def test_an_operator_that_does_not_convert_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    names_the_operator(scalelab_backends()[0], params(exporter="torchscript"), capfd)


def test_the_second_exporter_helps_where_the_first_fails_or_is_wrong() -> None:
    helps_where_the_first_fails(load, params())
    helps_where_the_first_is_wrong(load, params())


def test_complex_weights_are_right_in_f32_and_in_int8() -> None:
    module = ComplexWeights()
    for options, tolerance in ((params(), 1e-5), (params(precision="int8"), 0.1)):
        executable = load(options, module, EXAMPLE, "CPU", CALIBRATION)
        assert executable.facts["exporter"] == "dynamo"
        assert relative_error(executable, module) <= tolerance


def test_outputs_that_are_wrong_by_every_exporter_are_an_error() -> None:
    """The operator that ONNX has not is written as log, cumsum and exp, which overflow."""
    for precision in ("f32", "int8"):
        with pytest.raises(
            BackendError, match=r"by torchscript .*logcumsumexp.*; by dynamo outputs .*"
        ) as caught:
            load(params(precision=precision), LogScan(), EXAMPLE, "CPU", CALIBRATION)
        assert "\n" not in str(caught.value)


def test_the_dynamo_exporter_gives_the_same_outputs() -> None:
    module = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(376, 3))
    executable = load(params(exporter="dynamo"), module, EXAMPLE, "CPU", None)
    assert executable.facts["exporter"] == "dynamo"
    assert relative_error(executable, module) <= 1e-4


def test_devices_that_are_not_there_are_refused() -> None:
    refuses_absent_devices(scalelab_backends()[0])


def test_a_provider_that_does_not_start_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "find_device", lambda *_: runtimes.scalelab.Device("CUDA"))
    with pytest.raises(BackendError, match=r"cannot load the model on CUDA in f32: .*fell back to CPU"):
        load(params(), network("regnet1d"), EXAMPLE, "CUDA", None)


def test_without_the_package_devices_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: None)
    for device in devices():
        assert not device.available
        assert device.detail == "onnxruntime is not installed: pip install 'scalelab[onnx]'"
    with pytest.raises(InputError, match=r"pip install 'scalelab\[onnx\]'"):
        load(params(), network("regnet1d"), EXAMPLE, "CPU", None)


def test_a_package_that_cannot_be_imported_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="onnx"):
        load(params(), network("regnet1d"), EXAMPLE, "CPU", None)


class TestOnnxruntimeBackend(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return scalelab_backends()[0]

    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {"threads": 1}
