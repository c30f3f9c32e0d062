"""What a tracker's reader makes of a source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scalelab.store.trackers.found import Curve, ForeignRun, Problem
from scalelab.store.trackers.known import tracker_of


def written(folder: Path, files: dict[str, Any]) -> Path:
    """Writes files below a folder: bytes and texts as they are, lists as lines, all else as JSON."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, (str, list)):
            text = content if isinstance(content, str) else "".join(f"{line}\n" for line in content)
            path.write_text(text, encoding="utf-8")
        else:
            path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def read(path: Path, kind: str | None = None) -> tuple[str, dict[str, ForeignRun], list[str]]:
    """Returns which tracker a source is of, its runs by key, and its problems in words."""
    tracker = tracker_of(path, kind)
    assert tracker is not None
    there = tracker.experiments(path)
    runs = list(tracker.read(path, next(iter(there), None)).runs)
    found = {run.key: run for run in runs if isinstance(run, ForeignRun)}
    return tracker.name, found, [str(one) for one in runs if isinstance(one, Problem)]


def points(curve: Curve) -> list[tuple[int, float]]:
    return list(zip(curve.steps, curve.values, strict=True))
