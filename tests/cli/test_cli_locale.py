"""The command line under locales without Unicode, and beside files named like modules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalelab import open_store
from scalelab.testing.toys import write_toy_plugin

STUDY = """
name = "loc"
description = "Schrödinger 漢字 🎉"
[dataset]
name = "toy-blobs"
[data]
sizes = [64]
[[architecture]]
name = "tagged"
options = { tag = "ü漢🎉" }
[[architecture]]
name = "tagged"
options = { tag = "no 漢é🎉" }
[[optimizer]]
name = "toy-sgd"
[training]
length = { steps = 4 }
batch_size = 16
validations = 1
"""
PLUGIN = """
import beside
import scalelab
from scalelab.testing.toys import ToyArchitectureParams, build_conv


class TaggedParams(ToyArchitectureParams):
    tag: str = ""


def build(params, input_shape, n_outputs):
    print("é漢🎉", params.tag)
    if params.tag.startswith("no"):
        raise scalelab.InputError(params.tag)
    return build_conv(params, input_shape, n_outputs)


@scalelab.hookimpl
def scalelab_architectures():
    return [scalelab.Architecture(name="tagged", summary="漢字 é", build=build, params=TaggedParams)]
"""
ASCII = {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}


@pytest.fixture
def command(tmp_path: Path):
    """Runs scalelab in a folder whose files are named like modules, with a plugin that needs PYTHONPATH."""
    write_toy_plugin(tmp_path / "plugins")
    (tmp_path / "plugins" / "tagged.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "beside.py").write_text("")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "loc.toml").write_text(STUDY, encoding="utf-8")
    for name in ("json", "random", "torch", "pydantic", "duckdb"):
        (folder / f"{name}.py").write_text("raise SystemExit('a file of the working folder was imported')")
    path = os.pathsep.join([str(tmp_path / "path"), *filter(None, sys.path)])

    def run(
        *arguments: str | bytes, cwd: Path = folder, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        # -P, as the installed command has no working folder in its path either.
        return subprocess.run(
            [sys.executable, "-P", "-m", "scalelab.cli", *arguments],
            env={**os.environ, **variables, "PYTHONPATH": path},
            cwd=cwd,
            capture_output=True,
            check=False,
            timeout=300,
        )

    run.folder = folder
    return run


def test_a_study_runs_in_a_locale_without_unicode_and_beside_files_named_like_modules(command):
    plugins = ("--plugins-dir", "../plugins")
    ran = command("run", "loc.toml", "--store", "s.duckdb", *plugins, PYTHONIOENCODING="latin-1", **ASCII)
    assert (ran.returncode, b"Traceback" in ran.stderr) == (1, False), ran.stderr
    assert rb"no \u6f22" + "é".encode("latin-1") + rb"\U0001f389" in ran.stdout, "as far as Latin-1 has it"
    store = open_store(command.folder / "s.duckdb")
    by_tag = {store.trial(key).architecture.params["tag"]: key for key in store.outcomes()}
    assert by_tag.keys() == {"ü漢🎉", "no 漢é🎉"}
    done = by_tag["ü漢🎉"]
    assert store.outcomes()[done].status == "done"
    log = command.folder / "s.duckdb.journal" / "logs" / f"{done}-1.txt"
    assert "é漢🎉 ü漢🎉\n" in log.read_text(encoding="utf-8")
    shown = command("status", "--store", "s.duckdb", "--json", **ASCII)
    assert json.loads(shown.stdout)["studies"][0]["study"] == "loc"


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        ((b"caf\xe9.toml",), {}),
        (("loc.toml", "--store", "é.duckdb"), ASCII),
        (("loc.toml",), {**ASCII, "SCALELAB_STORE": "é.duckdb"}),
    ],
)
def test_bytes_that_are_no_text_are_refused_in_a_line(command, arguments, variables):
    ran = command("run", *arguments, **variables)
    assert ran.returncode == 2
    (line,) = ran.stderr.decode("ascii").splitlines()
    assert line.startswith("error: ")
    assert "is not text in this locale's encoding" in line
    assert not list(command.folder.glob("*.duckdb*"))


def test_a_folder_that_the_locale_cannot_read_is_named(command):
    folder = command.folder / "é"
    folder.mkdir()
    ran = command("status", cwd=folder, **ASCII)
    assert ran.returncode == 2
    assert ran.stderr.startswith(b"error: working folder '")
