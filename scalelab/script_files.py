"""The file that the script of a trial reports in, one for all of its attempts: begun, and read."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

from scalelab.permissions import make_folder, share
from scalelab.records import Direction
from scalelab.script_log import append
from scalelab.script_reports import ATTEMPT, Reports


def begin(file: Path, attempt: int, metric: str, direction: Direction) -> Path:
    """Begins the file of reports of an attempt with its number and what counts.

    Args:
        file: It is made where it is missing; what is no file there is removed.
        attempt: The attempt.
        metric: The name of its objective.
        direction: Which way that is better.

    Returns:
        The folder for its checkpoints, which is made; where it holds something, the attempt goes on from what
        earlier ones reported.

    Raises:
        OSError: Its folder cannot be made.
        StoreError: It cannot be written.
    """
    checkpoint = file.with_name("checkpoint")
    make_folder(checkpoint)
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file, ignore_errors=True)
    elif os.path.lexists(file) and (file.is_symlink() or not file.is_file()):
        file.unlink()
    goes_on = any(checkpoint.iterdir())
    append(str(file), {ATTEMPT: attempt, "metric": metric, "direction": direction, "goes_on": goes_on})
    share(file)
    return checkpoint


def read_reports(file: Path, metric: str = "loss", direction: Direction = "minimize") -> Reports:
    """Returns what a script reported in its file, the attempts before among it.

    One object over several lines, written by a script that knows of nothing but its last values, is a report.
    """
    content = file.read_bytes() if file.is_file() else b""
    *lines, torn = content.split(b"\n")
    reports = Reports(metric, direction)
    for line in (*lines, *([torn] if _is_object(torn) else ())):
        if line.strip():
            reports.read(line)
    if reports.complaint:
        own = b" ".join(line for line in (*lines, torn) if f'"{ATTEMPT}"'.encode() not in line)
        if _is_object(own):
            reports = Reports(reports.metric, reports.direction)
            reports.read(own)
    return reports


def _is_object(text: bytes) -> bool:
    with contextlib.suppress(ValueError, RecursionError):
        return isinstance(json.loads(text), dict)
    return False
