"""The values of a component's options against its model: types, bounds, and what the model itself refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from scalelab.components import Architecture, Dataset, Optimizer
from scalelab.errors import PluginError, in_words
from scalelab.params import Params, identity_of
from scalelab.records import canonical_json
from scalelab.space import Choice, Dimension, Doubling
from scalelab.study.model import located
from scalelab.trainers import Trainer

Key = tuple[str | int, ...]


def validated(component: Dataset | Architecture | Optimizer | Trainer, options: Mapping[str, Any]) -> Params:
    """Returns the component's options; a text that pydantic would read as a number is refused.

    Pydantic's own strict mode would be simpler, but then a plugin's "before" validators get lists where its
    fields ask for tuples.
    """
    try:
        params = component.params.model_validate(dict(options))
    except (ValidationError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a plugin's validator that trusts its input
        raise _refusal(component.name, f"cannot read its options: {in_words(error)}", options) from error
    try:
        resolved = params.model_dump(mode="json")
        canonical_json(identity_of(params)).encode()
    except (ValueError, RecursionError) as error:
        raise _refusal(component.name, f"has options that are no JSON: {in_words(error)}", options) from error
    for name, value in options.items():
        unfaithful = _first_unfaithful(value, resolved.get(name), (name,))
        if unfaithful:
            raise ValidationError.from_exception_data(component.name, [unfaithful])
    return params


def defaults_of(component: Dataset | Architecture | Optimizer | Trainer) -> dict[str, Any]:
    """Returns the defaults of a component's options that have one.

    Raises:
        PluginError: One cannot be had: its factory fails, or it cannot be copied.
    """
    defaults = {}
    for name, info in component.params.model_fields.items():
        try:
            if not info.is_required():
                defaults[name] = info.get_default(call_default_factory=True)
        except Exception as error:
            what = f"{component.name}: the default of option {name!r} cannot be had"
            raise PluginError(f"{what}: {in_words(error)}") from error
    return defaults


def _refusal(name: str, what: str, options: Mapping[str, Any]) -> ValidationError:
    detail = InitErrorDetails(type=located(f": {name!r} {what}"), loc=(), input=options)
    return ValidationError.from_exception_data(name, [detail])


def _first_unfaithful(given: Any, resolved: Any, path: Key) -> InitErrorDetails | None:
    """Finds `"8"` or `true` where a number came of it, and a number where a truth value did."""
    if isinstance(given, (list, tuple)) and isinstance(resolved, list):
        pairs = enumerate(zip(given, resolved, strict=False))  # a validator may lengthen or shorten a list
        found = (_first_unfaithful(*pair, (*path, index)) for index, pair in pairs)
        return next(filter(None, found), None)
    if not isinstance(resolved, (bool, int, float)) or not isinstance(given, (bool, int, float, str)):
        return None
    if isinstance(given, str) or isinstance(given, bool) != isinstance(resolved, bool):
        kind = {bool: "bool_type", int: "int_type", float: "float_type"}[type(resolved)]
        return InitErrorDetails(type=kind, loc=path, input=given)
    return None


def ends_of(dimension: Dimension) -> dict[Key, Any]:
    """Returns the values that stand for a dimension, by the key of the study file that gives them."""
    if isinstance(dimension, Choice):
        return {("values", index): value for index, value in enumerate(dimension.values)}
    last = dimension.grid()[-1] if isinstance(dimension, Doubling) else dimension.from_unit(1.0)
    return {("low",): dimension.from_unit(0.0), ("high",): last}
