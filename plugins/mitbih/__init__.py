"""`mitbih`: the annotated beats of the MIT-BIH Arrhythmia Database, in AAMI EC57 classes.

One example is a window around an R peak, one label the beat's class. The folder is read through wfdb once;
after that every process shares one cached memory map.

Sources: Moody & Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Eng. Med. Biol. Mag. 20(3), 2001;
ANSI/AAMI EC57 (classes); de Chazal, O'Dwyer & Reilly, IEEE Trans. Biomed. Eng. 51(7), 2004 (DS1/DS2).
"""

from __future__ import annotations

import scalelab

from .params import VERSION, InspectParams, MitbihParams


def open_mitbih(params: MitbihParams) -> scalelab.OpenDataset:
    """Opens the dataset; the first time with these options, reads the folder and fills the cache.

    Inputs are float16 of shape (n, channels, window samples), targets int64 class indices. Channels are the
    leads, of each of `beats` windows; with a `reference` the same minus it; with `rr` those of RR intervals.

    Raises:
        scalelab.DataError: The folder or a file of it is missing, damaged or of no use with these options.
    """
    from ..augment import light_augmentation
    from .context import N_RR
    from .metrics import metrics_of
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
        metrics=("accuracy", "balanced-accuracy", "macro-f1", "ece", *metrics_of(params.classes)),
        objective="loss",
        classes=classes,
    )
    constants = N_RR if params.rr else 0
    augment = light_augmentation(params.augment, round(0.02 * params.rate), constants)
    return scalelab.OpenDataset(
        task=task,
        train=train,
        validation=validation,
        test=test if len(test) else None,
        fingerprint=fingerprint,
        augment=augment if params.augment else None,
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
