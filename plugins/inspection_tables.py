"""Tables that inspections of files have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import scalelab


def by_kind(said: Iterable[tuple[str, Iterable[str]]]) -> list[scalelab.Row]:
    """Counts texts of the form `kind: details` by their kind, with one of them as an example.

    Args:
        said: The name of each record, and what is said of it.
    """
    examples: dict[str, list[str]] = defaultdict(list)
    for name, texts in said:
        for text in texts:
            kind, _, details = text.partition(": ")
            examples[kind].append(f"{name}: {details}" if details else name)
    ordered = sorted(examples.items(), key=lambda item: (-len(item[1]), item[0]))
    return [{"what": kind, "records": len(lines), "for example": lines[0]} for kind, lines in ordered]
