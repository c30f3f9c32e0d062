"""The options of a component as a table: what `scalelab plugins --verbose` and the docs show."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from scalelab.errors import in_words
from scalelab.params import Params

_BOUNDS = {
    "ge": ">= {}", "gt": "> {}", "le": "<= {}", "lt": "< {}", "multiple_of": "a multiple of {}",
    "min_length": "at least {} long", "max_length": "at most {} long",
}  # fmt: skip
"""What the marks of annotated_types say, by their attribute."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a component.

    Attributes:
        name: What a study file calls it.
        type: Its type as text, such as `int` or `'random' | 'inter-patient'`.
        required: Whether it must be given.
        default: Its default, `None` where it is required.
        bounds: What its values must satisfy, such as `>= 1, <= 64`; empty where anything goes.
        help: A line of help.
    """

    name: str
    type: str
    required: bool
    default: Any
    bounds: str
    help: str


def options_of(params: type[Params]) -> tuple[Option, ...]:
    """Returns the options of a component in the order of their definition."""
    return tuple(
        Option(
            name=name,
            type=_type_text(field.annotation),
            required=field.is_required(),
            default=None if field.is_required() else _default(field),
            bounds=", ".join(_bounds(field)),
            help=" ".join((field.description or "").split()),
        )
        for name, field in params.model_fields.items()
    )


def _default(field: FieldInfo) -> Any:
    try:
        return field.get_default(call_default_factory=True)
    except Exception as error:  # a factory that fails, or what cannot be copied
        return in_words(error)


def _type_text(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _type_text(get_args(annotation)[0])
    if origin is Literal:
        return " | ".join(repr(value) for value in get_args(annotation))
    if origin in (Union, types.UnionType):
        return " | ".join(_type_text(part) for part in get_args(annotation))
    if annotation is type(None):
        return "none"
    if annotation is Ellipsis:
        return "…"
    if origin is not None:
        return f"{_type_text(origin)}[{', '.join(_type_text(part) for part in get_args(annotation))}]"
    return str(getattr(annotation, "__name__", annotation))


def _bounds(field: FieldInfo) -> Iterator[str]:
    inside = [mark for part in _parts(field.annotation) for mark in part]
    for mark in [*field.metadata, *inside]:
        for name, text in _BOUNDS.items():
            if hasattr(mark, name):
                yield text.format(getattr(mark, name))


def _parts(annotation: Any) -> Iterator[tuple[Any, ...]]:
    """Yields the marks of the members of a union, as in `Annotated[int, Ge(1)] | None`."""
    if get_origin(annotation) is Annotated:
        yield get_args(annotation)[1:]
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _parts(part)
