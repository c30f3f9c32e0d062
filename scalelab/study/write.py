"""From values to the text of a study file; the text of a user's own study keeps its comments and layout."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scalelab.errors import InputError


def study_text(values: Mapping[str, Any], own: str = "") -> str:
    """Returns TOML that reads as these values: keys first, then a table for each mapping.

    Args:
        values: Texts, numbers, truth values, lists and mappings of them; a list of mappings becomes
            `[[tables]]`, what is a mapping inside a table an inline table, `None` is left out.
        own: The text of the study that the values are derived from. Its comments, order and layout stay, but
            for the keys whose values change. By default there is none.

    Example:
        >>> print(study_text({"name": "x", "data": {"sizes": [100, "all"]}}))
        name = "x"
        <BLANKLINE>
        [data]
        sizes = [100, "all"]
        <BLANKLINE>
    """
    import tomlkit

    document = tomlkit.parse(own)
    wanted = _without_none(values)
    # Keys first: behind a table they would be the table's.
    _change(document, dict(sorted(wanted.items(), key=lambda pair: _is_table(pair[1]))))
    text = tomlkit.dumps(document)
    # A layout that cannot be kept, such as a table in several places, gives way to the values.
    return study_text(values) if own and tomllib.loads(text) != wanted else text


def advised_head(study: str, budget: float) -> dict[str, str]:
    """Returns name and description of a study that spends a budget of FLOPs, after the runs of another."""
    spent = f"What {budget:.3g} training FLOPs are best spent on"
    return {
        "name": f"{study[:80]}-advised-{budget:.3g}".replace("+", ""),
        "description": f"{spent}, from the runs of {study}",
    }


def without_heading(text: str) -> str:
    """Returns the text of a study file without the comment that heads it, which is about that study alone."""
    return re.sub(r"\A(?:[ \t]*(?:#[^\n]*)?\r?\n)+", "", text)


def write_study(path: Path, text: str) -> None:
    """Writes a study file; folders that are missing are made.

    Raises:
        InputError: The file cannot be written.
    """
    make_folder(path)
    with _named(path):
        path.write_text(text, encoding="utf-8")


def make_folder(path: Path) -> None:
    """Makes the folder of a study file, where it is missing.

    Raises:
        InputError: It cannot be made.
    """
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)


def place_from(path: Path, there: Path) -> str:
    """Returns a place as a study file names it, relative to the file's folder.

    Args:
        path: The study file.
        there: The place.
    """
    return Path(os.path.relpath(there, path.absolute().parent)).as_posix()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Ends what goes wrong in one line that names the file."""
    try:
        yield
    except OSError as error:
        raise InputError(f"the study cannot be written to {path}: {error.strerror or error}") from error


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, (list, tuple)) else value


def _is_table(value: Any) -> bool:
    """Tells whether a value stands as a table of its own, or as several."""
    several = isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)
    return several or isinstance(value, Mapping)


def _change(table: Any, wanted: Mapping[str, Any], *, top: bool = True) -> None:
    """Makes a table of a document say what is wanted, touching only what differs."""
    said = table.unwrap()
    for key in said.keys() - wanted.keys():
        del table[key]
    for key, value in wanted.items():
        # With their types: 1 and 1.0 are two values in a study.
        same = key in said and json.dumps(said[key]) == json.dumps(value)
        if not same and not (key in said and _changed_inside(table[key], value)):
            table[key] = _item(value, top=top)


def _changed_inside(old: Any, value: Any) -> bool:
    """Changes tables where they stand; tells whether that could be done."""
    olds, news = ([one] if isinstance(one, Mapping) else one for one in (old, value))
    if not (_is_table(olds) and _is_table(news)):
        return False
    names = [one.get("name") for one in news]
    for index in reversed(range(len(olds)) if len(olds) > len(news) else ()):
        if olds[index].get("name") not in names:
            del olds[index]
    if len(olds) != len(news):
        return False
    for one, new in zip(olds, news, strict=True):
        _change(one, new, top=False)
    return True


def _item(value: Any, *, top: bool) -> Any:
    """Returns a value as an item of a document: a table at the top, an inline table inside."""
    import tomlkit

    if isinstance(value, Mapping):
        table: Any = tomlkit.table() if top else tomlkit.inline_table()
        for key, inner in value.items():
            table[key] = _item(inner, top=False)
        return table
    if isinstance(value, list):
        array: Any = tomlkit.aot() if top and _is_table(value) else tomlkit.array()
        for inner in value:
            array.append(_item(inner, top=top and _is_table(value)))
        return array
    return value
