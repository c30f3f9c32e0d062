"""The scales that a prediction is asked for: their axes, and that they are positive numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scalelab.analysis.runs.selection import AXES, GRID_AXES
from scalelab.errors import InputError, suggest
from scalelab.law import ALIASES

KNOWN = (*AXES, "epochs")
_ALIASES = {alias: axis for axis, alias in ALIASES.items()}
LEAST, LARGEST = 1e-150, 1e150
POSITIVE = f"must be a positive number, from {LEAST:g} to {LARGEST:g}"


def read_scales(
    at: Sequence[Mapping[str, float]], there: Sequence[str], own: Sequence[str]
) -> list[dict[str, float]]:
    """Returns several scales as `read_scale` does; what is wrong with one names its number.

    Raises:
        InputError: One is wrong.
    """
    scales = []
    for number, one in enumerate(at, 1):
        try:
            scales.append(read_scale(one, there, own))
        except InputError as error:
            raise InputError(f"row {number}: {error}") from None
    return scales


def read_scale(
    at: Mapping[str, float], there: Sequence[str] = KNOWN, own: Sequence[str] = ()
) -> dict[str, float]:
    """Returns a scale with the axes in the order of a law's.

    Args:
        at: The scale.
        there: The axes of the designs.
        own: The axes that the law names; none for one of any axis, or for the default.

    Raises:
        InputError: An axis is unknown, no law has these axes together, or a value is not positive.
    """
    known = tuple(dict.fromkeys((*KNOWN, *_ALIASES, *there, *own)))
    for axis, value in at.items():
        if axis not in known:
            named = dict.fromkeys((*KNOWN, *there, *own))
            raise InputError(f"unknown axis {axis!r}{suggest(axis, known)}; there are {', '.join(named)}")
        if not LEAST < value < LARGEST:
            raise InputError(f"{axis} = {value:g}: a scale {POSITIVE}")
    if own:
        given = {axis if axis in own else _ALIASES.get(axis, axis): float(v) for axis, v in at.items()}
        if set(given) != set(own):
            got = ", ".join(at) or "none"
            raise InputError(f"the law has the axes {', '.join(own)}: give a number for each, got {got}")
        return {axis: given[axis] for axis in own}
    given = {axis if axis in there else _ALIASES.get(axis, axis): float(v) for axis, v in at.items()}
    for axes in (*((axis,) for axis in (*AXES, *there)), GRID_AXES, (*GRID_AXES, "epochs")):
        if set(axes) == set(given) and len(given) == len(at):
            return {axis: given[axis] for axis in axes}
    raise InputError(
        f"no law has the axes {', '.join(at) or '(none)'}; give one of {', '.join(AXES)}, or n_params with "
        "n_examples, or those with epochs; or say with --law which law it is, such as "
        "'E + A*n_params^-alpha*width^-beta'"
    )
