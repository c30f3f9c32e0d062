"""What `scalelab data` does for `physionet2021`; the work itself is imported when it is asked for."""

from __future__ import annotations

import scalelab

from .params import DownloadParams, InspectParams


def download(params: DownloadParams, progress: scalelab.Progress) -> scalelab.Download:
    """Finds out what is to be fetched; see `scalelab_plugins.physionet2021.download.plan_download`."""
    from .download import plan_download

    return plan_download(params, progress)


def inspect(params: InspectParams, progress: scalelab.Progress) -> scalelab.Inspection:
    """Looks through a folder; see `scalelab_plugins.physionet2021.inspection.inspect_records`."""
    from .inspection import inspect_records

    return inspect_records(params, progress)


def file_commands() -> dict[str, scalelab.FileCommand]:
    """Returns the fields `download` and `inspect` of the dataset."""
    return {
        "download": scalelab.FileCommand(run=download, params=DownloadParams),
        "inspect": scalelab.FileCommand(run=inspect, params=InspectParams),
    }
