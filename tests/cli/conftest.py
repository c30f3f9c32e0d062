"""The command line, called in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest


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
        return Answer(code, out, err)

    return call
