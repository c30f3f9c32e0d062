"""Records that lie in several folders, as the releases of 2020 and 2021 side by side have them: used once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from .chunks import Row
from .layouts import source_by_name


class Copy(NamedTuple):
    """What makes a record the same as another one.

    Attributes:
        source: Where it comes from.
        name: Its name.
        signal: A digest of its samples.
        codes: Its SNOMED CT codes.
    """

    source: str
    name: str
    signal: str
    codes: tuple[str, ...]


def repeated(copies: Sequence[Copy]) -> list[bool]:
    """Returns which records are copies of another one that is kept.

    A published source has a record once, whatever release its files are of. In other sources, two records of
    one name are the same where their samples are. Which one is kept follows from their content, as the
    dataset's fingerprint does, and not from where they lie.
    """
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, copy in enumerate(copies):
        published = source_by_name(copy.name) == copy.source
        alike[copy[:2] if published else copy[:3]].append(place)
    kept = {min(places, key=lambda place: (copies[place], place)) for places in alike.values()}
    return [place not in kept for place in range(len(copies))]


def leave_out_repeats(rows: Sequence[Row]) -> None:
    """Gives every usable record that is a copy of another one its reason."""
    used = [row for row in rows if row.reason is None]
    copies = [Copy(row.source, row.record, row.signal, tuple(row.codes)) for row in used]
    for row, again in zip(used, repeated(copies), strict=True):
        if again:
            row.reason = "duplicate: another folder has this record, too"
