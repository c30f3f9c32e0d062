"""A digest of the files of a folder, the same wherever they lie, and cheap while nothing changes."""

from __future__ import annotations

import os
from pathlib import Path

import scalelab

from .. import file_digests
from .layouts import source_in
from .sources import SOURCES

REMEDY = "get the records with 'scalelab data download physionet2021 --to DIR' and set path to that folder"
SUFFIXES = (".hea", ".mat", ".dat")


def content_digest(folder: Path, sources: tuple[str, ...]) -> str:
    """Returns a digest over source, name and content of every header and signal file beneath a folder.

    Files are hashed again only where a name, a size or a time of change is another than last time.

    Args:
        folder: Where the records lie, at any depth.
        sources: Only these; empty: all.

    Raises:
        scalelab.DataError: There is no such folder, it holds no records, or a file cannot be read.
    """
    if not folder.is_dir():
        raise scalelab.DataError(f"physionet2021: there is no folder {folder}; {REMEDY}")
    files = _files(folder, sources)
    labeled = [(f"{source} {os.path.basename(file)}", file) for source, file in files]
    return file_digests.content_digest("physionet2021", labeled, order=sorted)


def _files(folder: Path, sources: tuple[str, ...]) -> list[tuple[str, str]]:
    """Returns source and path of every file that counts, as texts: there may be two hundred thousand."""
    files = []
    for parent, _, names in os.walk(folder):
        above, here = os.path.split(parent)
        place = here, os.path.basename(above)
        files += [
            (source_in(*place, name[:-4]), os.path.join(parent, name))
            for name in names
            if name.endswith(SUFFIXES) and not name.startswith(".")
        ]
    present = sorted({source for source, file in files if file.endswith(".hea")})
    if not present:
        raise scalelab.DataError(f"physionet2021: the folder {folder} holds no records (*.hea); {REMEDY}")
    for source in sources:
        if source not in present:
            raise scalelab.DataError(
                f"physionet2021: the folder {folder} has no records of the source {source!r}; "
                f"there are {', '.join(present)}"
            )
    return sorted(_of_sources(files, sources) if sources else files)


def _of_sources(files: list[tuple[str, str]], sources: tuple[str, ...]) -> list[tuple[str, str]]:
    """Returns the files of some sources, with signal files beside their headers whose names tell none."""
    folders = {os.path.dirname(file) for source, file in files if source in sources and file.endswith(".hea")}
    return [
        (source, file)
        for source, file in files
        if source in sources
        or (not file.endswith(".hea") and source not in SOURCES and os.path.dirname(file) in folders)
    ]
