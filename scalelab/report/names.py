"""What the parts of an analysis are called in tables, figures and sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from scalelab.analysis.points import Family
from scalelab.analysis.scaling import JOINT, SYMBOLS, FittedLaw, LawResult


def family_names(families: Iterable[Family]) -> Callable[[Family], str]:
    """Returns a function that names a family by what tells it from the others.

    Where there is only one family, that is its optimizer.
    """
    known = set(families)
    telling = [i for i in range(3) if len({family[i] for family in known}) > 1] or [2]
    return lambda family: " · ".join(family[i] for i in telling)


def law_symbol(law: LawResult) -> str:
    """Returns a law's left side: ``L(N)``, ``L(D)``, ``L(C)`` or, on a grid, ``L(N, D)``."""
    axes = law.points.axes if isinstance(law, FittedLaw) else (law.axis,)
    return "L(N, D)" if axes == (JOINT,) else f"L({', '.join(SYMBOLS.get(axis, axis) for axis in axes)})"
