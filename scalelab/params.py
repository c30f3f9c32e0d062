"""Options of components: types, bounds and defaults, and what of them names a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict


class NotIdentity:
    """Marks an option that says where or how, not what: it is left out of a trial's identity."""


Location = Annotated[Path, NotIdentity()]
"""A file or folder option. A relative one is taken from the study file's folder (`~` is the home folder).
Its content, not itself, is part of a trial's identity: a dataset's fingerprint, of others a file's digest."""


class Params(BaseModel):
    """Base of every component's options: types, bounds, defaults and a line of help each.

    Unknown options, infinities and NaN are refused; an instance never changes. Give each field a
    `description`: it is what `scalelab plugins --verbose` and error messages show.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class NoParams(Params):
    """The options of a component that has none."""


def locations(model: type[BaseModel]) -> frozenset[str]:
    """Returns the names of the options that are a `Location`, optional ones included."""
    return frozenset(
        name
        for name, info in model.model_fields.items()
        if any(map(_is_mark, info.metadata)) or _holds_mark(info.annotation)
    )


def identity_of(params: Params) -> dict[str, Any]:
    """Returns the options that are part of a trial's identity, as JSON values."""
    return params.model_dump(mode="json", exclude=set(locations(type(params))))


def _is_mark(mark: Any) -> bool:
    return isinstance(mark, NotIdentity) or mark is NotIdentity


def _holds_mark(annotation: Any) -> bool:
    """Looks into `Location | None`, where pydantic leaves the mark inside the annotation."""
    if any(map(_is_mark, getattr(annotation, "__metadata__", ()))):
        return True
    return any(map(_holds_mark, get_args(annotation)))
