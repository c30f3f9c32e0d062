"""Results as plain JSON values: one way for every result, instead of a function each.

A result shows all its fields under their names, unless its class says otherwise in `json_fields`: the
attributes that are shown, in order; a method is called without arguments. `"key=path"` shows an attribute, or
one of an attribute (`fit.law.name`), under another name, and `"*path"` shows the parts of an attribute in its
place.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from datetime import date
from enum import Enum
from operator import attrgetter
from pathlib import PurePath
from typing import Any

Json = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
"""A value that `json.dumps` writes as it is."""


def jsonable(value: object) -> Json:
    """Returns a value as JSON values; numbers that are not finite become `None`.

    Args:
        value: A plain value, mapping, sequence, set, enum, path, date, NumPy scalar or array, pandas table (a
            list of its rows) or column, pydantic model, dataclass or named tuple, nested as they like.

    Raises:
        TypeError: It is something else.
    """
    if value is None or (isinstance(value, (bool, int, str)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): jsonable(one) for key, one in value.items()}
    if hasattr(value, "json_fields") or dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
        return json_object(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(one) for one in value]
    return _foreign(value)


def json_object(result: Any) -> dict[str, Json]:
    """Returns a result (a dataclass or a named tuple) as a JSON object, see `jsonable`."""
    fields: Iterable[str]
    if hasattr(result, "json_fields"):
        fields = result.json_fields
    elif dataclasses.is_dataclass(result):
        fields = [field.name for field in dataclasses.fields(result)]
    else:
        fields = result._fields
    shown: dict[str, Json] = {}
    for field in fields:
        key, _, path = field.partition("=")
        found = attrgetter((path or key).removeprefix("*"))(result)
        part = jsonable(found() if callable(found) else found)
        if key.startswith("*"):
            assert isinstance(part, dict), f"{type(result).__name__}: {field} has no parts"
            shown |= part
        else:
            shown[key] = part
    return shown


def _foreign(value: object) -> Json:
    """What libraries give: their names are asked for, so that none of them is imported."""
    if isinstance(value, Enum):
        return jsonable(value.value)
    if isinstance(value, PurePath):
        return str(value)
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return jsonable(value.model_dump(mode="json"))
    if hasattr(value, "columns") and hasattr(value, "to_dict"):
        return jsonable(value.to_dict("records"))
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    raise TypeError(f"{type(value).__name__} has no JSON value")


def is_sayable(text: str) -> bool:
    """Whether JSON, Parquet and SQL can say a text: no lone surrogates, no NUL."""
    try:
        return "\0" not in text and bool(text.encode() or not text)
    except UnicodeEncodeError:
        return False
