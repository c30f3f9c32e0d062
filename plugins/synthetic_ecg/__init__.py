"""`synthetic-ecg`: labeled multi-lead ECG from a seeded generator. No patient is behind any of it.

RR dynamics, P-QRS-T as Gaussians of a dipole, twelve exclusive conditions, noise. Each record is a subject of
its own, and depends on the seed and its number alone.
"""

from __future__ import annotations

import hashlib
import json
from typing import Self

from pydantic import Field, model_validator

import scalelab

from ..processes import default_jobs
from .conditions import NAMES, ConditionName, SplitName

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
    label_noise: float = Field(0.02, ge=0, lt=0.5, description="part of the labels that are wrong")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of everything")
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

    to: scalelab.Location = Field(description="folder to write to; running again goes on where it ended")
    records: int = Field(ge=1, le=10_000_000, description="number of records")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of everything")
    rate: int = Field(500, ge=50, le=1000, description="sampling rate in Hz")
    seconds: float = Field(10.0, ge=2, le=1800, description="length of a record")
    source: str = Field(
        "synthetic", pattern=r"^[a-z0-9][a-z0-9._-]{0,59}$", description="name of the source's folder"
    )
    classes: tuple[ConditionName, ...] = Field(NAMES, description="the conditions, drawn with equal chances")
    noise: float = Field(1.0, ge=0, le=10, description="amplitude of the noise; 1: an ordinary recording")
    difficulty: float = Field(0.5, ge=0, le=1, description="as in the dataset's options")
    label_noise: float = Field(0.02, ge=0, lt=0.5, description="part of the labels that are wrong")
    jobs: int = Field(default_factory=default_jobs, ge=1, le=64, description="processes")
    wfdb: bool = Field(False, description="write WFDB headers and MATLAB v4 files; the only form there is")


def open_synthetic_ecg(params: SyntheticEcgParams) -> scalelab.OpenDataset:
    """Opens the dataset; the first time with these options, generates it into the cache.

    Inputs are float16 of shape (n, leads, samples) in mV, targets int64 class indices.

    Raises:
        scalelab.DataError: The cache cannot be written.
    """
    from ..augment import light_augmentation

    train = _split(params, "train", params.n_train)
    task = scalelab.Task(
        input_shape=train.inputs.shape[1:],
        n_outputs=len(params.classes),
        loss="cross-entropy",
        metrics=("accuracy", "macro-f1"),
        objective="loss",
        classes=params.classes,
    )
    return scalelab.OpenDataset(
        task=task,
        train=train,
        validation=_split(params, "validation", params.n_validation),
        test=_split(params, "test", params.n_test) if params.n_test else None,
        fingerprint=_digest(params, {"augment"}),
        augment=light_augmentation(params.augment, round(0.05 * params.rate)) if params.augment else None,
    )


def _split(params: SyntheticEcgParams, split: SplitName, n: int) -> scalelab.Split:
    """Takes the split from the cache; how many records the other splits have does not matter to it."""
    from .generate import blocks, labels

    key = _digest(params, {"augment", "n_train", "n_validation", "n_test"})
    arrays = scalelab.cached_arrays(
        f"synthetic-ecg-{key[:32]}-{split}-{n}",
        lambda: {"inputs": blocks(params, split, n), "targets": labels(params, split, n)},
    )
    return scalelab.Split(arrays["inputs"], arrays["targets"])


def _digest(params: SyntheticEcgParams, without: set[str]) -> str:
    content = {"synthetic-ecg": VERSION, "options": params.model_dump(mode="json", exclude=without)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def synthesize(params: SynthesizeParams, progress: scalelab.Progress) -> str:
    """Writes records as files; see `scalelab_plugins.synthetic_ecg.wfdb.write_records`."""
    from .wfdb import write_records

    return write_records(params, progress)


@scalelab.hookimpl
def scalelab_datasets() -> list[scalelab.Dataset]:
    """Provides `synthetic-ecg`."""
    return [
        scalelab.Dataset(
            name="synthetic-ecg",
            summary="Synthetic multi-lead ECG of twelve conditions from a seeded generator",
            open=open_synthetic_ecg,
            params=SyntheticEcgParams,
            version=VERSION,
            synthesize=scalelab.FileCommand(run=synthesize, params=SynthesizeParams),
        )
    ]
