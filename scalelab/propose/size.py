"""The option that brings a model to a size.

Which sizes an architecture can have only its plugin knows, so that the search builds models and counts
their parameters.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from scalelab.constraints import is_number
from scalelab.errors import InputError, StudyError
from scalelab.measurements import Complexity
from scalelab.space import Choice, Dimension, Float
from scalelab.study.resolved import Resolved

CLOSE = 0.02
"""A size this near (in its logarithm) is near enough."""

_TRIES = 24
_EXACT = 1e-4
_STRIDE = math.log(64.0)
_BYTES = 12
"""Bytes a parameter that building and counting take at most."""


def nearest(
    target: float,
    start: Mapping[str, Any],
    architecture: Resolved[Any],
    cost: Callable[[Mapping[str, Any]], Complexity],
) -> tuple[dict[str, Any], Complexity]:
    """Returns the change of one option that brings a model's parameters nearest to a number, and its cost.

    Numeric options that vary in the study are tried, lists of numbers among them, also beyond the values that
    the study gave them, as far as component and constraints allow; where none of them comes near, those of
    the component's own space, which the study may hold constant.

    Raises:
        StudyError: No such option, or none of them comes near.
        InputError: So large a model cannot be built on this machine.
    """
    _refuse_giant(target)
    varied = _numeric(architecture.space)
    others = {name: one for name, one in _numeric(architecture.component.space).items() if name not in varied}
    if not varied and not others:
        raise StudyError(
            f"{architecture.where}: no numeric option varies, so its size is fixed; add one to its space, "
            "such as a width"
        )

    def size_of(name: str, value: float) -> Complexity | None:
        """Returns what a value costs; `None` where component or constraints refuse it."""
        if architecture.breaks({**start, name: value}):
            return None
        try:
            size = cost({name: value})
        except InputError:
            return None
        return size if size.n_params > 0 else None

    found: list[tuple[float, dict[str, Any], Complexity]] = []
    for dimensions in (varied, others):
        for name, dimension in dimensions.items():
            begin = start.get(name)
            if isinstance(begin, bool) or not isinstance(begin, (int, float)) or begin <= 0:
                begin = dimension.from_unit(0.5)
            tried = _towards(target, begin, _whole(dimension), partial(size_of, name))
            found += [
                (abs(math.log(size.n_params / target)), {name: value}, size) for value, size in tried.items()
            ]
            if any(distance < CLOSE for distance, _, _ in found):
                break
        distance, options, size = min(found, key=lambda one: one[0], default=(math.inf, {}, None))
        if size is not None and distance <= math.log(2.0):
            return options, size
    got = f"; the nearest has {size.n_params:,}" if size else ""
    raise StudyError(
        f"{architecture.where}: no value of {', '.join([*varied, *others])} gives about {target:,.0f} "
        f"parameters{got}"
    )


def _numeric(space: Mapping[str, Dimension]) -> dict[str, Any]:
    """Returns the dimensions whose values are numbers, and positive where they are listed."""
    return {
        name: one
        for name, one in space.items()
        if not isinstance(one, Choice) or all(is_number(value) and value > 0 for value in one.values)
    }


def _whole(dimension: Dimension) -> bool:
    if isinstance(dimension, Choice):
        return all(isinstance(value, int) for value in dimension.values)
    return not isinstance(dimension, Float)


def _towards(
    target: float, start: float, whole: bool, size_of: Callable[[float], Complexity | None]
) -> dict[float, Complexity]:
    """Returns the values of an option that were tried on the way to a number of parameters, with their costs.

    Between two values the number of parameters is taken as a power of the option, which is what it nearly is
    of a width or a depth.

    Args:
        target: The number of parameters.
        start: The value to begin with.
        whole: Whether values are whole numbers.
        size_of: What a model with a value costs; `None` where the value is refused.
    """

    def rounded(value: float) -> float:
        return max(1, round(value)) if whole else float(f"{value:.6g}")

    tried: dict[float, Complexity] = {}
    value, refused = start, 0
    while len(tried) + refused < _TRIES and value not in tried:
        size = size_of(value)
        if size is not None:
            tried[value] = size
            near, *others = sorted(tried, key=lambda one: abs(math.log(tried[one].n_params / target)))
            missing = math.log(target / tried[near].n_params)
            if abs(missing) < (CLOSE / 10 if whole else _EXACT):
                break
            power = 2.0
            if others:
                risen = math.log(tried[near].n_params / tried[others[0]].n_params)
                power = risen / math.log(near / others[0]) or power
            value = rounded(near * math.exp(min(max(missing / power, -_STRIDE), _STRIDE)))
            if whole and value == near:
                value = max(1, near + (1 if missing * power > 0 else -1))
        elif tried:
            refused += 1
            known = min(tried, key=lambda other: abs(math.log(other / value)))
            value = rounded(math.sqrt(known * value))
        else:
            break
    return tried


def _refuse_giant(n_params: float) -> None:
    """Raises where a model would not fit into this machine's memory to be counted."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if n_params * _BYTES > memory:
        raise InputError(
            f"a model of {n_params:.3g} parameters does not fit into the {memory / 2**30:.0f} GiB of this "
            "machine, where its parameters must be counted; write the study on a larger one"
        )
