"""`physionet2021`: twelve-lead records of PhysioNet/CinC Challenge 2021, or of any folder in its layout.

Records are read with all their faults, filtered, resampled and cut into windows once; after that every
process shares one cached memory map. The task is the Challenge's: 26 classes, scored by its own metric.

Source: Reyna et al., "Will Two Do? Varying Dimensions in Electrocardiography: The PhysioNet/Computing in
Cardiology Challenge 2021", Computing in Cardiology 48, 2021 (https://physionet.org/content/challenge-2021/).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import scalelab

from ..signal_augment import SignalAugmentation, centered
from .challenge import challenge_metric
from .download import plan_download
from .leads import places_of
from .params import VERSION, DownloadParams, InspectParams, Physionet2021Params

if TYPE_CHECKING:
    import pandas as pd
    import torch

_STRENGTHS = ("warp", "scale", "noise", "wander", "time_mask", "lead_mask")

__all__ = ["Physionet2021Params", "challenge_metric", "open_physionet2021", "record_index"]


def open_physionet2021(params: Physionet2021Params) -> scalelab.OpenDataset:
    """Opens the dataset; the first time with these options, reads the folder and fills the cache.

    An example is a record. Inputs are float16 windows of shape (12, samples), each lead of mean 0, and by
    default of deviation 1; targets uint8 of shape (records, 26).

    Raises:
        scalelab.DataError: The folder is missing, holds nothing that these options can use, or too little.
    """
    from .prepare import load
    from .sides import sides_of
    from .task import make_task

    prepared = load(params)
    sides = sides_of(prepared, params)
    others = [f"{name} {','.join(sorted(getattr(params, name)))}" for name in ("train_on", "test_on")]
    return scalelab.OpenDataset(
        task=make_task(params),
        train=sides.train,
        validation=sides.validation,
        test=sides.test,
        fingerprint=" ".join([f"{prepared.key}-{params.fold}", *(others if params.test_on else ())]),
        prepare=prepared_input(params),
        augment=augmentation(params),
        train_windows="all" if params.windows == "all" else "random",
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


def prepared_input(params: Physionet2021Params) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns what makes model input of a batch of windows: the leads that are asked for, cropped."""
    crop = partial(centered, length=params.length)
    return crop if params.leads == 12 else OfLeads(places_of(params.leads), crop)


def augmentation(params: Physionet2021Params) -> Callable[[torch.Tensor, torch.Generator], torch.Tensor]:
    """Returns the augmentation that the options describe, all strengths times `augment`."""
    strengths = {name: params.augment * getattr(params, name) for name in _STRENGTHS}
    capped = {name: min(strengths[name], 0.9) for name in ("warp", "time_mask", "lead_mask")}
    chances = {f"{name}_p": getattr(params, f"{name}_p") for name in _STRENGTHS}
    augment = SignalAugmentation(
        length=params.length,
        rate=params.rate,
        own_spread=params.normalise != "lead",
        **(strengths | capped | chances),
    )
    return augment if params.leads == 12 else OfLeads(places_of(params.leads), augment)


@dataclass(frozen=True)
class OfLeads:
    """Does something with some of the leads of a batch (batch, leads, samples).

    Attributes:
        places: Which leads.
        then: What is done with them, and with the generator of an augmentation.
    """

    places: Sequence[int]
    then: Callable[..., torch.Tensor]

    def __call__(self, batch: torch.Tensor, *generator: torch.Generator) -> torch.Tensor:
        """Returns a new batch (batch, number of leads, length)."""
        return self.then(batch[:, self.places], *generator)


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
