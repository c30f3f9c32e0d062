"""The 26 classes that PhysioNet/CinC Challenge 2021 scores, and what confusing one with another is worth.

The tables are those of the official scorer (https://github.com/physionetchallenges/evaluation-2021,
`weights.csv` and `dx_mapping_scored.csv`), in its order of classes; `classes.csv` and `weights.csv` beside
this file have them, the weights in eightieths. Their license:

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

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

_HERE = Path(__file__).parent


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


def _scored() -> Iterator[ScoredClass]:
    for row in csv.DictReader(_HERE.joinpath("classes.csv").read_text(encoding="utf-8").splitlines()):
        yield ScoredClass(tuple(row["codes"].split("|")), row["abbreviation"], row["diagnosis"])


CLASSES = tuple(_scored())
N_CLASSES = len(CLASSES)
ABBREVIATIONS = tuple(scored.abbreviation for scored in CLASSES)
CLASS_OF_CODE = {code: index for index, scored in enumerate(CLASSES) for code in scored.codes}
SINUS_RHYTHM = CLASS_OF_CODE["426783006"]
"""Index of normal sinus rhythm, which the metric's zero is: the score of always answering it."""


@cache
def weights() -> np.ndarray:
    """Returns the official weights (26, 26), float64: what answering k is worth where j is true."""
    import numpy as np

    table: np.ndarray = np.loadtxt(_HERE / "weights.csv", delimiter=",") / 80
    table.flags.writeable = False
    return table
