"""The options of `synthetic-ecg` and of the command that writes its records."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

import scalelab

from ..processes import default_jobs
from .conditions import NAMES, ConditionName

VERSION = 1


class SyntheticEcgParams(scalelab.Params):
    """Options of the `synthetic-ecg` dataset."""

    n_train: int = Field(4000, ge=1, le=10_000_000, description="training records")
    n_validation: int = Field(1000, ge=1, le=10_000_000, description="validation records")
    n_test: int = Field(1000, ge=0, le=10_000_000, description="test records")
    leads: int = Field(12, ge=1, le=12, description="number of leads: 1 is II; 2: I, II; 3: I, II, V2; …")
    rate: int = Field(100, ge=50, le=1000, description="sampling rate in Hz")
    seconds: float = Field(10.0, ge=2, le=1800, description="length of a record")
    classes: tuple[ConditionName, ...] = Field(NAMES, description="the conditions, in order of their labels")
    noise: float = Field(1.0, ge=0, le=10, description="amplitude of the noise; 1: an ordinary recording")
    difficulty: float = Field(
        0.5, ge=0, le=1, description="0: textbook cases; 1: up to the thresholds of the classes"
    )
    label_noise: float = Field(0.02, ge=0, lt=0.5, description="fraction of the labels that are wrong")
    seed: int = Field(0, ge=0, lt=2**63, description="random seed")
    augment: float = Field(
        1.0, ge=0, le=5, description="strength of shift, scaling and noise in training; 0: none"
    )

    @model_validator(mode="after")
    def _two_different_classes(self) -> Self:
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise ValueError("classes needs two or more different conditions")
        return self


class SynthesizeParams(scalelab.Params):
    """Options of `scalelab data synthesize synthetic-ecg`."""

    to: scalelab.Location = Field(description="folder to write to; running again resumes")
    records: int = Field(ge=1, le=10_000_000, description="number of records")
    seed: int = Field(0, ge=0, lt=2**63, description="random seed")
    rate: int = Field(500, ge=50, le=1000, description="sampling rate in Hz")
    seconds: float = Field(10.0, ge=2, le=1800, description="length of a record")
    source: str = Field(
        "synthetic", pattern=r"^[a-z0-9][a-z0-9._-]{0,59}$", description="name of the source's folder"
    )
    classes: tuple[ConditionName, ...] = Field(NAMES, description="the conditions, drawn with equal chances")
    noise: float = Field(1.0, ge=0, le=10, description="amplitude of the noise; 1: an ordinary recording")
    difficulty: float = Field(0.5, ge=0, le=1, description="as in the dataset's options")
    label_noise: float = Field(0.02, ge=0, lt=0.5, description="fraction of the labels that are wrong")
    jobs: int = Field(default_factory=default_jobs, ge=1, le=64, description="processes")
    wfdb: bool = Field(False, description="write WFDB headers and MATLAB v4 files; the only format available")
