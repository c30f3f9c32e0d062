"""The Python of docs/hardware.md runs, and its names are there."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from scalelab.measure.fidelity import Fidelity

PAGE = (Path(__file__).parents[2] / "docs" / "hardware.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_python_runs(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "hardware.md", "exec"), {})
    assert capsys.readouterr().out


def test_every_field_of_a_fidelity_is_documented() -> None:
    for field in dataclasses.fields(Fidelity):
        assert f"`{field.name}`" in PAGE or field.name == "n_examples"
