"""The command line, called in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest


def check_document(text: str) -> None:
    """Makes sure that a text is one document that its schema describes, field by field."""
    import jsonschema

    from scalelab.cli.schema import text as schema_text

    document = json.loads(text)
    organization, name, version = document["schema"].split("/")
    assert (organization, version) == ("scalelab", "1")
    jsonschema.validate(document, _closed(json.loads(schema_text(name))), jsonschema.Draft202012Validator)


def _closed(schema: Any) -> Any:
    """The schema without room for fields that it does not name."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


class Answer(NamedTuple):
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def scalelab_command(capsys, monkeypatch) -> Callable[..., Answer]:
    """Runs `scalelab ARGUMENTS`."""
    from scalelab.cli import main

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["scalelab", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        out, err = capsys.readouterr()
        if "--json" in sys.argv:
            check_document(out)
        return Answer(code, out, err)

    return call
