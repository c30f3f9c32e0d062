"""Columns that plugins bring: every option of a component and every feature becomes one.

A trial's options stand in columns of the table `trials` and a record's features in columns of `records`,
beside the JSON that they come from; the table `parameters` remembers which place of it a column shows.

Types: whole numbers are BIGINT until a fraction appears, then DOUBLE; truth values are BOOLEAN; anything
else, and any mixture of these, is VARCHAR. A list is shown as its JSON text. A column whose type widens is
filled again from the JSON, so that a rebuilt store shows the same values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Holder = Literal["trials", "records"]
Kind = Literal["NULL", "BOOLEAN", "BIGINT", "DOUBLE", "VARCHAR"]
COMPONENTS = ("dataset", "architecture", "optimizer")
SCALES = ("n_params", "n_params_body", "n_examples", "forward_flops", "train_flops", "epochs")
_KINDS: dict[type, Kind] = {type(None): "NULL", bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE"}
PREFIXES = (*COMPONENTS, "trainer", "training", "feature")


@dataclass(frozen=True, slots=True)
class Column:
    """A column that plugins brought.

    Attributes:
        name: Of the column.
        holder: The table that has it.
        pointer: JSON pointer (RFC 6901) to its value, in the trial's content or the record's features.
        kind: The type of its values so far; `NULL` where there were none.
    """

    name: str
    holder: Holder
    pointer: str
    kind: Kind

    @property
    def sql_type(self) -> str:
        """The type in DuckDB."""
        return sql_type(self.kind)


def sql_type(kind: Kind) -> str:
    """Returns the type in DuckDB that shows values of a kind."""
    return "VARCHAR" if kind == "NULL" else kind


def trial_values(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the columns of a trial show, by JSON pointer into its content.

    Parameters of a script that are axes have columns already.
    """
    places = {f"/{component}/params": content[component]["params"] for component in COMPONENTS}
    places |= {f"/{component}/content": content[component].get("content", {}) for component in COMPONENTS}
    places["/training"] = content.get("training", {})
    found: dict[str, Any] = {}
    trainer = content.get("trainer")
    if trainer is not None:
        found["/trainer/name"] = trainer["name"]
        places |= {f"/trainer/{part}": trainer.get(part, {}) for part in ("params", "content")}
    for place, values in places.items():
        _flatten(values, place, found)
    for name in content.get("script", {}).get("axes", {}).values():
        found.pop(_pointer("/architecture/params", name), None)
    return found


def batch_size_of(content: Mapping[str, Any]) -> int | None:
    """Returns the batch size of a trial's content; `None` where its script does not say."""
    if "training" in content:
        return int(content["training"]["batch_size"])
    given = content["architecture"]["params"].get(content["script"]["axes"].get("batch_size"))
    return None if given is None else int(given)


def feature_values(features: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the columns of a record's features show, by JSON pointer into them."""
    found: dict[str, Any] = {}
    _flatten(features, "", found)
    return found


def _flatten(mapping: Mapping[str, Any], pointer: str, found: dict[str, Any]) -> None:
    for key, value in mapping.items():
        if type(value) is dict and value:
            _flatten(value, _pointer(pointer, key), found)
        else:
            found[_pointer(pointer, key)] = value


def _pointer(place: str, key: str) -> str:
    """Returns a place one level deeper."""
    if "~" in key or "/" in key:
        key = key.replace("~", "~0").replace("/", "~1")
    return f"{place}/{key}"


def kind_of(value: Any) -> Kind:
    """Returns the type that a column needs to show a value."""
    kind = _KINDS.get(type(value), "VARCHAR")
    return "VARCHAR" if kind == "BIGINT" and not -(2**63) <= value < 2**63 else kind


def wider(one: Kind, other: Kind) -> Kind:
    """Returns the type that can show the values of both."""
    if one == other or other == "NULL":
        return one
    if one == "NULL":
        return other
    return "DOUBLE" if {one, other} == {"BIGINT", "DOUBLE"} else "VARCHAR"


def wanted_name(holder: Holder, pointer: str) -> str:
    """Returns what a new column should be called."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    if holder == "records":
        parts = ["feature", *parts]
    elif parts[0] in COMPONENTS or parts[:2] in (["trainer", "params"], ["trainer", "content"]):
        del parts[1]
    return "_".join(parts)


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """Returns a plain name like the wanted one, which no other has; DuckDB does not tell cases apart."""
    return Names(taken).free(wanted)


class Names:
    """Names that are taken, to which free ones are added one by one.

    Args:
        taken: Those there are.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._used = {name.lower() for name in taken}
        self._numbers: dict[str, int] = {}

    def free(self, wanted: str) -> str:
        """Returns a plain name like the wanted one, and takes it; DuckDB does not tell cases apart."""
        base = re.sub(r"\W+", "_", wanted)
        name, number = base, self._numbers.get(base.lower(), 1)
        while name.lower() in self._used:
            number += 1
            name = f"{base}_{number}"
        self._used.add(name.lower())
        self._numbers[base.lower()] = number
        return name


def plan(
    known: Mapping[tuple[Holder, str], Column], holder: Holder, rows: Iterable[Mapping[str, Any]]
) -> tuple[list[Column], list[Column]]:
    """Returns the columns to add and those to widen, so that rows of values can be stored.

    Args:
        known: All columns there are, by holder and pointer.
        holder: The table that the rows go to.
        rows: Values by pointer.
    """
    seen: dict[str, Kind] = {}
    for row in rows:
        for pointer, value in row.items():
            kind = kind_of(value)
            if seen.get(pointer) != kind:
                seen[pointer] = wider(seen.get(pointer, "NULL"), kind)
    added: list[Column] = []
    widened: list[Column] = []
    names = Names(column.name for column in known.values())
    for pointer in sorted(seen):
        old = known.get((holder, pointer))
        if old is None:
            name = names.free(wanted_name(holder, pointer))
            added.append(Column(name, holder, pointer, seen[pointer]))
        elif wider(old.kind, seen[pointer]) != old.kind:
            widened.append(Column(old.name, holder, pointer, wider(old.kind, seen[pointer])))
    return added, widened


def order(name: str) -> tuple[int, str]:
    """Sorts columns' names as the view `runs` shows them."""
    prefix = name.split("_", 1)[0]
    return (PREFIXES.index(prefix) if prefix in PREFIXES else len(PREFIXES), name)
