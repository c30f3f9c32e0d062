"""What pydantic has to say, in one line: file, key, value, and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scalelab.errors import brief, suggest

_PLAIN_MESSAGES = {
    "missing": "missing",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "model_type": "must be a table",
    "none_required": "must be left out",
    "path_type": "must be a path, as a string",
    "string_type": "must be a string",
    "tuple_type": "must be a list",
}
_BOUNDS = {
    "greater_than": ("must be above", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than": ("must be below", "lt"),
    "less_than_equal": ("must be at most", "le"),
    "multiple_of": ("must be a multiple of", "multiple_of"),
}
_NO_VALUE = {"missing", "extra_forbidden"}


def one_line(text: str, limit: int = 600) -> str:
    """Returns `text` on one printable line, cut to `limit` characters."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def join_keys(*parts: str | int) -> str:
    """Returns a key path such as `architecture[0].space.width`; odd keys stand in quotes."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        bare = re.fullmatch(r"[A-Za-z0-9_-]{1,60}", part)
        path += ("." if path else "") + (part if bare else brief(part))
    return path


@dataclass(frozen=True)
class Problem:
    """One wrong value.

    Attributes:
        path: Its key path inside what was validated; empty where the whole does not fit together.
        ending: What follows the path in a message: `" = 0: must be at least 1"`.
    """

    path: tuple[str | int, ...]
    ending: str

    def at(self, *keys: str | int) -> str:
        """Returns the line for the value at a key path."""
        return one_line((join_keys(*keys) + self.ending).lstrip(":. "))


def first_problem(
    error: ValidationError,
    model: type[BaseModel],
    accept: Callable[[tuple[str | int, ...]], bool] = lambda path: True,  # noqa: ARG005
) -> Problem | None:
    """Returns the first thing that is wrong, or `None` where `accept` wants to hear of no path.

    Args:
        error: What validating `model` raised.
        model: The model, for the known keys and to tell keys from the tags that pydantic puts into locations.
        accept: Chooses by key path among what is wrong.
    """
    details = [(key_path(model, detail["loc"]), detail) for detail in error.errors(include_url=False)]
    found = [(path, detail) for path, detail in details if accept(path)]
    if not found:
        return None
    # a misspelled key is also a missing one: name the misspelling
    found.sort(key=lambda item: item[1]["type"] != "extra_forbidden")
    first = found[0][0]
    # a union reports each of its branches; all belong to the one value
    same = [detail for path, detail in found if path == first]
    texts = list(dict.fromkeys(_problem(detail, model, first) for detail in same))[:3]
    # a list whose items are wrong counts as too short as well
    paths = {path for path, _ in found}
    more = sum(not any(other[: len(path)] == path for other in paths - {path}) for path in paths - {first})
    ending = f" (and {more} more)" if more else ""
    if same[0]["type"] == "located":
        return Problem(first, texts[0] + ending)
    shown = "" if same[0]["type"] in _NO_VALUE or not first else f" = {brief(same[0]['input'])}"
    return Problem(first, f"{shown}: {' or '.join(texts)}{ending}")


def describe(error: ValidationError, model: type[BaseModel], *prefix: str | int) -> str:
    """Returns the first thing that is wrong, as `key = value: what is allowed`."""
    problem = first_problem(error, model)
    assert problem is not None, "a ValidationError without errors"
    return problem.at(*prefix, *problem.path)


def key_path(model: type[BaseModel], location: Sequence[str | int]) -> tuple[str | int, ...]:
    """Returns the keys of a pydantic error's location, without the tags of unions and validators."""
    path: list[str | int] = []
    annotation: Any = model
    for part in location:
        if isinstance(part, int):
            path.append(part)
        elif any(_models(annotation)) or _is_mapping(annotation):
            path.append(part)
            annotation = _inside(annotation, part)
    return tuple(path)


def known_keys(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Returns the keys that the table at `path` may have."""
    annotation: Any = model
    for part in path:
        if not isinstance(part, int):
            annotation = _inside(annotation, part)
    return list(_fields(annotation))


def _inside(annotation: Any, key: str) -> Any:
    """Returns the annotation of what stands under a key: of a table of a model, or of any names."""
    if _is_mapping(annotation):
        return next(iter(get_args(annotation)[1:]), None)
    return _fields(annotation).get(key)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for argument in get_args(annotation):
        yield from _models(argument)


def _fields(annotation: Any) -> Mapping[str, Any]:
    """Returns the annotations of all models inside an annotation, by the key that a file uses."""
    return {
        str(field.validation_alias or field.alias or name): field.annotation
        for model in _models(annotation)
        for name, field in model.model_fields.items()
    }


def _is_mapping(annotation: Any) -> bool:
    origins = (get_origin(annotation), *(get_origin(argument) for argument in get_args(annotation)))
    return any(isinstance(origin, type) and issubclass(origin, Mapping) for origin in origins)


def _problem(detail: ErrorDetails, model: type[BaseModel], path: Sequence[str | int]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _PLAIN_MESSAGES:
        return _PLAIN_MESSAGES[kind]
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        bound = context[key]
        return f"{words} {f'{bound:g}' if isinstance(bound, float) else bound}"
    if kind == "extra_forbidden":
        keys = known_keys(model, path[:-1])
        return f"unknown key{suggest(str(path[-1]), keys)} ({_listed(keys)})"
    if kind in ("literal_error", "enum"):
        options = re.findall(r"'([^']*)'", context["expected"])
        near = suggest(detail["input"], options) if isinstance(detail["input"], str) else ""
        return f"must be {context['expected']}{near}"
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty" if context["min_length"] == 1 else f"needs {context['min_length']} or more"
    if kind == "value_error":
        return str(context["error"])
    if kind == "located":
        return detail["msg"]
    return detail["msg"][:1].lower() + detail["msg"][1:]


def _listed(keys: Sequence[str]) -> str:
    return "known: " + ", ".join(keys) if keys else "it has none"
