from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import psutil
import pytest

from scalelab.measure import environment
from scalelab.measure.environment import environment_facts


def test_the_facts_of_this_machine() -> None:
    facts = environment_facts()
    assert facts["memory_bytes"] == psutil.virtual_memory().total
    assert 1 <= int(facts["cores"]) <= (os.cpu_count() or 1)
    assert facts["version_numpy"] == np.__version__
    assert "version_torch" in facts
    assert json.loads(json.dumps(facts)) == facts
    assert environment_facts(["no-such-distribution"]).keys() & {"version_no-such-distribution"} == set()


def test_governor_turbo_and_driver_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scaling_governor").write_text("powersave\n")
    (tmp_path / "scaling_max_freq").write_text("3900000\n")
    (tmp_path / "no_turbo").write_text("1\n")
    (tmp_path / "nvidia").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
    )
    monkeypatch.setattr(environment, "CPUFREQ", tmp_path)
    monkeypatch.setattr(environment, "TURBO", {tmp_path / "no_turbo": "0"})
    monkeypatch.setattr(environment, "NVIDIA", tmp_path / "nvidia")
    facts = environment_facts()
    assert facts["governor"] == "powersave"
    assert facts["mhz"] == 3900
    assert facts["turbo"] is False
    assert facts["nvidia_driver"] == "550.54.15"


def test_what_the_system_does_not_tell_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CPUFREQ", "NVIDIA"):
        monkeypatch.setattr(environment, name, tmp_path / "absent")
    monkeypatch.setattr(environment, "TURBO", {})
    assert not environment_facts().keys() & {"governor", "mhz", "turbo", "nvidia_driver"}
