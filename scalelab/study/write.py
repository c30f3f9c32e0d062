"""From values to the text of a study file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def study_text(values: Mapping[str, Any]) -> str:
    """Returns TOML that reads as these values: keys first, then a table for each mapping.

    Args:
        values: Texts, numbers, truth values, lists and mappings of them; a list of mappings becomes
            `[[tables]]`, what is a mapping inside a table an inline table, `None` is left out.

    Example::

        >>> print(study_text({"name": "x", "data": {"sizes": [100, "all"]}}))
        name = "x"
        <BLANKLINE>
        [data]
        sizes = [100, "all"]
        <BLANKLINE>
    """
    lines = [_pair(key, value) for key, value in values.items() if _is_value(value)]
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{_key(key)}]", *_pairs(value)]
        elif _is_tables(value):
            for table in value:
                lines += ["", f"[[{_key(key)}]]", *_pairs(table)]
    return "\n".join(lines) + "\n"


def _is_tables(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _is_value(value: Any) -> bool:
    return value is not None and not isinstance(value, Mapping) and not _is_tables(value)


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [_pair(key, value) for key, value in table.items() if value is not None]


def _pair(key: str, value: Any) -> str:
    return f"{_key(key)} = {_toml(value)}"


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _toml(key)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_pairs(value)) + " }" if _pairs(value) else "{}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # JSON's strings, numbers and truth values are TOML's, but for one control character
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
