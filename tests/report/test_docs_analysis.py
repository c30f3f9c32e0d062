import inspect
import re
from pathlib import Path

import pytest

from scalelab.analysis.trees.design import MIN_DESIGNS
from scalelab.analysis.trees.validation import FOLDS, REPEATS
from scalelab.api.answers import analyze
from scalelab.cli.analyze import analyze as command

PAGE = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text("utf-8")
FLAGS = {
    "ctx": "scalelab analyze",
    "trees": "--no-trees",
    "source": "--from",
    "plugins_dir": "--plugins-dir",
}


@pytest.mark.parametrize("option", inspect.signature(command).parameters)
def test_every_option_is_documented(option):
    flag = FLAGS.get(option, f"--{option}")
    assert flag in PAGE


def test_every_documented_option_exists():
    known = {f"--{name}" for name in inspect.signature(command).parameters} | set(FLAGS.values())
    assert set(re.findall(r"--[a-z][a-z-]*", PAGE)) <= known


def test_numbers_in_words_are_those_of_the_code():
    assert (REPEATS, FOLDS, MIN_DESIGNS) == (3, 5, 20)
    assert "three times in five folds" in PAGE
    assert "fewer than twenty designs" in PAGE


def test_the_example_runs(grid_analysis, monkeypatch, capsys):
    import scalelab

    monkeypatch.setattr(scalelab, "analyze", lambda store: grid_analysis)
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], {})
    assert "sgd n_params" in capsys.readouterr().out
    assert "source" in inspect.signature(analyze).parameters
