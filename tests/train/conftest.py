from __future__ import annotations

from pathlib import Path

import pytest
import torch
from train_toys import Problem, adamw, make_data

from scalelab.records import ComponentRef, Length, TrainingOptions, Trial


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def problem() -> Problem:
    trial = Trial(
        dataset=ComponentRef(name="tiny"),
        fingerprint="tiny",
        architecture=ComponentRef(name="tiny-net"),
        optimizer=ComponentRef(name="adamw"),
        n_examples=70,
        # fp32, as these tests' numbers are; `auto` would take bf16 on a processor that has it.
        training=TrainingOptions(length=Length(steps=40), batch_size=16, validations=5, precision="fp32"),
        seed=3,
    )
    return Problem(make_data(), trial, adamw)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "trial.pt"
