"""docs/bring-your-own.md, followed: the script, its study, the commands, the notebook."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import scalelab
from scalelab.cli.app import app
from scalelab.script_reports import AMOUNTS, COUNTS
from scalelab.study.command import GIVEN

PAGE = (Path(__file__).parents[2] / "docs" / "bring-your-own.md").read_text(encoding="utf-8")
SCRIPT, NOTEBOOK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(STUDY,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^\$ scalelab (.*)$", PAGE, re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def call(capsys, command):
    code = app(command.split(), standalone_mode=False)
    out = capsys.readouterr().out
    assert code in (0, None), out
    return out


def test_the_study_has_the_trials_that_the_page_says(folder, capsys):
    assert call(capsys, COMMANDS[0]).splitlines()[-1] in PAGE
    assert "scalelab" not in SCRIPT
    assert len(SCRIPT.splitlines()) <= 30


def test_the_commands_lead_from_the_script_to_what_to_run_next(folder, capsys):
    small = STUDY.replace("seeds = [0, 1]", "seeds = [0]").replace("high = 32", "high = 8")
    (folder / "study.toml").write_text(small.replace("[160, 320, 640, 1280]", "[160, 320, 640]"))
    (folder / "train.py").write_text(SCRIPT.replace("range(1, 21)", "range(1, 6)"))
    assert len(COMMANDS) == 4
    outputs = [call(capsys, command) for command in COMMANDS[:3]]
    # So few runs say nothing of more compute than theirs.
    made = scalelab.open_store("digits.duckdb").runs("digits")
    most = (6.0 * made.n_params * made.n_examples * made.epochs).max()
    assert "--budget 1G " in COMMANDS[3]
    call(capsys, COMMANDS[3].replace("1G", f"{0.9 * most:.4g}"))
    assert "digits: 9 trials: 9 done" in outputs[1]
    assert "Scaling laws of the loss" in outputs[2]
    advised = scalelab.load_study("next.toml")
    assert advised.command.options.keys() == {"width", "n"}
    assert set(made.n_params) == {2 * (64 + 10) + 12, 4 * (64 + 10) + 14, 8 * (64 + 10) + 18}
    assert set(made.epochs) == {5}


def test_the_notebook_runs(folder):
    scope: dict[str, object] = {}
    exec(compile(NOTEBOOK, "notebook", "exec"), scope)
    assert scope["analysis"].laws
    assert len(scalelab.open_store("notebook.duckdb").runs("notebook")) == 12


def test_the_tables_name_what_there_is():
    for name in (*COUNTS, *AMOUNTS):
        assert f"`{name}`" in PAGE
    for name in GIVEN:
        assert f"`{{{name}}}`" in PAGE
    source = (Path(scalelab.__file__).parent / "execute" / "script.py").read_text(encoding="utf-8")
    for variable in re.findall(r'"(SCALELAB_\w+)"', source):
        assert f"`{variable}`" in PAGE
