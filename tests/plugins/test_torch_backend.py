from __future__ import annotations

import numpy as np
import pytest
import torch
from runtime_models import EXAMPLE, MODELS, ComplexWeights, network, relative_error
from scalelab_plugins import torch_backend
from scalelab_plugins.torch_backend import TorchParams, devices, load, scalelab_backends
from torch import nn

from scalelab import Backend, BackendError, InputError
from scalelab.measure.timing import latency
from scalelab.testing import BackendContract


def test_the_cpu_is_there_and_what_is_missing_says_why() -> None:
    found = {device.name: device for device in devices()}
    assert found["cpu"].available
    assert {"cuda:0", "mps"} <= set(found)
    for device in found.values():
        assert device.detail


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("f32", 1e-6), ("bf16", 0.05), ("f16", 0.01), ("int8", 0.05)]
)
def test_it_computes_what_the_module_computes(name: str, precision: str, tolerance: float) -> None:
    module = network(name)
    executable = load(TorchParams(precision=precision), module, EXAMPLE, "cpu", None)
    assert relative_error(executable, module) <= tolerance
    assert next(module.parameters()).dtype == torch.float32
    exact = load(TorchParams(), module, EXAMPLE, "cpu", None).model_bytes or 0
    n_bytes = 4 * sum(p.numel() for p in module.parameters())
    assert n_bytes < exact < 1.1 * n_bytes + 60_000
    if precision in ("bf16", "f16"):
        assert (executable.model_bytes or 0) < exact


def test_complex_weights_stay_complex_and_integers_integers() -> None:
    module = ComplexWeights()
    assert relative_error(load(TorchParams(), module, EXAMPLE, "cpu", None), module) <= 1e-6
    assert relative_error(load(TorchParams(precision="int8"), module, EXAMPLE, "cpu", None), module) <= 0.05
    types = {
        name: value.dtype for name, value in torch_backend.cast(module, torch.float16).state_dict().items()
    }
    assert types["weights"] == torch.complex64
    assert types["steps"] == torch.int64
    assert types["head.weight"] == torch.float16


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_complex_weights_are_refused_in_half_precision(precision: str) -> None:
    with pytest.raises(InputError, match=f"torch has no {precision} on cpu: the model has complex weights"):
        load(TorchParams(precision=precision), ComplexWeights(), EXAMPLE, "cpu", None)


def test_int8_of_complex_layers_is_refused_in_words() -> None:
    layer = nn.Linear(96, 3, dtype=torch.complex64)
    with pytest.raises(InputError, match="PyTorch quantizes no linear layer of complex weights; use f32"):
        load(TorchParams(precision="int8"), nn.Sequential(nn.Identity(), layer), EXAMPLE, "cpu", None)


def test_int8_tells_how_much_of_the_model_it_is() -> None:
    executable = load(TorchParams(precision="int8"), network("convnext1d"), EXAMPLE, "cpu", None)
    assert 0.5 < float(executable.facts["int8_weights"]) < 1
    assert set(executable.seconds) == {"load", "quantize"}


def test_int8_is_refused_in_words_where_torch_has_none() -> None:
    with pytest.raises(InputError, match=r"torch has no int8 on cpu: .* the model has none; use f32"):
        load(TorchParams(precision="int8"), nn.Conv1d(2, 3, 3), EXAMPLE, "cpu", None)


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"cuda:0.*usable: cpu"):
        load(TorchParams(), network("regnet1d"), EXAMPLE, "cuda:0", None)
    with pytest.raises(InputError, match="there is no such device"):
        load(TorchParams(), network("regnet1d"), EXAMPLE, "tpu", None)


def test_a_model_that_does_not_run_is_one_clear_line() -> None:
    with pytest.raises(
        BackendError, match=r"torch cannot run the model on cpu in f32: RuntimeError"
    ) as caught:
        load(TorchParams(), nn.Linear(3, 3), EXAMPLE, "cpu", None)
    assert "\n" not in str(caught.value)


def test_a_model_that_does_not_fit_says_so() -> None:
    class Greedy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.new_empty(1 << 60).sum()

    with pytest.raises(BackendError, match="it does not fit into memory"):
        load(TorchParams(), Greedy(), EXAMPLE, "cpu", None)


def test_a_device_that_fails_in_the_middle_is_one_clear_line() -> None:
    class Tired(nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls > 2:
                raise RuntimeError("the device\nwas lost")
            return x.mean(2)

    executable = load(TorchParams(), Tired(), EXAMPLE, "cpu", None)
    executable.infer(EXAMPLE)
    with pytest.raises(
        BackendError, match="cannot run the model on cpu in f32: RuntimeError: the device was lost"
    ):
        executable.infer(EXAMPLE)
    with pytest.raises(InputError, match=r"inputs of shape \(3, 2, 96\), not \(1, 2, 96\)"):
        executable.infer(EXAMPLE[:1])


def test_compile_is_asked_for_and_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    executable = load(TorchParams(compile=True), network("regnet1d"), EXAMPLE, "cpu", None)
    assert len(compiled) == 1
    assert set(executable.seconds) == {"load", "compile"}
    assert executable.facts["compiled"] is True


def test_threads_are_pinned_for_the_calls_alone() -> None:
    class Counting(nn.Module):
        threads = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            Counting.threads = torch.get_num_threads()
            return x.mean(2)

    before = torch.get_num_threads()
    executable = load(TorchParams(threads=3), Counting(), EXAMPLE, "cpu", None)
    executable.infer(EXAMPLE)
    assert Counting.threads == executable.threads == 3
    assert torch.get_num_threads() == before


def test_tf32_is_off_in_f32_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch_backend.exact_f32("cuda:0", torch.float32):
        assert not torch.backends.cudnn.allow_tf32
    for device, kind in (("cuda:0", torch.bfloat16), ("cpu", torch.float32)):
        before = torch.backends.cudnn.allow_tf32
        with torch_backend.exact_f32(device, kind):
            assert torch.backends.cudnn.allow_tf32 == before


def test_it_can_be_timed() -> None:
    (backend,) = scalelab_backends()
    executable = backend.load(backend.params(), network("regnet1d"), EXAMPLE, "cpu", None)
    timed = latency(executable, EXAMPLE, precision=0.5, time_limit=0.5, warmup_limit=0.2)
    assert timed.n >= 6
    assert 0 < timed.ci[0] <= timed.median <= timed.p90 <= timed.p99


class TestTorchBackend(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return scalelab_backends()[0]


class TestTorchBackendInInt8(BackendContract):
    tolerance = 0.05

    @pytest.fixture
    def backend(self) -> Backend:
        return scalelab_backends()[0]

    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {"precision": "int8", "threads": 1}

    @pytest.fixture
    def module(self) -> nn.Module:
        return network("convnext1d")

    @pytest.fixture
    def example(self) -> np.ndarray:
        return EXAMPLE
