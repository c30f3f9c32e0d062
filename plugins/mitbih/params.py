"""The options of `mitbih` and of the commands for its files."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

import scalelab

VERSION = 1
"""Options that came later are left out of identities at their defaults, where no example changed."""


def _is_false(value: bool) -> bool:
    return not value


class MitbihParams(scalelab.Params):
    """Options of the `mitbih` dataset."""

    path: scalelab.Location = Field(description="folder with the database's .hea, .dat and .atr files")
    split: Literal["random", "inter-patient"] = Field(
        "random", description="random: stratified over all beats; inter-patient: DS1 to train, DS2 to test"
    )
    classes: Literal["aami5", "aami4", "symbols"] = Field(
        "aami5", description="N S V F Q; the same without Q; or the annotation symbols themselves"
    )
    leads: Literal["both", "MLII", "precordial"] = Field(
        "both", description="which channels, chosen by name; both: MLII first, then the precordial one"
    )
    before: float = Field(0.4, ge=0, le=10, description="seconds of signal before the R peak")
    after: float = Field(0.4, gt=0, le=10, description="seconds of signal after the R peak")
    rate: int = Field(
        360, ge=50, le=2000, description="sampling rate in Hz; resampled where the record's differs"
    )
    normalise: Literal["beat", "record", "none"] = Field(
        "beat", description="beat: z-score of each window and lead; record: median and IQR; none: mV"
    )
    paced: bool = Field(False, description="also use the paced records 102, 104, 107 and 217 (split random)")
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="fraction of the beats (split random)")
    test_fraction: float = Field(0.1, ge=0, lt=1, description="fraction of the beats (split random)")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the random split")
    fold: Literal["none", 0, 1, 2, 3] = Field(
        "none",
        description="patients of DS1 that validate: 114, 124, 205, 223, or those of a fold (inter-patient)",
        exclude_if=lambda fold: fold == "none",
    )
    test: bool = Field(
        True, description="false: DS2 is not read, nothing is tested (inter-patient)", exclude_if=bool
    )
    beats: Literal[1, 3, 5, 7] = Field(
        1,
        description="windows of an example: the beat's and those of its neighbors, each at its own R peak",
        exclude_if=lambda beats: beats == 1,
    )
    reference: Literal["none", "median-beat"] = Field(
        "none",
        description="median-beat: also every window minus the median window of its record",
        exclude_if=lambda reference: reference == "none",
    )
    rr: bool = Field(
        False, description="also the RR intervals around the beat, as constant channels", exclude_if=_is_false
    )
    augment: float = Field(
        1.0, ge=0, le=5, description="strength of shift, scaling and noise in training; 0: none"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave nothing to train on; lower them")
        if self.paced and self.split == "inter-patient":
            raise ValueError("the paced records belong to neither DS1 nor DS2; use paced = false")
        if self.split == "random" and self.fold != "none":
            raise ValueError("fold is one of DS1; use split = 'inter-patient', or leave fold out")
        if self.split == "random" and not self.test:
            raise ValueError("test = false leaves DS2 out; with split = 'random' use test_fraction = 0")
        if round(self.before * self.rate) + round(self.after * self.rate) < 8:
            raise ValueError("the window has fewer than 8 samples; raise before, after or rate")
        return self


class InspectParams(scalelab.Params):
    """Options of `scalelab data inspect mitbih`."""

    folder: scalelab.Location = Field(description="folder with the database's .hea, .dat and .atr files")
