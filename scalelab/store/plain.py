"""Journal files are checked before they come near the database: types and ranges, quickly.

A model's own validators coerce and explain, in Python; for a file that scalelab wrote that is wasted, and
for a forged one too kind. So each model has a plain counterpart: the same fields, nothing coerced, no
validators, whole numbers of 64 bits, and unknown fields ignored, because a later scalelab may write more.
It is a typed dictionary of pydantic-core, which makes no objects of models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import SchemaValidator, ValidationError, core_schema
from pydantic_core.core_schema import CoreSchema

from scalelab.records import IDENTITY_VERSION
from scalelab.store.envelope import Member, TornError

_TIMES = ("started_at", "finished_at")
_TIME = core_schema.float_schema(ge=-1e11, le=1e11, allow_inf_nan=False)
"""Seconds since the epoch: what DuckDB can show as a timestamp, and more than enough."""
_BOUNDS = ("ge", "gt", "le", "lt", "min_length", "max_length")
_SCALARS: dict[Any, CoreSchema] = {
    int: core_schema.int_schema(ge=-(2**63), lt=2**63),
    float: core_schema.float_schema(allow_inf_nan=False),
    str: core_schema.str_schema(),
    bool: core_schema.bool_schema(),
    Any: core_schema.any_schema(),
}
_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False, check_circular=False
)


def check_plain(model: type[BaseModel], text: str, what: str, without: tuple[str, ...] = ()) -> None:
    """Makes sure that the JSON of a model has values of the right types.

    Args:
        model: The model.
        text: The JSON.
        what: What it is of, for messages.
        without: Fields that the text does not have, or has otherwise.

    Raises:
        TornError: A value is missing, or not of its type.
    """
    try:
        _validator(model, without).validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, (what, *first["loc"])))
        raise TornError(f"{where}: {first['msg'][:200]}") from error


def check_identity(name: str, content: Member, what: str) -> None:
    """Makes sure that a content is what it is named by, see `scalelab.records.Identified`.

    Raises:
        TornError: It is another one.
    """
    if not isinstance(content.value, dict):
        raise TornError(f"its {what} is no JSON object")
    # What was canonical JSON once has nothing left to be made plain: only the keys are to be in order.
    text = _CANONICAL.encode({"identity": IDENTITY_VERSION, **content.value})
    if hashlib.sha256(text.encode()).hexdigest()[:16] != name:
        raise TornError(f"its {what} is not {what} {name}")


@cache
def _validator(model: type[BaseModel], without: tuple[str, ...]) -> SchemaValidator:
    return SchemaValidator(_of_model(model, without))


def _of_model(model: type[BaseModel], without: tuple[str, ...] = ()) -> CoreSchema:
    fields = {}
    for name, field in model.model_fields.items():
        if name in without:
            continue
        kind = _TIME if name in _TIMES else _plain(field.annotation, field.metadata)
        fields[name] = core_schema.typed_dict_field(kind, required=field.is_required())
    # A configuration from outside does not reach the fields of a typed dictionary.
    config = core_schema.CoreConfig(strict=True)
    return core_schema.typed_dict_schema(fields, extra_behavior="ignore", config=config)


def _plain(kind: Any, metadata: Iterable[Any] = ()) -> CoreSchema:
    """Returns the schema of an annotation, with the bounds that its metadata holds, and no validators."""
    if kind in _SCALARS:
        # Of the metadata, bounds such as ge=1 are objects of annotated_types; validators are pydantic's own.
        bounds = {key: getattr(one, key) for one in metadata for key in _BOUNDS if hasattr(one, key)}
        return {**_SCALARS[kind], **bounds}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _of_model(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _plain(inner[0], inner[1:])
    if origin in (Union, UnionType):
        some = [_plain(one, metadata) for one in inner if one is not NoneType]
        union = some[0] if len(some) == 1 else core_schema.union_schema([*some])
        return union if len(some) == len(inner) else core_schema.nullable_schema(union)
    if origin is Literal:
        return core_schema.literal_schema(list(inner))
    if origin is dict:
        return core_schema.dict_schema(*map(_plain, inner))
    assert (origin, inner[1:]) == (tuple, (...,)), f"no plain counterpart of {kind}"
    return core_schema.list_schema(_plain(inner[0]))
