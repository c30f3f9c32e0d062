from __future__ import annotations

import os
import subprocess
import sys

import pytest
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


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_cores_that_a_process_may_not_use_do_not_count() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
    code += "from scalelab.measure.machine import usable_cores; print(usable_cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
