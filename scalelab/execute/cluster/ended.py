"""How an attempt ended, by its record in the journal."""

from __future__ import annotations

import json

from scalelab.execute.jobs import Finished
from scalelab.store import Journal
from scalelab.store.kinds import RECORDS

_OF_RECORD = ("status", "wall_seconds", "loss", "objective", "direction", "error")


def finished_of(journal: Journal, trial_id: str, attempt: int) -> Finished | None:
    """Returns the end of an attempt whose record the journal has; `None` where it has none."""
    for _ in range(3):  # it may move meanwhile
        path = journal.find(f"{trial_id}-{attempt}")
        found = journal.open(RECORDS, path) if path else None
        if found is not None:
            record = json.loads(found[0].record)
            return Finished(
                trial_id=trial_id, **{key: record[key] for key in _OF_RECORD if record.get(key) is not None}
            )
    return None
