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
from .commands import file_commands
from .params import VERSION, Physionet2021Params

if TYPE_CHECKING:
    import pandas as pd

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
