"""Journal files are checked before they come near the database: types and ranges, quickly.

A model's own validators coerce and explain, in Python; for a file that scalelab wrote that is wasted, and
for a forged one too kind. So each model has a plain counterpart: the same fields, nothing coerced, no
validators, whole numbers of 64 bits, and unknown fields ignored, because a later scalelab may write more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from scalelab.records import IDENTITY_VERSION
from scalelab.store.envelope import Member, TornError

_WHOLE = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_TIME = Annotated[float, Field(ge=-1e11, le=1e11)]
_TIMES = ("started_at", "finished_at")
"""Seconds since the epoch: what DuckDB can show as a timestamp, and more than enough."""


def check_plain(model: type[BaseModel], text: str, what: str, **without: tuple[Any, Any]) -> None:
    """Makes sure that the JSON of a model has values of the right types.

    Args:
        model: The model.
        text: The JSON.
        what: What it is of, for messages.
        without: Types and defaults of fields that the text does not have, or has otherwise.

    Raises:
        TornError: A value is missing, or not of its type.
    """
    try:
        _plain_model(model, tuple(without.items())).model_validate_json(text)
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
    value = {"identity": IDENTITY_VERSION, **content.value}
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    if hashlib.sha256(text.encode()).hexdigest()[:16] != name:
        raise TornError(f"its {what} is not {what} {name}")


@cache
def _plain_model(model: type[BaseModel], without: tuple[tuple[str, Any], ...] = ()) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = _TIME if name in _TIMES else _bounded(field.annotation, field.metadata)
        fields[name] = (kind, ... if field.is_required() else None)
    config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)
    return create_model(model.__name__, __config__=config, **{**fields, **dict(without)})


def _bounded(kind: Any, metadata: Iterable[Any]) -> Any:
    # Bounds such as ge=1 are objects of annotated_types; validators are pydantic's own.
    bounds = [one for one in metadata if type(one).__module__ == "annotated_types"]
    return Annotated[_plain(kind), *bounds] if bounds else _plain(kind)


def _plain(kind: Any) -> Any:
    """Returns an annotation with plain models for models, 64 bits for integers, and no validators."""
    if kind is int:
        return _WHOLE
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _plain_model(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _bounded(inner[0], inner[1:])
    if origin in (Union, UnionType):
        return Union[tuple(map(_plain, inner))]  # noqa: UP007 - made of a list
    if origin in (tuple, dict, list):
        return origin[tuple(_plain(one) if one is not ... else ... for one in inner)]
    assert origin in (None, Literal), f"no plain counterpart of {kind}"
    return kind
