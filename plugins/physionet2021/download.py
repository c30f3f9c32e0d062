"""`scalelab data download physionet2021`: which files, how much, from where."""

from __future__ import annotations

import scalelab

from ..http_transfer import Server
from ..physionet_files import SUMS, RemoteFile, listed_files
from ..physionet_plan import planned
from .params import DownloadParams
from .sources import SOURCES


def plan_download(params: DownloadParams, progress: scalelab.Progress) -> scalelab.Download:
    """Finds out what is to be fetched; what is in the folder and whole is not.

    Raises:
        scalelab.DataError: The server has no list of checksums or none of the sources, or the disk is too
            small.
    """
    folder = params.to.expanduser().resolve()
    server = Server(params.url)
    files = listed_files(server)
    wanted, absent = _wanted(files, params)
    notes = [f"{server.base} does not have {', '.join(absent)}"] if absent else []
    return planned(
        server,
        wanted,
        folder,
        progress,
        title="PhysioNet/CinC Challenge 2021",
        jobs=params.jobs,
        estimate=_estimate,
        computed_from="the number of records and their mean duration",
        fewer="fewer sources",
        notes=notes,
    )


def _wanted(files: list[RemoteFile], params: DownloadParams) -> tuple[list[RemoteFile], list[str]]:
    """Returns the files of the sources, and those of all sources that the server does not have."""
    by_source: dict[str, list[RemoteFile]] = {name: [] for name in params.sources or SOURCES}
    for file in files:
        parts = file.path.split("/")
        if len(parts) > 2 and parts[0] == "training" and parts[1] in by_source:
            by_source[parts[1]].append(file)
    absent = [name for name, found in by_source.items() if not found]
    if absent and (params.sources or len(absent) == len(SOURCES)):
        raise scalelab.DataError(f"{params.url}: its {SUMS} lists no files of {', '.join(absent)}")
    license = [file for file in files if file.path == "LICENSE.txt"]
    return license + [file for found in by_source.values() for file in found], absent


def _estimate(file: RemoteFile) -> int:
    parts = file.path.split("/")
    if len(parts) < 2 or not file.path.endswith((".mat", ".hea")):
        return 10_000
    source = SOURCES[parts[1]]  # type: ignore[index]  # only files of the sources are asked for
    return 900 if file.path.endswith(".hea") else source.bytes_per_record - 900
