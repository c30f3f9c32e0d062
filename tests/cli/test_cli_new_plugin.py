"""`scalelab new-plugin` writes distributions that install, and whose contract tests pass as they are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib

import pytest

from scalelab.plugins import KINDS, load_plugins
from scalelab.plugins.scaffold import write_plugin

NAMES = {kind: f"my-own-{kind}" for kind in KINDS}


@pytest.fixture(scope="module")
def scaffolds(tmp_path_factory):
    """The folders of one new plugin of each kind."""
    folder = tmp_path_factory.mktemp("new")
    catalog = load_plugins(select="optimizers")
    return {kind: write_plugin(name, kind, folder / "deep", catalog) for kind, name in NAMES.items()}


def run_pytest(folder, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_contracts_pass_unchanged(scaffolds):
    sources = os.pathsep.join(str(folder / "src") for folder in scaffolds.values())
    root = next(iter(scaffolds.values())).parent
    result = run_pytest(root, "--import-mode=importlib", "-vv", ".", PYTHONPATH=sources)
    assert result.returncode == 0, result.stdout[-3000:]
    assert "SKIPPED" not in result.stdout
    passed = re.findall(r"^(scalelab-my-own-\w+)/tests/\S+::test_\w+ PASSED", result.stdout, re.MULTILINE)
    for kind, folder in scaffolds.items():
        assert passed.count(folder.name) >= 8, kind


def test_tests_run_where_they_lie(scaffolds):
    """The scaffold's own pytest settings find the plugin without installing it."""
    result = run_pytest(scaffolds["law"])
    assert result.returncode == 0, result.stdout[-3000:]
    assert "10 passed" in result.stdout


def test_pip_installs_them_and_scalelab_finds_them(scaffolds, tmp_path):
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-build-isolation",
        "--no-deps",
    ]
    folders = map(str, scaffolds.values())
    subprocess.run([*pip, "--target", tmp_path, *folders], check=True, capture_output=True, timeout=200)
    result = subprocess.run(
        [sys.executable, "-m", "scalelab.cli", "plugins", "--json"],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "SCALELAB_PLUGINS": ",".join(NAMES.values())},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    found = {plugin["name"]: plugin for plugin in document["plugins"] if plugin["status"] != "blocked"}
    assert {name: plugin["status"] for name, plugin in found.items()} == dict.fromkeys(
        NAMES.values(), "healthy"
    )
    for kind, name in NAMES.items():
        assert found[name]["components"] == {kind: [name]}
        assert found[name]["distribution"] == f"scalelab-{name}"


@pytest.mark.parametrize("kind", ["architecture", "dataset", "optimizer", "trainer"])
def test_study_of_the_readme_is_valid(scaffolds, kind, tmp_path):
    from scalelab.study import load_study
    from scalelab.study.resolve import resolve

    readme = (scaffolds[kind] / "README.md").read_text(encoding="utf-8")
    (tmp_path / "study.toml").write_text(re.search(r"```toml\n(.*?)```", readme, re.DOTALL)[1])
    catalog = load_plugins(plugins_dirs=[scaffolds[kind] / "src"])
    resolved = resolve(load_study(tmp_path / "study.toml", catalog), catalog)
    parts = {
        "dataset": resolved.dataset.component.name,
        "architecture": resolved.architectures[0].component.name,
        "optimizer": resolved.optimizers[0].component.name,
        "trainer": resolved.trainer.component.name if resolved.trainer else None,
    }
    assert parts[kind] == NAMES[kind]


def test_one_line_says_what_to_do_next(scalelab_command, tmp_path):
    answer = scalelab_command("new-plugin", "wavelet-net", "--kind", "architecture", "--to", tmp_path)
    folder = tmp_path / "scalelab-wavelet-net"
    assert answer.code == 0
    assert answer.out == f"wrote {folder}; next: cd {folder} && pip install -e '.[test]' && pytest\n"
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == [
        "README.md",
        "pyproject.toml",
        "src/scalelab_wavelet_net.py",
        "tests/test_scalelab_wavelet_net.py",
    ]
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["scalelab"] == {"wavelet-net": "scalelab_wavelet_net"}
    assert "class WaveletNetParams(" in (folder / "src/scalelab_wavelet_net.py").read_text(encoding="utf-8")
    assert not any("$" in path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file())


def test_prefix_is_not_doubled_and_here_is_the_default(scalelab_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = scalelab_command("new-plugin", "scalelab-beats", "--kind", "dataset")
    assert answer.out.startswith("wrote scalelab-beats; next: cd scalelab-beats && ")
    assert (tmp_path / "scalelab-beats/src/scalelab_beats.py").is_file()


def test_existing_folder_is_left_alone(scalelab_command, tmp_path):
    folder = tmp_path / "scalelab-mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    answer = scalelab_command("new-plugin", "mine", "--kind", "law", "--to", tmp_path)
    assert answer.code == 2
    assert f"{folder} already exists, and nothing was changed" in answer.err
    assert [path.name for path in tmp_path.rglob("*")] == ["scalelab-mine", "notes.txt"]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("Wavelet", "architecture", "'Wavelet' cannot be a plugin's name: use lower-case letters"),
        ("my_net", "architecture", "'my_net' cannot be a plugin's name"),
        ("../escape", "architecture", "cannot be a plugin's name"),
        ("a" * 51, "architecture", "at most 50"),
        ("net--two", "architecture", "cannot be a plugin's name"),
        ("2net", "architecture", "cannot be a plugin's name"),
        ("", "architecture", "'' cannot be a plugin's name"),
        ("näht", "architecture", "cannot be a plugin's name"),
        ("net", "architectur", "--kind 'architectur': must be one of 'dataset', 'architecture'"),
        ("net", "architectur", "did you mean 'architecture'?"),
        ("adamw", "optimizer", "optimizer 'adamw' (of plugin optimizers) already exists"),
        ("optimizers", "law", "plugin 'optimizers' already exists"),
    ],
)
def test_bad_input_is_one_line(scalelab_command, tmp_path, name, kind, words):
    answer = scalelab_command("new-plugin", "--kind", kind, "--to", tmp_path, "--", name)
    assert answer.code == 2
    assert words in answer.err
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_place_that_cannot_be_written_is_one_line(scalelab_command, tmp_path):
    (tmp_path / "file").write_text("")
    answer = scalelab_command("new-plugin", "net", "--kind", "dataset", "--to", tmp_path / "file")
    assert answer.code == 2
    assert "cannot be written" in answer.err
    assert answer.err.count("\n") == 1


def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch):
    from pathlib import Path

    from scalelab.errors import InputError

    def full(self, *_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_plugin("net", "dataset", tmp_path, load_plugins(select="optimizers"))
    assert list(tmp_path.iterdir()) == []
