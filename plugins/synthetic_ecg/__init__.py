"""`synthetic-ecg`: labeled multi-lead ECG from a seeded generator. No patient is behind any of it.

RR dynamics, P-QRS-T as Gaussians of a dipole, twelve exclusive conditions, noise. Each record is a subject of
its own, and depends on the seed and its number alone.
"""

from __future__ import annotations

import hashlib
import json

import scalelab

from .conditions import SplitName
from .params import VERSION, SynthesizeParams, SyntheticEcgParams


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
        metrics=("accuracy", "macro-f1", "ece"),
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
