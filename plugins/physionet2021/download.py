"""`scalelab data download physionet2021`: which files, how much, from where."""

from __future__ import annotations

import shutil
from pathlib import Path

import scalelab

from ..http_transfer import Server
from ..physionet_files import SUMS, RemoteFile, fetch, listed_files, missing_files, size_of
from .params import DownloadParams
from .sources import SOURCES

_SPARE = 1 << 28
"""Bytes that stay free on the disk."""


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
    missing = missing_files(wanted, folder, progress, params.jobs)
    n_bytes, exact = size_of(server, missing, params.jobs, _estimate)
    _check_room(folder, n_bytes or 0)
    notes = []
    if absent:
        notes.append(f"{server.base} does not have {', '.join(absent)}")
    if len(wanted) > len(missing):
        notes.append(f"{len(wanted) - len(missing):,} files are already complete")
    if not exact:
        notes.append("the size is computed from the number of records and their mean duration")

    def fetch_all(report: scalelab.Progress) -> list[str]:
        return fetch(params.url, missing, folder, report, jobs=params.jobs, n_bytes=n_bytes)

    return scalelab.Download(
        title=f"PhysioNet/CinC Challenge 2021, from {server.base} to {folder}",
        n_files=len(missing),
        n_bytes=n_bytes,
        exact=exact,
        fetch=fetch_all,
        notes=tuple(notes),
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


def _check_room(folder: Path, n_bytes: int) -> None:
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if n_bytes + _SPARE > free:
        raise scalelab.DataError(
            f"{folder}: {n_bytes / 1e9:.1f} GB are to be downloaded and {free / 1e9:.1f} GB are free there; "
            "choose another folder or fewer sources"
        )
