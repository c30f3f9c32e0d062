"""What `scalelab data` does for `physionet2021`; the work itself is imported when it is asked for."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

import scalelab

from ..processes import default_jobs
from .sources import HIDDEN, URL, WHY_HIDDEN, SourceName


class DownloadParams(scalelab.Params):
    """Options of `scalelab data download physionet2021`."""

    to: scalelab.Location = Field(description="folder to write to; running again goes on where it ended")
    sources: tuple[SourceName, ...] = Field((), description="only these databases; all eight by default")
    url: str = Field(URL, description="address of the database's folder, or of a mirror of it")
    jobs: int = Field(4, ge=1, le=16, description="connections at a time")

    @field_validator("sources", mode="before")
    @classmethod
    def _published(cls, sources: Any) -> Any:
        if isinstance(sources, list | tuple):
            for name in sources:
                if isinstance(name, str) and name.lower() in HIDDEN:
                    raise ValueError(f"{WHY_HIDDEN}; leave {name} out")
        return sources

    @field_validator("url")
    @classmethod
    def _web(cls, url: str) -> str:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ValueError("must be the address of a web server, http://… or https://…")
        return url


class InspectParams(scalelab.Params):
    """Options of `scalelab data inspect physionet2021`."""

    folder: scalelab.Location = Field(
        description="folder with the records' .hea and .mat files, at any depth"
    )
    jobs: int = Field(default_factory=default_jobs, ge=1, le=64, description="processes")


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
