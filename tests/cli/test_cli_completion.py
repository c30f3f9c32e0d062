"""What a shell offers while a command is typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALL = "import sys; sys.argv = ['scalelab']; from scalelab.cli import main; main()"


def offered(line: str, shell: str = "bash") -> list[str]:
    """What bash is told for a line whose last word is not finished."""
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    environment = {**os.environ, **asked, "_SCALELAB_COMPLETE": f"complete_{shell}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CALL], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("scalelab ana", ["analyze"]),
        ("scalelab analyze --store examples/mitbih-convnext.duckdb --study m", ["mitbih-convnext"]),
        ("scalelab predict --store examples/mitbih-hardware.duckdb --study m", ["mitbih-hardware"]),
        ("scalelab predict --store examples/mitbih-convnext.duckdb --optimizer s", ["sgd", "sgdm"]),
        (
            "scalelab analyze --store examples/mitbih-design.duckdb --study mitbih-mup --architecture ",
            ["convnext1d"],
        ),
        ("scalelab next examples/mitbih-convnext.toml --optimizer a", ["adamw"]),
        ("scalelab predict --store nowhere.duckdb --study ", []),
        ("scalelab predict --law power-", ["power-offset"]),
        (
            "scalelab run examples/mitbih-i",
            ["examples/mitbih-inputs.toml", "examples/mitbih-interpatient.toml"],
        ),
        ("scalelab data inspect p", ["physionet2021", "ptbxl"]),
        ("scalelab new-plugin mine --kind a", ["architecture"]),
    ],
)
def test_what_is_offered(line, names):
    assert offered(line) == names


def test_the_store_may_be_named_by_the_environment(monkeypatch):
    monkeypatch.setenv("SCALELAB_STORE", "examples/mitbih-hardware.duckdb")
    assert offered("scalelab analyze --study ") == ["mitbih-hardware"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell):
    environment = {**os.environ, "_SCALELAB_COMPLETE": f"source_{shell}", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CALL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"complete_{shell}" in done.stdout
