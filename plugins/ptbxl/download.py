"""`scalelab data download ptbxl`: the tables, and the records at one rate or both."""

from __future__ import annotations

import scalelab

from ..http_transfer import Server
from ..physionet_files import SUMS, RemoteFile, listed_files
from ..physionet_plan import planned
from .database import DATABASE, STATEMENTS, folder_of
from .params import SECONDS, DownloadParams

_RATES = {100: ("records100",), 500: ("records500",), "both": ("records100", "records500")}
_BESIDE = {DATABASE, STATEMENTS, "LICENSE.txt"}


def plan_download(params: DownloadParams, progress: scalelab.Progress) -> scalelab.Download:
    """Finds out what is to be fetched; what is in the folder and whole is not.

    Raises:
        scalelab.DataError: The server has no list of checksums, or not the database, or the disk is too
            small.
    """
    server = Server(params.url)
    folders = _RATES[params.rate]
    files = listed_files(server)
    wanted = [file for file in files if file.path in _BESIDE or file.path.split("/")[0] in folders]
    present = {file.path.split("/")[0] for file in wanted}
    absent = [name for name in (DATABASE, STATEMENTS, *folders) if name not in present]
    if absent:
        raise scalelab.DataError(f"{params.url}: its {SUMS} lists no {', '.join(absent)}")
    return planned(
        server,
        wanted,
        folder_of(params.to),
        progress,
        title=f"PTB-XL ({' and '.join(folders)})",
        jobs=params.jobs,
        estimate=_estimate,
        computed_from="the number of records and their length",
        fewer="one rate",
    )


def _estimate(file: RemoteFile) -> int:
    """Samples of twelve leads take 24 bytes."""
    if file.path.endswith(".dat"):
        return 24 * SECONDS * (500 if file.path.startswith("records500") else 100)
    return 650 if file.path.endswith(".hea") else 6_000_000
