"""The twelve leads, in the order of the Challenge, and its sets of fewer."""

from __future__ import annotations

from typing import Literal

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

NLeads = Literal[12, 6, 4, 3, 2]
SETS: dict[NLeads, tuple[str, ...]] = {
    12: LEADS,
    6: LEADS[:6],
    4: ("I", "II", "III", "V2"),
    3: ("I", "II", "V2"),
    2: ("I", "II"),
}
"""The Challenge's sets of leads by their number."""


def places_of(leads: NLeads) -> list[int]:
    """Returns where the leads of a set stand among the twelve."""
    return [LEADS.index(lead) for lead in SETS[leads]]
