"""The 26 classes that PhysioNet/CinC Challenge 2021 scores, and what confusing one with another is worth.

The tables are those of the official scorer (https://github.com/physionetchallenges/evaluation-2021,
`weights.csv` and `dx_mapping_scored.csv`), in its order of classes. Their license:

    BSD 2-Clause License

    Copyright (c) 2020, 2021 PhysioNet/Computing in Cardiology Challenges
    All rights reserved.

    Redistribution and use in source and binary forms, with or without
    modification, are permitted provided that the following conditions are met:

    1. Redistributions of source code must retain the above copyright notice, this
       list of conditions and the following disclaimer.

    2. Redistributions in binary form must reproduce the above copyright notice,
       this list of conditions and the following disclaimer in the documentation
       and/or other materials provided with the distribution.

    THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"
    AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
    IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
    DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE
    FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
    DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
    SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER
    CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY,
    OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
    OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class ScoredClass(NamedTuple):
    """One scored class.

    Attributes:
        codes: Its SNOMED CT codes; where there are two, they count as one class.
        abbreviation: As in the official tables.
        diagnosis: In words.
    """

    codes: tuple[str, ...]
    abbreviation: str
    diagnosis: str


CLASSES = (
    ScoredClass(("164889003",), "AF", "atrial fibrillation"),
    ScoredClass(("164890007",), "AFL", "atrial flutter"),
    ScoredClass(("6374002",), "BBB", "bundle branch block"),
    ScoredClass(("426627000",), "Brady", "bradycardia"),
    ScoredClass(("733534002", "164909002"), "CLBBB|LBBB", "left bundle branch block, complete or not said"),
    ScoredClass(("713427006", "59118001"), "CRBBB|RBBB", "right bundle branch block, complete or not said"),
    ScoredClass(("270492004",), "IAVB", "1st degree av block"),
    ScoredClass(("713426002",), "IRBBB", "incomplete right bundle branch block"),
    ScoredClass(("39732003",), "LAD", "left axis deviation"),
    ScoredClass(("445118002",), "LAnFB", "left anterior fascicular block"),
    ScoredClass(("164947007",), "LPR", "prolonged pr interval"),
    ScoredClass(("251146004",), "LQRSV", "low qrs voltages"),
    ScoredClass(("111975006",), "LQT", "prolonged qt interval"),
    ScoredClass(("698252002",), "NSIVCB", "nonspecific intraventricular conduction disorder"),
    ScoredClass(("426783006",), "NSR", "sinus rhythm"),
    ScoredClass(("284470004", "63593006"), "PAC|SVPB", "premature atrial or supraventricular beats"),
    ScoredClass(("10370003",), "PR", "pacing rhythm"),
    ScoredClass(("365413008",), "PRWP", "poor R wave progression"),
    ScoredClass(("427172004", "17338001"), "PVC|VPB", "premature ventricular beats"),
    ScoredClass(("164917005",), "QAb", "Q wave abnormal"),
    ScoredClass(("47665007",), "RAD", "right axis deviation"),
    ScoredClass(("427393009",), "SA", "sinus arrhythmia"),
    ScoredClass(("426177001",), "SB", "sinus bradycardia"),
    ScoredClass(("427084000",), "STach", "sinus tachycardia"),
    ScoredClass(("164934002",), "TAb", "t wave abnormal"),
    ScoredClass(("59931005",), "TInv", "t wave inversion"),
)  # fmt: skip
N_CLASSES = len(CLASSES)
ABBREVIATIONS = tuple(scored.abbreviation for scored in CLASSES)
CLASS_OF_CODE = {code: index for index, scored in enumerate(CLASSES) for code in scored.codes}
SINUS_RHYTHM = CLASS_OF_CODE["426783006"]
"""Index of normal sinus rhythm, which the metric's zero is: the score of always answering it."""

_EIGHTIETHS = """
    80 40 38 24 38 32 24 24 28 28 24 34 36 28 20 27 30 34 30 32 28 24 24 30 40 40
    40 80 38 24 38 32 24 24 28 28 24 34 36 28 20 27 30 34 30 32 28 24 24 30 40 40
    38 38 80 26 38 34 26 26 30 30 26 36 38 30 22 29 32 36 32 30 30 26 26 32 38 38
    24 24 26 80 26 32 40 40 36 36 40 30 28 36 36 37 34 30 34 16 36 40 40 34 24 24
    38 38 38 26 80 34 26 26 30 30 26 36 38 30 22 29 32 36 32 30 30 26 26 32 38 38
    32 32 34 32 34 80 32 32 36 36 32 38 36 36 28 35 38 38 38 24 36 32 32 38 32 32
    24 24 26 40 26 32 80 40 36 36 40 30 28 36 36 37 34 30 34 16 36 40 40 34 24 24
    24 24 26 40 26 32 40 80 36 36 40 30 28 36 36 37 34 30 34 16 36 40 40 34 24 24
    28 28 30 36 30 36 36 36 80 40 36 34 32 40 32 39 38 34 38 20 40 36 36 38 28 28
    28 28 30 36 30 36 36 36 40 80 36 34 32 40 32 39 38 34 38 20 40 36 36 38 28 28
    24 24 26 40 26 32 40 40 36 36 80 30 28 36 36 37 34 30 34 16 36 40 40 34 24 24
    34 34 36 30 36 38 30 30 34 34 30 80 38 34 26 33 36 38 36 26 34 30 30 36 34 34
    36 36 38 28 38 36 28 28 32 32 28 38 80 32 24 31 34 38 34 28 32 28 28 34 36 36
    28 28 30 36 30 36 36 36 40 40 36 34 32 80 32 39 38 34 38 20 40 36 36 38 28 28
    20 20 22 36 22 28 36 36 32 32 36 26 24 32 80 33 30 26 30 12 32 36 36 30 20 20
    27 27 29 37 29 35 37 37 39 39 37 33 31 39 33 80 37 33 37 19 39 37 37 37 27 27
    30 30 32 34 32 38 34 34 38 38 34 36 34 38 30 37 80 36 40 22 38 34 34 40 30 30
    34 34 36 30 36 38 30 30 34 34 30 38 38 34 26 33 36 80 36 26 34 30 30 36 34 34
    30 30 32 34 32 38 34 34 38 38 34 36 34 38 30 37 40 36 80 22 38 34 34 40 30 30
    32 32 30 16 30 24 16 16 20 20 16 26 28 20 12 19 22 26 22 80 20 16 16 22 32 32
    28 28 30 36 30 36 36 36 40 40 36 34 32 40 32 39 38 34 38 20 80 36 36 38 28 28
    24 24 26 40 26 32 40 40 36 36 40 30 28 36 36 37 34 30 34 16 36 80 40 34 24 24
    24 24 26 40 26 32 40 40 36 36 40 30 28 36 36 37 34 30 34 16 36 40 80 34 24 24
    30 30 32 34 32 38 34 34 38 38 34 36 34 38 30 37 40 36 40 22 38 34 34 80 30 30
    40 40 38 24 38 32 24 24 28 28 24 34 36 28 20 27 30 34 30 32 28 24 24 30 80 40
    40 40 38 24 38 32 24 24 28 28 24 34 36 28 20 27 30 34 30 32 28 24 24 30 40 80
"""


def weights() -> np.ndarray:
    """Returns the official weights (26, 26), float64: what answering k is worth where j is true."""
    import numpy as np

    return np.array(_EIGHTIETHS.split(), dtype=np.float64).reshape(N_CLASSES, N_CLASSES) / 80
