import inspect
import re
from pathlib import Path

import pytest

from scalelab.cli.advise import advise
from scalelab.cli.next import next_
from scalelab.cli.predict import predict

PAGE = (Path(__file__).parents[2] / "docs" / "advice.md").read_text("utf-8")
SHOWN = {"source": "--from", "ctx": "scalelab"}


@pytest.mark.parametrize("command", [advise, predict, next_])
def test_every_option_is_documented(command):
    for option in inspect.signature(command).parameters:
        assert SHOWN.get(option, "--" + option.replace("_", "-")) in PAGE


def test_every_documented_option_exists():
    known = {
        SHOWN.get(name, "--" + name.replace("_", "-"))
        for command in (advise, predict, next_)
        for name in inspect.signature(command).parameters
    }
    assert set(re.findall(r"--[a-z][a-z-]*", PAGE)) <= known


def test_the_example_runs(capsys, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], {})
    assert "adamw Estimate(" in capsys.readouterr().out
