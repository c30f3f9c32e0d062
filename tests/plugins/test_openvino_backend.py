from __future__ import annotations

import contextlib
import importlib.util
import sys

import numpy as np
import pytest
from runtime_models import (
    CALIBRATION,
    EXAMPLE,
    MODELS,
    ComplexWeights,
    helps_where_the_first_fails,
    helps_where_the_first_is_wrong,
    names_the_operator,
    network,
    refuses_absent_devices,
    relative_error,
)
from scalelab_plugins import openvino_backend, runtimes
from scalelab_plugins.openvino_backend import OpenvinoParams, devices, load, scalelab_backends
from torch import nn

from scalelab import Backend, BackendError, Executable, InputError
from scalelab.measure.rates import throughput
from scalelab.measure.timing import latency
from scalelab.testing import BackendContract

# found, not imported: only the backend imports them such that they do not report their use
if not all(map(importlib.util.find_spec, ("openvino", "nncf"))):
    pytest.skip("needs openvino and nncf: pip install 'scalelab[openvino]'", allow_module_level=True)


def params(**options: object) -> OpenvinoParams:
    return OpenvinoParams(**{"threads": 1, **options})


def test_every_device_is_listed_and_what_is_missing_says_how_to_get_it() -> None:
    found = {device.name: device for device in devices()}
    assert found["CPU"].available
    assert found["AUTO"].available
    families = {name.partition(".")[0] for name in found}
    assert {"CPU", "GPU", "NPU", "AUTO"} <= families
    for device in found.values():
        assert device.available or "driver" in device.detail


def capabilities() -> list[str]:
    """What this processor computes in by hardware."""
    core = openvino_backend._import("openvino").Core()
    return core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture(scope="module", params=MODELS)
def loaded(request: pytest.FixtureRequest) -> dict[str, tuple[Executable, nn.Module]]:
    module = network(request.param)
    targets = {
        "CPU": ("CPU", params()),
        "AUTO": ("AUTO", params()),
        "int8": ("CPU", params(precision="int8", hint="throughput", threads=2)),
    }
    return {
        name: (load(options, module, EXAMPLE, device, CALIBRATION), module)
        for name, (device, options) in targets.items()
    }


@pytest.mark.parametrize(("name", "tolerance"), [("CPU", 1e-4), ("AUTO", 1e-4), ("int8", 0.3)])
def test_outputs_agree_with_pytorch(
    loaded: dict[str, tuple[Executable, nn.Module]], name: str, tolerance: float
) -> None:
    executable, module = loaded[name]
    assert relative_error(executable, module) <= tolerance
    assert module.training


def test_it_says_what_it_did(loaded: dict[str, tuple[Executable, nn.Module]]) -> None:
    exact, quick = (loaded[name][0] for name in ("CPU", "int8"))
    n_bytes = 4 * sum(p.numel() for p in loaded["CPU"][1].parameters())
    assert set(exact.seconds) == {"convert", "compile"}
    assert exact.threads == 1
    assert n_bytes * 0.8 < (exact.model_bytes or 0)
    assert exact.facts["inference_precision"] == "f32"
    assert exact.facts["exporter"] == quick.facts["exporter"] == "torchscript"
    assert exact.facts["execution_devices"] == loaded["AUTO"][0].facts["execution_devices"] == "CPU"
    assert loaded["AUTO"][0].threads == 1
    assert exact.facts["emulated"] is loaded["AUTO"][0].facts["emulated"] is False
    assert quick.facts["emulated"] is ("INT8" not in capabilities())
    assert set(quick.seconds) == {"convert", "quantize", "compile"}
    assert quick.facts["hint"] == "throughput"
    assert int(quick.facts["num_streams"]) >= 1
    for executable, _ in loaded.values():
        assert "openvino" in executable.facts


def test_inputs_are_read_anew_at_every_call_whatever_their_memory_is(
    loaded: dict[str, tuple[Executable, nn.Module]],
) -> None:
    infer = loaded["CPU"][0].infer
    expected, other = infer(EXAMPLE), infer(2 * EXAMPLE)
    assert not np.allclose(expected, other)
    inputs = EXAMPLE.copy()
    infer(inputs)
    inputs *= 2
    np.testing.assert_array_equal(infer(inputs), other)
    inputs.setflags(write=False)
    np.testing.assert_array_equal(infer(inputs), other)
    inputs.setflags(write=True)
    inputs /= 2
    np.testing.assert_array_equal(infer(inputs), expected)
    strided = np.repeat(EXAMPLE, 2, axis=-1)[..., ::2]
    np.testing.assert_array_equal(infer(strided), expected)
    strided *= 2
    np.testing.assert_array_equal(infer(strided), other)


def test_latency_is_by_the_runtimes_clock(loaded: dict[str, tuple[Executable, nn.Module]]) -> None:
    for name in ("CPU", "AUTO"):
        timed = latency(loaded[name][0], EXAMPLE, precision=0.5, time_limit=0.2, warmup_limit=0.2)
        assert 0 < timed.median < timed.call


def test_throughput_keeps_several_requests_on_their_way(
    loaded: dict[str, tuple[Executable, nn.Module]],
) -> None:
    found = throughput(loaded["int8"][0], EXAMPLE, seconds=0.3)
    assert found.several
    assert 0 < found.ci[0] <= found.examples_per_second <= found.ci[1]


@pytest.mark.parametrize("computed", ["f32", "bf16"])
def test_a_precision_that_the_device_lacks_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, computed: str
) -> None:
    """What a processor computes in instead of f16 is its own: f32, or bf16 where it has that."""
    facts = {"inference_precision": computed}
    monkeypatch.setattr(openvino_backend, "_facts", lambda compiled, device: dict(facts))
    refused = f"openvino has no f16 on CPU: the runtime computes in {computed} there; ask for {computed}"
    with pytest.raises(InputError, match=refused):
        load(params(precision="f16"), network("regnet1d"), EXAMPLE, "CPU", None)


@pytest.mark.parametrize("precision", ["bf16", "f16"])
@pytest.mark.parametrize("model", MODELS)
def test_half_precision_is_that_or_refused(model: str, precision: str) -> None:
    """A processor computes in it, emulates it, or computes in something else: that is its own affair."""
    module, in_hardware = network(model), openvino_backend.CAPABILITIES[precision] in capabilities()
    refused = contextlib.nullcontext() if in_hardware else contextlib.suppress(InputError)
    executable = None
    with refused:
        executable = load(params(precision=precision), module, EXAMPLE, "CPU", None)
    if executable:
        assert executable.facts["inference_precision"] == precision
        assert executable.facts["emulated"] is not in_hardware
        assert relative_error(executable, module) <= 0.05


def test_int8_needs_examples() -> None:
    with pytest.raises(InputError, match="openvino has no int8 on CPU: NNCF needs examples"):
        load(params(precision="int8"), network("regnet1d"), EXAMPLE, "CPU", None)


def test_an_operator_that_does_not_convert_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    names_the_operator(scalelab_backends()[0], params(), capfd)


def test_the_second_exporter_helps_where_the_first_fails_or_is_wrong() -> None:
    helps_where_the_first_fails(load, params())
    helps_where_the_first_is_wrong(load, params())


def test_the_second_exporter_gives_the_same_outputs() -> None:
    module = network("convnext1d")
    for options in (params(exporter="dynamo"), params(exporter="dynamo", precision="int8")):
        executable = load(options, module, EXAMPLE, "CPU", CALIBRATION)
        assert executable.facts["exporter"] == "dynamo"
        assert relative_error(executable, module) <= (0.3 if options.precision == "int8" else 1e-4)


def test_complex_weights_that_openvino_does_not_convert_are_a_clear_reason() -> None:
    with pytest.raises(
        BackendError, match=r"cannot convert the model on CPU in f32: by torchscript .*[cC]omplex"
    ):
        load(params(), ComplexWeights(), EXAMPLE, "CPU", None)


def test_devices_that_are_not_there_are_refused() -> None:
    refuses_absent_devices(scalelab_backends()[0])


def test_without_the_package_devices_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: None)
    found = devices()
    assert [device.name for device in found] == ["AUTO", "CPU", "GPU", "NPU"]
    for device in found:
        assert not device.available
        assert device.detail == "openvino is not installed: pip install 'scalelab[openvino]'"
    with pytest.raises(InputError, match=r"pip install 'scalelab\[openvino\]'"):
        load(params(), network("regnet1d"), EXAMPLE, "CPU", None)


def test_without_nncf_int8_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    monkeypatch.setattr(runtimes, "find_device", lambda *_: next(d for d in devices() if d.name == "CPU"))
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"nncf is not installed: pip install 'scalelab\[openvino\]'"):
        load(params(precision="int8"), network("regnet1d"), EXAMPLE, "CPU", CALIBRATION)


def test_nothing_is_reported_over_the_network() -> None:
    for package in ("openvino", "nncf"):
        openvino_backend._import(package)
    import nncf.telemetry.wrapper
    import openvino.tools.ovc.telemetry_utils as ovc

    assert "openvino_telemetry" not in sys.modules
    assert ovc.tm.__name__ == "openvino.tools.ovc.telemetry_stub"
    assert type(nncf.telemetry.wrapper.telemetry).__name__ == "MagicMock"


def test_calibration_fills_whole_batches() -> None:
    batches = runtimes.Loading("x", "CPU", "int8").calibration_batches(
        "it", np.arange(10, dtype=np.float64).reshape(5, 2), 2, 3
    )
    assert [batch[:, 0].tolist() for batch in batches] == [[0, 2], [4, 0]]
    assert batches[0].dtype == np.float32


class TestOpenvinoBackend(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return scalelab_backends()[0]

    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {"threads": 1}
