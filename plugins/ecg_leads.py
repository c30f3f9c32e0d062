"""The sets of leads that the 2021 Challenge compared, for datasets of twelve-lead records."""

from __future__ import annotations

from typing import Literal

NLeads = Literal[12, 6, 4, 3, 2]

LEAD_SETS: dict[NLeads, tuple[int, ...]] = {
    12: tuple(range(12)),
    6: (0, 1, 2, 3, 4, 5),
    4: (0, 1, 2, 7),
    3: (0, 1, 7),
    2: (0, 1),
}
"""Which of I, II, III, aVR, aVL, aVF, V1 to V6 each set has: six are the limb leads, four I, II, III, V2."""
