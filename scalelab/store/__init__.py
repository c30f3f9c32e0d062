"""The store: every attempt at every trial, in a journal of files and a DuckDB database made from it."""

from __future__ import annotations

from scalelab.store.answers import (
    Outcome,
    StoredStudy,
    StudySummary,
    Timing,
    Tried,
    reached_of,
)
from scalelab.store.claims import Claim, Claims
from scalelab.store.journal import Journal
from scalelab.store.store import Store, open_store

__all__ = [
    "Claim", "Claims", "Journal", "Outcome", "Store", "StoredStudy", "StudySummary", "Timing",
    "Tried", "open_store", "reached_of",
]  # fmt: skip
