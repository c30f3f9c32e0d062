"""The options of `physionet2021` and of the commands for its files."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

import scalelab

from ..physionet_plan import WebAddress
from ..processes import default_jobs
from .leads import NLeads
from .sources import HIDDEN, URL, WHY_HIDDEN, SourceName

VERSION = 2
Spread = Literal["lead", "record", "none"]
"""Whose deviation a window is divided by."""
_P = "probability of it in training"


class Physionet2021Params(scalelab.Params):
    """Options of the `physionet2021` dataset."""

    path: scalelab.Location = Field(description="folder with the records' .hea and .mat files, at any depth")
    sources: tuple[str, ...] = Field((), description="only these sources, such as georgia")
    rate: int = Field(
        500, ge=100, le=1000, description="sampling rate in Hz; records at other rates are resampled"
    )
    low: float = Field(1.0, gt=0, le=20, description="lower edge of the band-pass in Hz")
    high: float = Field(47.0, ge=10, le=400, description="upper edge of the band-pass in Hz")
    window: float = Field(
        10.0, ge=1, le=60, description="length of a window in seconds; longer records give several"
    )
    stride: float = Field(10.0, ge=0.5, le=600, description="seconds from one window of a record to the next")
    windows: Literal["all", "first", "random"] = Field(
        "random",
        description="what of a record with several windows trains in an epoch: one at random, or all; first: "
        "the first one alone, in validation and test too, which otherwise average over all",
    )
    short: Literal["pad", "drop"] = Field(
        "pad", description="records shorter than a window: zeros on both sides, or not used"
    )
    unscored: Literal["keep", "drop"] = Field(
        "keep", description="records with codes of which none is scored: all labels negative, or not used"
    )
    fold: int = Field(
        0, ge=0, le=2, description="fold that validates; the two others train, the fourth tests"
    )
    groups: scalelab.Location | None = Field(
        None,
        description="CSV file with the columns record and group, or PTB-XL's ptbxl_database.csv: a group, "
        "such as a patient, is on one side of a split",
    )
    train_on: tuple[str, ...] = Field(
        (), description="with test_on: sources that train and validate; by default all the others"
    )
    test_on: tuple[str, ...] = Field((), description="sources whose records are the test, and nothing else")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the folds")
    normalise: Spread = Field(
        "lead",
        description="deviation that a window is divided by: of each lead, of the whole record's window, or "
        "none: mV",
    )
    leads: NLeads = Field(12, description="leads that a model sees: 12, or a set of the Challenge of fewer")
    length: int = Field(
        1024, ge=16, le=60_000, description="samples that a model sees: crop or pad of a window"
    )
    loss: Literal["asymmetric", "bce"] = Field("asymmetric", description="what training minimizes")
    gamma_negative: float = Field(4.0, ge=0, le=10, description="asymmetric loss: focusing of negatives")
    gamma_positive: float = Field(0.0, ge=0, le=10, description="asymmetric loss: focusing of positives")
    margin: float = Field(
        0.05, ge=0, lt=1, description="asymmetric loss: subtracted from the probability of negatives"
    )
    threshold: Literal["0.5", "global", "per-class"] = Field(
        "0.5",
        description="probability above which a class is predicted; the others are cross-fitted on validation",
    )
    augment: float = Field(
        1.0, ge=0, le=5, description="multiplies all strengths below; 0: the random crop only"
    )
    warp: float = Field(0.1, ge=0, le=0.5, description="time warp: greatest relative change of local speed")
    warp_p: float = Field(0.5, ge=0, le=1, description=_P)
    scale: float = Field(0.2, ge=0, le=2, description="amplitude scale: SD of the factor's logarithm")
    scale_p: float = Field(0.5, ge=0, le=1, description=_P)
    noise: float = Field(0.05, ge=0, le=2, description="Gaussian noise: SD, relative to a lead's SD")
    noise_p: float = Field(0.5, ge=0, le=1, description=_P)
    wander: float = Field(
        0.2, ge=0, le=2, description="baseline wander below 0.6 Hz: SD, relative to a lead's SD"
    )
    wander_p: float = Field(0.5, ge=0, le=1, description=_P)
    time_mask: float = Field(
        0.2, ge=0, le=0.9, description="time mask: greatest part of the samples set to 0"
    )
    time_mask_p: float = Field(0.5, ge=0, le=1, description=_P)
    lead_mask: float = Field(
        0.2, ge=0, le=0.9, description="lead mask: part of the leads set to 0, never all"
    )
    lead_mask_p: float = Field(0.5, ge=0, le=1, description=_P)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g} Hz) must be below high ({self.high:g} Hz)")
        if self.high >= self.rate / 2:
            raise ValueError(
                f"a rate of {self.rate} Hz holds frequencies below {self.rate / 2:g} Hz only; raise rate or "
                f"lower high ({self.high:g} Hz)"
            )
        if self.train_on and not self.test_on:
            raise ValueError("train_on needs test_on, the sources that test; sources takes some sources only")
        if both := sorted(set(self.train_on) & set(self.test_on)):
            raise ValueError(f"{', '.join(both)} cannot be both in train_on and in test_on")
        if self.sources and (other := sorted({*self.train_on, *self.test_on} - {*self.sources})):
            raise ValueError(f"{', '.join(other)} of train_on or test_on is not among sources")
        return self


class DownloadParams(scalelab.Params):
    """Options of `scalelab data download physionet2021`."""

    to: scalelab.Location = Field(description="folder to write to; running again resumes")
    sources: tuple[SourceName, ...] = Field((), description="only these databases; all eight by default")
    url: WebAddress = Field(URL, description="address of the database's folder, or of a mirror of it")
    jobs: int = Field(4, ge=1, le=16, description="connections at a time")

    @field_validator("sources", mode="before")
    @classmethod
    def _published(cls, sources: Any) -> Any:
        if isinstance(sources, list | tuple):
            for name in sources:
                if isinstance(name, str) and name.lower() in HIDDEN:
                    raise ValueError(f"{WHY_HIDDEN}; leave {name} out")
        return sources


class InspectParams(scalelab.Params):
    """Options of `scalelab data inspect physionet2021`."""

    folder: scalelab.Location = Field(
        description="folder with the records' .hea and .mat files, at any depth"
    )
    jobs: int = Field(default_factory=default_jobs, ge=1, le=64, description="processes")
