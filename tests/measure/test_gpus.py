"""The GPUs that workers share: counted without CUDA, named as the environment names them."""

from __future__ import annotations

import sys

import pytest
import torch

from scalelab.measure import gpus


@pytest.fixture
def four(monkeypatch):
    """A machine that seems to have four GPUs."""
    monkeypatch.setattr(gpus, "_SIGNS", ("/",))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.version, "hip", None)
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_each_gpu_is_the_only_one_in_its_environment(four):
    assert gpus.gpu_environments() == tuple({"CUDA_VISIBLE_DEVICES": str(at)} for at in range(4))


def test_what_was_inherited_is_heeded(four):
    four.setenv("CUDA_VISIBLE_DEVICES", "GPU-5ab0, MIG-1f,3,7,-1,2")
    names = [one["CUDA_VISIBLE_DEVICES"] for one in gpus.gpu_environments()]
    assert names == ["GPU-5ab0", "MIG-1f", "3", "7"], "torch says how many of them there are"


def test_rocm_has_a_variable_of_its_own_and_heeds_the_other(four):
    four.setattr(torch.version, "hip", "6.3")
    assert gpus.gpu_environments()[1] == {"HIP_VISIBLE_DEVICES": "1"}
    four.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    four.setattr(torch.cuda, "device_count", lambda: 2)
    assert gpus.gpu_environments() == ({"HIP_VISIBLE_DEVICES": "2"}, {"HIP_VISIBLE_DEVICES": "3"})


def test_without_a_gpu_torch_is_not_asked(four):
    four.setattr(gpus, "_SIGNS", ("/dev/there-is-no-such-device",))
    four.setitem(sys.modules, "torch", None)
    assert gpus.gpu_environments() == ()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_counting_starts_no_cuda():
    import subprocess

    code = "from scalelab.measure.gpus import gpu_environments as g; import torch; "
    code += "print(len(g()), torch.cuda.is_initialized())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == [str(torch.cuda.device_count()), "False"]
