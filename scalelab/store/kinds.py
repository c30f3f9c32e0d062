"""The five kinds of content that a store keeps: each is a kind of journal file and has a table of its own.

Journal, ingestion, rebuild, salvage and check walk the list `KINDS`. It is in the order in which content goes
into a database.
"""

from __future__ import annotations

from typing import Any

from scalelab.store.imports import Imports
from scalelab.store.kind import Kind
from scalelab.store.measurements import Measurements
from scalelab.store.predictions import Predictions
from scalelab.store.registrations import Registrations
from scalelab.store.stored_records import Records

REGISTRATIONS = Registrations()
IMPORTS = Imports()
MEASUREMENTS = Measurements()
PREDICTIONS = Predictions()
RECORDS = Records()
KINDS: tuple[Kind[Any, Any], ...] = (REGISTRATIONS, IMPORTS, MEASUREMENTS, PREDICTIONS, RECORDS)


def kind_of_file(name: str) -> Kind[Any, Any]:
    """Returns the kind of a journal file; a record's suffix, the shortest, is the last in the list."""
    return next((kind for kind in KINDS if name.endswith(kind.suffix)), RECORDS)


def kind_of(content: object) -> Kind[Any, Any]:
    """Returns the kind of what is to be written."""
    return next(kind for kind in KINDS if isinstance(content, kind.model))
