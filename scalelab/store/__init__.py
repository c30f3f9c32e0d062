"""The store: every attempt at every trial, in a journal of files and a DuckDB database made from it."""

from __future__ import annotations

from scalelab.store.claims import Claim, Claims
from scalelab.store.journal import Journal
from scalelab.store.queries import Outcome, StudySummary
from scalelab.store.store import Store, open_store

__all__ = ["Claim", "Claims", "Journal", "Outcome", "Store", "StudySummary", "open_store"]
