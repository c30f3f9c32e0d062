"""`ptbxl`: PTB-XL in its own layout, folds and sets of labels, as its benchmark has them.

21,837 twelve-lead records of ten seconds (21,799 since 1.0.3), several statements each. Records are read and
checked once; after that every process shares one cached memory map.

Sources: Wagner et al., "PTB-XL, a large publicly available electrocardiography dataset", Scientific Data 7,
2020 (https://physionet.org/content/ptb-xl/); Strodthoff, Wagner, Schaeffter & Samek, "Deep Learning for ECG
Analysis: Benchmarks and Insights from PTB-XL", IEEE J. Biomed. Health Inform. 25(5), 2021 (labels, folds).
"""

from __future__ import annotations

from functools import partial

import scalelab

from ..signal_augment import SignalAugmentation, centered
from .download import plan_download
from .params import VERSION, DownloadParams, InspectParams, PtbxlParams

__all__ = ["PtbxlParams", "open_ptbxl"]


def open_ptbxl(params: PtbxlParams) -> scalelab.OpenDataset:
    """Opens the dataset; the first time with these options, reads the folder and fills the cache.

    Inputs are float16 of shape (n, leads, 10 s of samples), targets uint8 of shape (n, labels).

    Raises:
        scalelab.DataError: A file is missing, damaged or not the database's, or a fold has no record.
    """
    from .prepare import load, training_folds

    prepared = load(params)
    length = round(params.crop * params.rate)
    task = scalelab.Task(
        input_shape=(params.leads, length),
        n_outputs=len(prepared.classes),
        loss="bce",
        metrics=("auroc", "auprc", "macro-f1", "ece"),
        objective="auroc",
        classes=prepared.classes,
    )
    return scalelab.OpenDataset(
        task=task,
        train=prepared.folds(*training_folds(params)),
        validation=prepared.folds(params.validation_fold),
        test=prepared.folds(params.test_fold),
        fingerprint=f"{prepared.key}-{params.validation_fold}-{params.test_fold}",
        prepare=partial(centered, length=length),
        augment=augmentation(params),
    )


def augmentation(params: PtbxlParams) -> SignalAugmentation:
    """Returns a random crop and then warp, scale, wander, noise and masks, each times `augment`."""
    times = params.augment
    return SignalAugmentation(
        length=round(params.crop * params.rate),
        rate=params.rate,
        warp=min(0.1 * times, 0.9),
        scale=0.2 * times,
        noise=0.05 * times,
        wander=0.2 * times,
        time_mask=min(0.2 * times, 0.9),
        lead_mask=min(0.2 * times, 0.9),
        warp_p=0.5,
        scale_p=0.5,
        noise_p=0.5,
        wander_p=0.5,
        time_mask_p=0.5,
        lead_mask_p=0.5,
        own_spread=params.normalise != "lead",
    )


def inspect(params: InspectParams, progress: scalelab.Progress) -> scalelab.Inspection:
    """Looks through a folder; see `scalelab_plugins.ptbxl.inspection.inspect_records`."""
    from .inspection import inspect_records

    return inspect_records(params, progress)


@scalelab.hookimpl
def scalelab_datasets() -> list[scalelab.Dataset]:
    """Provides `ptbxl`."""
    return [
        scalelab.Dataset(
            name="ptbxl",
            summary="PTB-XL with its published folds and 5 to 71 statements as labels (needs its files)",
            open=open_ptbxl,
            params=PtbxlParams,
            version=VERSION,
            download=scalelab.FileCommand(run=plan_download, params=DownloadParams),
            inspect=scalelab.FileCommand(run=inspect, params=InspectParams),
        )
    ]
