"""What a plan said, kept until the run of the same trials ends and can be held against it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from scalelab.execute.crew import Crew
from scalelab.execute.kept import keep, place

Forecast = tuple[float, float]
"""The least and the most seconds that a plan gave."""


def remember(forecast: Forecast, trial_ids: Iterable[str], crew: Crew) -> None:
    """Keeps a forecast in the cache; where that cannot be written there will be none."""
    keep(_path(trial_ids, crew), forecast)


def recall(trial_ids: Iterable[str], crew: Crew) -> Forecast | None:
    """Returns the last forecast for just these trials and this crew, if a plan gave one here."""
    try:
        low, high = json.loads(_path(trial_ids, crew).read_text(encoding="utf-8"))
        return float(low), float(high)
    except (OSError, ValueError, TypeError):
        return None


def _path(trial_ids: Iterable[str], crew: Crew) -> Path:
    return place("plans", sorted(trial_ids), crew.model_dump(mode="json"))
