"""What an architecture says of its networks (`features`), as plain values that a record can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scalelab.errors import PluginError, brief
from scalelab.jsonable import is_sayable

if TYPE_CHECKING:
    from scalelab.components import Architecture, Task
    from scalelab.params import Params

Feature = int | float | str
NAME_LENGTH, TEXT_LENGTH = 200, 1000
"""Characters that a name and a text have at most."""


def features_of(architecture: Architecture, params: Params, task: Task) -> dict[str, Feature]:
    """Returns the features of a network; numbers of NumPy and torch become Python's.

    Args:
        architecture: Which may have no `features`.
        params: Its options.
        task: What the network is for.

    Raises:
        PluginError: A name or a value is none that a record can hold.
    """
    if architecture.features is None:
        return {}
    found: Any = architecture.features(params, task.input_shape, task.n_outputs)
    what = f"features() of architecture {architecture.name!r}"
    if not isinstance(found, Mapping):
        raise PluginError(f"{what} returned {brief(found)}; it must return a mapping of names to values")
    features = {}
    for name, value in found.items():
        if not (isinstance(name, str) and 0 < len(name) <= NAME_LENGTH and is_sayable(name)):
            raise PluginError(
                f"{what} has the name {brief(name)}: must be 1 to {NAME_LENGTH} characters of text"
            )
        features[str(name)] = _plain(value, f"{what}: {brief(name)}")
    return features


def _plain(value: Any, what: str) -> Feature:
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, str):
        if len(value) > TEXT_LENGTH or not is_sayable(value):
            raise PluginError(f"{what} = {brief(value)}: must be at most {TEXT_LENGTH} characters of text")
        return str.__str__(value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise PluginError(
                f"{what} = {brief(value)}: must be within 64 bits; a float holds larger numbers"
            )
        return int(value)
    if not isinstance(value, float):
        raise PluginError(f"{what} = {brief(value)}: must be an int, a float or a str")
    if not math.isfinite(value):
        raise PluginError(f"{what} = {value}: must be finite")
    return float(value)
