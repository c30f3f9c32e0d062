"""The eight sources that are published, and how big each is.

Records: Reyna et al., "Will Two Do? Varying Dimensions in Electrocardiography", CinC 2021. Sizes are
computed: records times the mean duration (a sample of twelve leads takes 24 bytes), and 900 bytes a header.
They add up to 13.5 GB; PhysioNet's page of the database says 12.6 GiB, which is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SourceName = Literal[
    "cpsc_2018",
    "cpsc_2018_extra",
    "st_petersburg_incart",
    "ptb",
    "ptb-xl",
    "georgia",
    "chapman_shaoxing",
    "ningbo",
]

URL = "https://physionet.org/files/challenge-2021/1.0.3/"
HIDDEN = ("umich", "university_of_michigan", "michigan")
"""Names by which people ask for the University of Michigan's records."""
WHY_HIDDEN = "the University of Michigan's records are the Challenge's hidden test data, never published"


@dataclass(frozen=True, slots=True)
class Source:
    """One database of the collection.

    Attributes:
        title: What it calls itself.
        n_records: Its published records.
        rate: Sampling rate in Hz.
        seconds: Mean duration of a record.
    """

    title: str
    n_records: int
    rate: int
    seconds: float

    @property
    def bytes_per_record(self) -> int:
        """Mean size of a record's two files together."""
        return round(24 * self.rate * self.seconds) + 924


SOURCES: dict[SourceName, Source] = {
    "cpsc_2018": Source("China Physiological Signal Challenge 2018", 6_877, 500, 15.8),
    "cpsc_2018_extra": Source("CPSC 2018, unused records", 3_453, 500, 15.9),
    "st_petersburg_incart": Source("St Petersburg INCART", 74, 257, 1800.0),
    "ptb": Source("PTB Diagnostic ECG Database", 516, 1000, 110.8),
    "ptb-xl": Source("PTB-XL", 21_837, 500, 10.0),
    "georgia": Source("Georgia 12-lead ECG Challenge", 10_344, 500, 10.0),
    "chapman_shaoxing": Source("Chapman University, Shaoxing Hospital", 10_247, 500, 10.0),
    "ningbo": Source("Ningbo First Hospital", 34_905, 500, 10.0),
}
