from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from scalelab.errors import InputError
from scalelab.train.device import (
    PeakMemory,
    cpu_has_bf16,
    resolve_device,
    resolve_precision,
    seed_everything,
)
from scalelab.train.groups import parameter_groups

CPU = torch.device("cpu")


def test_auto_takes_the_best_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, mps, expected in ((True, True, "cuda:0"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert str(resolve_device("auto")) == expected


def test_explicit_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert str(resolve_device("cuda:1")) == "cuda:1"
    assert str(resolve_device("cuda")) == "cuda:0"
    with pytest.raises(InputError, match="cuda:0 to cuda:1"):
        resolve_device("cuda:2")


@pytest.mark.parametrize(
    ("name", "message"),
    [("cuda", "use 'auto' or 'cpu'"), ("mps", "Apple"), ("gpu", "known are"), ("cuda:x", "unknown device")],
)
def test_devices_that_are_not_there(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=message):
        resolve_device(name)


@pytest.mark.parametrize(
    ("flags", "fast"),
    [("fpu avx512f avx512_bf16", True), ("amx_bf16 amx_tile", True), ("avx2 avx512f avx512bw", False)],
)
def test_bf16_of_a_cpu_is_read_from_its_flags(tmp_path: Path, flags: str, fast: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: {flags}\n")
    assert cpu_has_bf16(cpuinfo) is fast


def test_auto_precision_is_bf16_where_the_gpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_precision("fp32", CPU) == "fp32"
    assert resolve_precision("bf16", CPU) == "bf16"
    for fast, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, fast=fast: fast)
        assert resolve_precision("auto", torch.device("cuda:0")) == expected
    assert resolve_precision("auto", torch.device("mps")) == "fp32"
    monkeypatch.setattr("scalelab.train.device.cpu_has_bf16", lambda: True)
    assert resolve_precision("auto", CPU) == "fp32"
    assert resolve_precision("auto", CPU, "bf16") == "bf16"


def test_seeding_covers_all_generators() -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), torch.rand(1).item()  # noqa: NPY002

    seed_everything(2**63 - 1)
    first = draws()
    seed_everything(2**63 - 1)
    assert draws() == first


def test_peak_memory_sees_what_was_freed() -> None:
    memory = PeakMemory(CPU)
    np.ones(12_500_000).sum()  # 100 MB
    peak = memory.bytes()
    assert peak is None or peak > 100e6


def test_parameter_groups() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(2, 4, 3)
            self.norm = nn.BatchNorm1d(4)
            self.scale = nn.Parameter(torch.ones(4))
            self.position = nn.Parameter(torch.ones(1, 4))
            self.position.no_weight_decay = True
            self.head = nn.Linear(4, 2)
            self.frozen = nn.Linear(4, 4).requires_grad_(False)

    net = Net()
    decayed, kept = parameter_groups(net, 0.1)
    assert {id(p) for p in decayed["params"]} == {id(net.conv.weight), id(net.head.weight)}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    expected = (net.conv.bias, net.norm.weight, net.norm.bias, net.scale, net.position, net.head.bias)
    assert {id(p) for p in kept["params"]} == {id(p) for p in expected}
    assert len(parameter_groups(nn.Linear(2, 2, bias=False), 0.1)) == 1
