"""What the parts of an analysis are called in tables, figures and sentences."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from scalelab.analysis.estimate import Refusal
from scalelab.analysis.runs.designs import Family
from scalelab.analysis.runs.selection import symbol
from scalelab.records import UNSPECIFIED

if TYPE_CHECKING:
    import pandas as pd

    from scalelab.analysis.families.fitted import FittedLaw

_NAMED_STUDIES = 3
_Item = TypeVar("_Item")
_Key = TypeVar("_Key", bound=Hashable)


def grouped(items: Iterable[_Item], key: Callable[[_Item], _Key]) -> dict[_Key, list[_Item]]:
    """Returns items by a key, in the order in which the keys come."""
    found: dict[_Key, list[_Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def said_once(notes: Iterable[tuple[str, str]], most: int | None = None) -> list[str]:
    """Returns each note once, with all that it is about: `words (a, b)`.

    Args:
        notes: What a note is about, and its words.
        most: How many names stand behind a note; the others are counted.
    """
    lines = []
    for words, own in grouped(notes, lambda note: note[1]).items():
        names = list(dict.fromkeys(name for name, _ in own))
        shown = ", ".join(names[:most])
        left_out = len(names) - most if most else 0
        lines.append(f"{words} ({shown} and {left_out} more)" if left_out > 0 else f"{words} ({shown})")
    return lines


def family_names(families: Iterable[Family]) -> Callable[[Family], str]:
    """Returns a function that names a family by what tells it from the others.

    Where there is only one family, that is its optimizer; what is not known of a family is left out.
    """
    there = set(families)
    telling = [i for i in range(3) if len({family[i] for family in there}) > 1] or [2]

    def name(family: Family) -> str:
        return " · ".join(family[i] for i in telling if known(family[i])) or family.dataset

    return name


def known(name: str) -> str:
    """Returns a name, an empty one where a table of imported runs does not say it."""
    return "" if name == UNSPECIFIED else name


def led(lead: str, name: str) -> str:
    """Returns a name after the words that lead to it; empty where it is not known."""
    return f"{lead}{name}" if known(name) else ""


def whose(family: Family, lead: str = " of ") -> str:
    """Returns such as ` of convnext1d on mitbih`, without what is not known."""
    return f"{led(lead, family.architecture)} on {family.dataset}"


def studies_of(designs: pd.DataFrame) -> tuple[str, ...]:
    """Returns the studies that have runs of some designs; none where all runs are of one study."""
    return tuple(sorted({*chain(*designs["studies"])})) if "studies" in designs else ()


def of_studies(names: Sequence[str], lead: str = "of ") -> str:
    """Returns which studies something is of; empty where nobody need say it.

    Example:
        >>> of_studies(["mup"]), of_studies(["mup", "widths"], "in "), of_studies(list("abcde"))
        ('of study mup', 'in studies mup and widths', 'of 5 studies')
    """
    if not names:
        return ""
    if len(names) > _NAMED_STUDIES:
        return f"{lead}{len(names)} studies"
    return f"{lead}{'study' if len(names) == 1 else 'studies'} {' and '.join(names)}"


AnyPlace = tuple[str, str, int, int]
"""A `Place`, named or not: host, target, batch size, threads."""


def place_names(places: Sequence[AnyPlace]) -> Callable[[AnyPlace], str]:
    """Returns a function that names where a latency was measured: target, and what else tells it apart."""
    from scalelab.analysis.latency.law import Place

    known = [Place(*place) for place in places]
    several = {name: len({getattr(place, name) for place in known}) > 1 for name in Place._fields}

    def name(place: AnyPlace) -> str:
        own = Place(*place)
        words = [own.target]
        words += [f"batch {own.batch_size}"] if several["batch_size"] else []
        words += [f"{own.threads} threads"] if several["threads"] else []
        words += [f"on {own.host}"] if several["host"] else []
        return " ".join(words)

    return name


def law_symbol(law: FittedLaw | Refusal) -> str:
    """Returns a law's left side: `L(N)`, `L(D)`, `L(C)` or, on a grid, such as `L(N, D)`."""
    axes = law.subject["axes"] if isinstance(law, Refusal) else law.points.axes
    return f"L({', '.join(map(symbol, axes))})"
