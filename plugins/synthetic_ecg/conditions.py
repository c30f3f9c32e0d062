"""The twelve conditions: exclusive classes, named as in the SNOMED CT codes of PhysioNet's challenges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

ConditionName = Literal[
    "sinus-rhythm",
    "sinus-bradycardia",
    "sinus-tachycardia",
    "atrial-fibrillation",
    "atrial-flutter",
    "premature-atrial-contraction",
    "premature-ventricular-contraction",
    "first-degree-av-block",
    "left-bundle-branch-block",
    "right-bundle-branch-block",
    "st-depression",
    "t-wave-inversion",
]
SplitName = Literal["train", "validation", "test"]
NAMES: tuple[ConditionName, ...] = get_args(ConditionName)


@dataclass(frozen=True)
class Condition:
    """What a class is.

    Attributes:
        abbreviation: As in the challenge's tables.
        snomed: SNOMED CT code.
        sign: What makes the class, and the threshold that separates it from sinus rhythm.
    """

    abbreviation: str
    snomed: str
    sign: str


CONDITIONS: dict[ConditionName, Condition] = {
    "sinus-rhythm": Condition("NSR", "426783006", "none of the signs below, 62 to 98 beats per minute"),
    "sinus-bradycardia": Condition("SB", "426177001", "below 58 beats per minute"),
    "sinus-tachycardia": Condition("STach", "427084000", "above 102 beats per minute"),
    "atrial-fibrillation": Condition(
        "AF", "164889003", "irregular RR (coefficient of variation above 0.1), no P, f waves at 4 to 8 Hz"
    ),
    "atrial-flutter": Condition(
        "AFL", "164890007", "sawtooth at 240 to 340 per minute, conducted 2:1 to 4:1 or variably"
    ),
    "premature-atrial-contraction": Condition(
        "PAC", "284470004", "early beats (below 0.86 of the RR) with another P, the sinus node reset"
    ),
    "premature-ventricular-contraction": Condition(
        "PVC", "427172004", "early broad beats without P, discordant T, full compensatory pause"
    ),
    "first-degree-av-block": Condition("IAVB", "270492004", "PR above 0.21 s"),
    "left-bundle-branch-block": Condition(
        "LBBB", "164909002", "broad notched QRS to the left, no septal vector, discordant T"
    ),
    "right-bundle-branch-block": Condition(
        "RBBB", "59118001", "late vector to the right and front, as rSR' in V1"
    ),
    "st-depression": Condition("STD", "429622005", "ST segment down by 0.06 mV or more in one territory"),
    "t-wave-inversion": Condition("TInv", "59931005", "T vector reversed"),
}
