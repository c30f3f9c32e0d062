"""`physionet2021`: twelve-lead records of PhysioNet/CinC Challenge 2021, or of any folder in its layout.

Records are read with all their faults, filtered, resampled and cut into windows once; after that every
process shares one cached memory map. The task is the Challenge's: 26 classes, scored by its own metric.

Source: Reyna et al., "Will Two Do? Varying Dimensions in Electrocardiography: The PhysioNet/Computing in
Cardiology Challenge 2021", Computing in Cardiology 48, 2021 (https://physionet.org/content/challenge-2021/).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import scalelab

from ..signal_augment import SignalAugmentation, centered
from .challenge import challenge_metric
from .download import plan_download
from .params import VERSION, DownloadParams, InspectParams, Physionet2021Params

if TYPE_CHECKING:
    import pandas as pd

_STRENGTHS = ("warp", "scale", "noise", "wander", "time_mask", "lead_mask")

__all__ = ["Physionet2021Params", "challenge_metric", "open_physionet2021", "record_index"]


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
    strengths = {name: params.augment * getattr(params, name) for name in _STRENGTHS}
    capped = {name: min(strengths[name], 0.9) for name in ("warp", "time_mask", "lead_mask")}
    chances = {f"{name}_p": getattr(params, f"{name}_p") for name in _STRENGTHS}
    return SignalAugmentation(length=params.length, rate=params.rate, **(strengths | capped | chances))


def inspect(params: InspectParams, progress: scalelab.Progress) -> scalelab.Inspection:
    """Looks through a folder; see `scalelab_plugins.physionet2021.inspection.inspect_records`."""
    from .inspection import inspect_records

    return inspect_records(params, progress)


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
            download=scalelab.FileCommand(run=plan_download, params=DownloadParams),
            inspect=scalelab.FileCommand(run=inspect, params=InspectParams),
        )
    ]
