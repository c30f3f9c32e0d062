"""What a download from PhysioNet would fetch, how much that is, and whether it fits on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

import scalelab

from .http_transfer import Server
from .physionet_files import RemoteFile, fetch, missing_files, size_of

_SPARE = 1 << 28
"""Bytes that stay free on the disk."""


def _web(url: str) -> str:
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise ValueError("must be the address of a web server, http://… or https://…")
    return url


WebAddress = Annotated[str, AfterValidator(_web)]
"""Where a database lies, as an option of its download."""


def planned(
    server: Server,
    wanted: Sequence[RemoteFile],
    folder: Path,
    progress: scalelab.Progress,
    *,
    title: str,
    jobs: int,
    estimate: Callable[[RemoteFile], int],
    computed_from: str,
    fewer: str,
    notes: Sequence[str] = (),
) -> scalelab.Download:
    """Returns the download of those files that a folder does not have whole.

    Args:
        server: Where the files are.
        wanted: Which.
        folder: Where they go.
        progress: Told what is checked.
        title: What it is that is fetched.
        jobs: Connections at a time.
        estimate: Bytes of a file, where there are too many to ask the server for each.
        computed_from: What that is computed from.
        fewer: What to choose less of where the disk is too small.
        notes: Lines that whoever is asked should read first.

    Raises:
        scalelab.DataError: The disk is too small.
    """
    missing = missing_files(wanted, folder, progress, jobs)
    n_bytes, exact = size_of(server, missing, jobs, estimate)
    _check_room(folder, n_bytes or 0, fewer)
    said = [*notes]
    if len(wanted) > len(missing):
        said.append(f"{len(wanted) - len(missing):,} files are already complete")
    if not exact:
        said.append(f"the size is computed from {computed_from}")

    def fetch_all(report: scalelab.Progress) -> list[str]:
        return fetch(server.base, missing, folder, report, jobs=jobs, n_bytes=n_bytes)

    return scalelab.Download(
        title=f"{title}, from {server.base} to {folder}",
        n_files=len(missing),
        n_bytes=n_bytes,
        exact=exact,
        fetch=fetch_all,
        notes=tuple(said),
    )


def _check_room(folder: Path, n_bytes: int, fewer: str) -> None:
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if n_bytes + _SPARE > free:
        raise scalelab.DataError(
            f"{folder}: {n_bytes / 1e9:.1f} GB are to be downloaded and {free / 1e9:.1f} GB are free there; "
            f"choose another folder or {fewer}"
        )
