from __future__ import annotations

import numpy as np
import pytest
import torch
from scalelab_plugins.torch_backend import TorchParams, devices, load, scalelab_backends
from torch import nn

from scalelab import Backend, InputError
from scalelab.measure import latency
from scalelab.testing import BackendContract


def make_module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(24, 3)
    )


EXAMPLE = np.random.default_rng(0).standard_normal((5, 2, 8)).astype(np.float32)


def test_the_cpu_is_there_and_what_is_missing_says_why() -> None:
    found = {device.name: device for device in devices()}
    assert found["cpu"].available
    assert found["cpu"].detail
    assert {"cuda:0", "mps"} <= set(found)
    for device in found.values():
        assert device.detail


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("bf16", 0.05), ("fp16", 0.01)])
def test_it_computes_what_the_module_computes(precision: str, tolerance: float) -> None:
    module = make_module()
    infer = load(TorchParams(precision=precision), module, EXAMPLE, "cpu")
    outputs = infer(EXAMPLE)
    assert module.training  # the caller's module is untouched
    assert module[0].weight.dtype == torch.float32
    expected = module.eval()(torch.from_numpy(EXAMPLE)).detach().numpy()
    assert outputs.dtype == np.float32
    assert np.abs(outputs - expected).max() <= tolerance


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"cuda:0.*usable: cpu"):
        load(TorchParams(), make_module(), EXAMPLE, "cuda:0")
    with pytest.raises(InputError, match="there is no such device"):
        load(TorchParams(), make_module(), EXAMPLE, "tpu")


def test_a_model_that_does_not_run_is_one_clear_line() -> None:
    with pytest.raises(InputError, match=r"cannot run the model on cpu in fp32") as caught:
        load(TorchParams(), nn.Linear(3, 3), EXAMPLE, "cpu")
    assert "\n" not in str(caught.value)


def test_compile_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    load(TorchParams(compile=True), make_module(), EXAMPLE, "cpu")(EXAMPLE)
    assert len(compiled) == 1


def test_threads_are_set() -> None:
    before = torch.get_num_threads()
    try:
        load(TorchParams(threads=1), make_module(), EXAMPLE, "cpu")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_it_can_be_timed() -> None:
    (backend,) = scalelab_backends()
    infer = backend.load(backend.params(), make_module(), EXAMPLE, "cpu")
    timed = latency(infer, EXAMPLE, precision=0.5, time_limit=0.5, warmup_limit=0.2)
    assert timed.n >= 6
    assert 0 < timed.ci[0] <= timed.median <= timed.p90 <= timed.p99


class TestTorchBackend(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return scalelab_backends()[0]
