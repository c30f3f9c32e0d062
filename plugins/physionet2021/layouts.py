"""Where a record comes from, in any of the layouts in which people have the databases.

PhysioNet has a folder for each source. The tarballs of 2020 and 2021 have other names for them (`WFDB_Ga`),
or none (`Training_WFDB`, `WFDB`), and people put several into one folder. There the record's name tells: each
source numbers its records behind letters of its own.
"""

from __future__ import annotations

import re

from .sources import SOURCES, SourceName

TARBALLS: dict[str, SourceName] = {
    "WFDB_CPSC2018": "cpsc_2018",
    "WFDB_CPSC2018_2": "cpsc_2018_extra",
    "WFDB_StPetersburg": "st_petersburg_incart",
    "WFDB_PTB": "ptb",
    "WFDB_PTBXL": "ptb-xl",
    "WFDB_Ga": "georgia",
    "WFDB_ChapmanShaoxing": "chapman_shaoxing",
    "WFDB_Ningbo": "ningbo",
}
"""Folders of the tarballs of 2021 that hold one source each."""
NAMES: dict[str, tuple[tuple[SourceName, int, int], ...]] = {
    "A0000": (("cpsc_2018", 1, 6877),),
    "Q0000": (("cpsc_2018_extra", 1, 3581),),
    "I0000": (("st_petersburg_incart", 1, 75),),
    "S0000": (("ptb", 1, 549),),
    "HR00000": (("ptb-xl", 1, 21_837),),
    "E00000": (("georgia", 1, 10_344),),
    "JS00000": (("chapman_shaoxing", 1, 10_646), ("ningbo", 10_647, 45_551)),
}
"""How names of records look, digits being 0, and which source has the numbers from one to another."""

_GROUP = re.compile(r"g[0-9]+")
_LETTERS = "AEHIJQRS"
_DIGIT = str.maketrans("123456789", "000000000")


def source_in(folder: str, above: str, record: str) -> str:
    """Returns the source of a record.

    A folder that has a published source's name keeps its word. Otherwise the record's name tells; where it
    tells nothing, the folder's name is the source.

    Args:
        folder: Name of the record's folder.
        above: Name of the folder above, which counts where the record's is a group (`g1`, …).
        record: Name of the header file without `.hea`.
    """
    named = above if _GROUP.fullmatch(folder) else folder
    if named in SOURCES:
        return named
    return source_by_name(record) or TARBALLS.get(named) or named


def source_by_name(record: str) -> SourceName | None:
    """Returns the published source that numbers its records as this name is numbered."""
    for source, first, last in NAMES.get(record.translate(_DIGIT), ()):
        if first <= int(record.lstrip(_LETTERS)) <= last:
            return source
    return None
