"""`mitbih`: the annotated beats of the MIT-BIH Arrhythmia Database, in AAMI EC57 classes.

One example is a window around an R peak, one label the beat's class. The folder is read through wfdb once;
after that every process shares one cached memory map.

Sources: Moody & Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Eng. Med. Biol. Mag. 20(3), 2001;
ANSI/AAMI EC57 (classes); de Chazal, O'Dwyer & Reilly, IEEE Trans. Biomed. Eng. 51(7), 2004 (DS1/DS2).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

import scalelab

VERSION = 1


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
        360, ge=50, le=2000, description="sampling rate in Hz; resampled where not the record's"
    )
    normalise: Literal["beat", "record", "none"] = Field(
        "beat", description="beat: z-score of each window and lead; record: median and IQR; none: mV"
    )
    paced: bool = Field(False, description="also use the paced records 102, 104, 107 and 217 (split random)")
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="part of the beats (split random)")
    test_fraction: float = Field(0.1, ge=0, lt=1, description="part of the beats (split random)")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the random split")
    augment: float = Field(
        1.0, ge=0, le=5, description="strength of shift, scaling and noise in training; 0: none"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave nothing to train on; lower them")
        if self.paced and self.split == "inter-patient":
            raise ValueError("the paced records belong to neither DS1 nor DS2; use paced = false")
        if round(self.before * self.rate) + round(self.after * self.rate) < 8:
            raise ValueError("the window has fewer than 8 samples; raise before, after or rate")
        return self


def open_mitbih(params: MitbihParams) -> scalelab.OpenDataset:
    """Opens the dataset; the first time with these options, reads the folder and fills the cache.

    Inputs are float16 of shape (n, leads, window samples), targets int64 class indices.

    Raises:
        scalelab.DataError: The folder or a file of it is missing, damaged or of no use with these options.
    """
    from ..augment import light_augmentation
    from .prepare import load

    arrays, fingerprint = load(params)
    train, validation, test = (
        scalelab.Split(arrays[f"{split}_inputs"], arrays[f"{split}_targets"])
        for split in ("train", "validation", "test")
    )
    classes = tuple(str(name) for name in arrays["classes"])
    task = scalelab.Task(
        input_shape=train.inputs.shape[1:],
        n_outputs=len(classes),
        loss="cross-entropy",
        metrics=("accuracy", "balanced-accuracy", "macro-f1"),
        objective="loss",
        classes=classes,
    )
    return scalelab.OpenDataset(
        task=task,
        train=train,
        validation=validation,
        test=test if len(test) else None,
        fingerprint=fingerprint,
        augment=light_augmentation(params.augment, round(0.02 * params.rate)) if params.augment else None,
    )


def census(params: MitbihParams) -> dict[str, dict[str, int]]:
    """Counts the beats of each class in `train`, `validation` and `test`, and those `dropped`.

    Dropped beats are those whose window does not fit between the ends of their record.
    """
    from .prepare import load

    arrays, _ = load(params)
    classes = [str(name) for name in arrays["classes"]]
    counts = {
        split: (arrays[f"{split}_targets"][:, None] == range(len(classes))).sum(axis=0)
        for split in ("train", "validation", "test")
    }
    counts["dropped"] = arrays["dropped"]
    return {name: dict(zip(classes, map(int, row), strict=True)) for name, row in counts.items()}


class InspectParams(scalelab.Params):
    """Options of `scalelab data inspect mitbih`."""

    folder: scalelab.Location = Field(description="folder with the database's .hea, .dat and .atr files")


def inspect(params: InspectParams, progress: scalelab.Progress) -> scalelab.Inspection:
    """Looks through a folder; see `scalelab_plugins.mitbih.inspection.inspect_records`."""
    from .inspection import inspect_records

    return inspect_records(params, progress)


@scalelab.hookimpl
def scalelab_datasets() -> list[scalelab.Dataset]:
    """Provides `mitbih`."""
    return [
        scalelab.Dataset(
            name="mitbih",
            summary="Beats of the MIT-BIH Arrhythmia Database in AAMI classes (needs its files)",
            open=open_mitbih,
            params=MitbihParams,
            version=VERSION,
            inspect=scalelab.FileCommand(run=inspect, params=InspectParams),
        )
    ]
