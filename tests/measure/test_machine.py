from __future__ import annotations

import os
import sys

import torch

from scalelab.measure.machine import machine_facts


def test_the_facts_of_this_machine() -> None:
    facts = machine_facts("cpu", threads=3)
    assert facts.pid == os.getpid()
    assert facts.threads == 3
    assert facts.device == "cpu"
    assert facts.device_name == facts.cpu != ""
    assert 1 <= facts.cores <= (os.cpu_count() or 1)
    assert facts.python == sys.version.split()[0]
    assert torch.__version__.startswith(facts.torch)  # a build may add a suffix of its own


def test_threads_default_to_those_of_torch() -> None:
    assert machine_facts("cpu").threads == torch.get_num_threads()


def test_the_device_is_told_without_its_number(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device}")
    facts = machine_facts("cuda:1", threads=1)
    assert (facts.device, facts.device_name) == ("cuda", "GPU cuda:1")
