"""`physionet2021`: twelve-lead records of PhysioNet/CinC Challenge 2021, or of any folder in its layout.

Records are read with all their faults, filtered, resampled and cut into windows once; after that every
process shares one cached memory map. The task is the Challenge's: 26 classes, scored by its own metric.

Source: Reyna et al., "Will Two Do? Varying Dimensions in Electrocardiography: The PhysioNet/Computing in
Cardiology Challenge 2021", Computing in Cardiology 48, 2021 (https://physionet.org/content/challenge-2021/).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

import scalelab

from ..signal_augment import SignalAugmentation, centered
from .challenge import challenge_metric
from .commands import file_commands

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Physionet2021Params", "challenge_metric", "open_physionet2021", "record_index"]

VERSION = 1
_P = "probability of it in training"


class Physionet2021Params(scalelab.Params):
    """Options of the `physionet2021` dataset."""

    path: scalelab.Location = Field(description="folder with the records' .hea and .mat files, at any depth")
    sources: tuple[str, ...] = Field((), description="only these sources, such as georgia")
    rate: int = Field(
        500, ge=100, le=1000, description="sampling rate in Hz; records of others are resampled"
    )
    low: float = Field(1.0, gt=0, le=20, description="lower edge of the band-pass in Hz")
    high: float = Field(47.0, ge=10, le=400, description="upper edge of the band-pass in Hz")
    window: float = Field(10.0, ge=1, le=60, description="seconds of a window; longer records give several")
    stride: float = Field(10.0, ge=0.5, le=600, description="seconds from one window of a record to the next")
    short: Literal["pad", "drop"] = Field(
        "pad", description="records shorter than a window: zeros on both sides, or not used"
    )
    unscored: Literal["keep", "drop"] = Field(
        "keep", description="records with codes of which none is scored: 26 times no, or not used"
    )
    fold: int = Field(
        0, ge=0, le=2, description="fold that validates; the two others train, the fourth tests"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the folds")
    length: int = Field(
        1024, ge=16, le=60_000, description="samples that a model sees: crop or pad of a window"
    )
    loss: Literal["asymmetric", "bce"] = Field("asymmetric", description="what training minimizes")
    gamma_negative: float = Field(4.0, ge=0, le=10, description="asymmetric loss: focusing of negatives")
    gamma_positive: float = Field(0.0, ge=0, le=10, description="asymmetric loss: focusing of positives")
    margin: float = Field(
        0.05, ge=0, lt=1, description="asymmetric loss: probability that is taken off negatives"
    )
    threshold: Literal["0.5", "global", "per-class"] = Field(
        "0.5",
        description="above which probability a class is answered; others are cross-fitted on validation",
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
        return self


def open_physionet2021(params: Physionet2021Params) -> scalelab.OpenDataset:
    """Opens the dataset; the first time with these options, reads the folder and fills the cache.

    Inputs are float16 of shape (n, 12, window samples), each lead of mean 0 and deviation 1; targets uint8 of
    shape (n, 26).

    Raises:
        scalelab.DataError: The folder is missing, holds nothing that these options can use, or too little.
    """
    from .folds import TEST_FOLD
    from .prepare import load, training_folds
    from .task import make_task

    prepared = load(params)
    return scalelab.OpenDataset(
        task=make_task(params),
        train=training_folds(prepared, params.fold),
        validation=prepared.fold(params.fold),
        test=prepared.fold(TEST_FOLD),
        fingerprint=f"{prepared.key}-{params.fold}",
        prepare=partial(centered, length=params.length),
        augment=augmentation(params),
    )


def record_index(params: Physionet2021Params) -> pd.DataFrame:
    """Returns what each prepared window is, and why each record that is left out is left out.

    The columns are described in docs/physionet2021.md; `row` counts through the folds in order.

    Raises:
        scalelab.DataError: As for `open_physionet2021`.
    """
    from .index import read_index
    from .prepare import load

    return read_index(load(params).index)


def augmentation(params: Physionet2021Params) -> SignalAugmentation:
    """Returns the augmentation that the options describe, all strengths times `augment`."""
    return SignalAugmentation(
        length=params.length,
        rate=params.rate,
        warp=min(params.augment * params.warp, 0.9),
        warp_p=params.warp_p,
        scale=params.augment * params.scale,
        scale_p=params.scale_p,
        noise=params.augment * params.noise,
        noise_p=params.noise_p,
        wander=params.augment * params.wander,
        wander_p=params.wander_p,
        time_mask=min(params.augment * params.time_mask, 0.9),
        time_mask_p=params.time_mask_p,
        lead_mask=min(params.augment * params.lead_mask, 0.9),
        lead_mask_p=params.lead_mask_p,
    )


@scalelab.hookimpl
def scalelab_datasets() -> list[scalelab.Dataset]:
    """Provides `physionet2021`."""
    return [
        scalelab.Dataset(
            name="physionet2021",
            summary="Twelve-lead records of PhysioNet/CinC Challenge 2021 in 26 classes (needs its files)",
            open=open_physionet2021,
            params=Physionet2021Params,
            version=VERSION,
            **file_commands(),
        )
    ]
