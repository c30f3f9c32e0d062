"""Files in which trackers keep facts: JSON and YAML, of a size that fits, read without running anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from scalelab.errors import in_words
from scalelab.regular_files import read_regular
from scalelab.store.trackers.found import WrongRunError, needs

LARGEST = 2**28
"""Bytes of a file of a run."""
MOST_ALIASES = 30
"""Of a YAML document: each may stand for what has two others, and so on, which would fill any memory."""


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        WrongRunError: It is torn, or something else.
        OSError: The file cannot be read.
    """
    try:
        found = json.loads(read_regular(path, LARGEST))
    except ValueError as error:
        raise WrongRunError(f"{path.name} is torn, or no JSON: {in_words(error, 100)}") from error
    return _mapping(path, found)


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """Reads a YAML mapping; of an object of Python the plain values that it is made of.

    Args:
        path: The file.
        what: What needs it, for the message where no package reads YAML.

    Raises:
        InputError: The package `pyyaml` is not installed.
        WrongRunError: The file is torn, or something else.
        OSError: It cannot be read.
    """
    data = read_regular(path, LARGEST)
    try:
        yaml = import_module("yaml")
    except ImportError as error:
        raise needs("pyyaml", what) from error
    loader: Any = type("Plain", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
    loader.add_multi_constructor("", _plain)
    try:
        if b"*" in data:
            aliases = sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, loader))
            if aliases > MOST_ALIASES:
                raise WrongRunError(
                    f"{path.name} has {aliases} aliases; more than {MOST_ALIASES} are not read"
                )
        found = yaml.load(data, loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WrongRunError(f"{path.name} is torn, or no YAML: {in_words(error, 150)}") from error
    return _mapping(path, found)


def _plain(loader: Any, _: str, node: Any) -> Any:
    if node.id == "mapping":
        return loader.construct_mapping(node, deep=True)
    return (
        loader.construct_sequence(node, deep=True) if node.id == "sequence" else loader.construct_scalar(node)
    )


def _mapping(path: Path, found: Any) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        raise WrongRunError(f"{path.name} is empty, or torn" if not found else f"{path.name} holds no names")
    return {str(name): value for name, value in found.items()}
