"""The forms of scaling laws, one short file each.

:func:`get_law` finds a law by name; :func:`register_law` adds one, which is all that a plugin needs to do.
"""

from __future__ import annotations

from scalelab.analysis.laws.base import Law
from scalelab.analysis.laws.bnsl import Bnsl, Bnsl2
from scalelab.analysis.laws.chinchilla import Chinchilla
from scalelab.analysis.laws.data_constrained import DataConstrained
from scalelab.analysis.laws.kaplan import Kaplan
from scalelab.analysis.laws.loglog import LogLog
from scalelab.analysis.laws.m3 import M3
from scalelab.analysis.laws.m4 import M4
from scalelab.analysis.laws.power import Power
from scalelab.analysis.laws.power_offset import PowerOffset
from scalelab.analysis.laws.sigmoid import SigmoidLink
from scalelab.errors import FitError, InputError, suggest

_LAWS: dict[str, Law] = {}


def register_law(law: Law) -> None:
    """Adds a law, so that it can be asked for by its name.

    Args:
        law: the law; its name must be free.

    Raises:
        InputError: it is no :class:`Law`, lacks a part, or its name is taken.
    """
    if not isinstance(law, Law):
        raise InputError(f"a law must be an instance of scalelab's Law, got {type(law).__name__}")
    for part in ("name", "equation", "paper", "axes", "params"):
        if not getattr(law, part, None):
            raise InputError(f"law {getattr(law, 'name', type(law).__name__)!r} does not state its {part}")
    if law.name in _LAWS or law.name == "auto":
        raise InputError(f"the name {law.name!r} is taken by another law; choose a different one")
    _LAWS[law.name] = law


def law_names() -> tuple[str, ...]:
    """Returns the names of all laws, in the order in which they were registered."""
    return tuple(_LAWS)


def get_law(name: str) -> Law:
    """Finds a law by its name.

    Raises:
        FitError: there is none of that name; the message lists what there is.
    """
    if name not in _LAWS:
        raise FitError(f"unknown law {name!r}{suggest(name, _LAWS)}; there are {', '.join(_LAWS)} and auto")
    return _LAWS[name]


for _law in (
    Power(),
    PowerOffset(),
    M3(),
    M4(),
    Bnsl(),
    Bnsl2(),
    Chinchilla(),
    Kaplan(),
    DataConstrained(),
    LogLog(),
    SigmoidLink(),
):
    register_law(_law)

__all__ = ["Law", "get_law", "law_names", "register_law"]
