"""Bad input of every kind ends in one clear line and its exit code, and nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys

import pytest

import scalelab
from scalelab.testing import write_toy_plugin

GOOD = """
name = "toy"
seeds = [0]
[dataset]
name = "toy-blobs"
[[architecture]]
name = "toy-conv"
[[optimizer]]
name = "toy-sgd"
[training]
length = { steps = 2 }
batch_size = 8
validations = 1
"""
EMPTY_DATASET = """
import numpy as np
import scalelab

def open_empty(params):
    none = scalelab.Split(np.zeros((0, 1, 8), "float32"), np.zeros(0, "int64"))
    task = scalelab.Task(input_shape=(1, 8), n_outputs=2)
    return scalelab.OpenDataset(task=task, train=none, validation=none, fingerprint="none")

@scalelab.hookimpl
def scalelab_datasets():
    return [scalelab.Dataset(name="empty", summary="Nothing", open=open_empty)]
"""


@pytest.fixture
def plugins(tmp_path):
    folder = tmp_path / "plugins"
    folder.mkdir()
    write_toy_plugin(folder)
    (folder / "empty.py").write_text(EMPTY_DATASET)
    return folder


@pytest.fixture
def run(scalelab_command, tmp_path, plugins):
    def call(text: str | bytes, *more: object, store=None):
        study = tmp_path / "study.toml"
        study.write_bytes(text if isinstance(text, bytes) else text.encode())
        options = ("--store", store or tmp_path / "store.duckdb", "--plugins-dir", plugins, "--workers", 0)
        return scalelab_command("run", study, *options, *more)

    return call


def one_line_error(answer, code: int) -> str:
    """Asserts that a command ended in one clear line and returns it."""
    lines = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert answer.code == code, answer
    assert len(lines) == 1, answer
    assert "Traceback" not in answer.err
    return lines[0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "toy"', "name = ", "line 2"),
        ('"toy-conv"', '"toy-cnov"', "did you mean 'toy-conv'"),
        ('"toy-blobs"', '"toy-blob"', "did you mean 'toy-blobs'"),
        ("steps = 2", "steps = -2", "training.length.steps = -2"),
        ("batch_size = 8", "batch_sise = 8", "did you mean 'batch_size'"),
        ("seeds = [0]", "seeds = []", "seeds"),
        ("seeds = [0]", "seeds = [0, -1]", "seeds"),
        ('"toy-blobs"', '"empty"', "no train examples"),
        ('"toy-blobs"', '"mitbih"\noptions = { path = "no/such/folder" }', "no/such/folder"),
        ("[training]", "[data]\nsizes = [1000000]\n[training]", "data.sizes[0] = 1000000"),
        ("batch_size = 8", "batch_size = inf", "training.batch_size"),
    ],
)
def test_a_study_that_is_wrong(run, tmp_path, old, new, words):
    assert old in GOOD
    line = one_line_error(run(GOOD.replace(old, new, 1)), 2)
    assert words in line
    assert "study.toml" in line
    assert not (tmp_path / "store.duckdb.journal" / "new").exists()


def test_a_space_that_no_point_satisfies(run):
    space = 'space = { width = { type = "int", low = 2, high = 8 } }\nconstraints = ["width > 100"]\n'
    space += "[[optimizer]]"
    line = one_line_error(run(GOOD.replace("[[optimizer]]", space, 1)), 2)
    assert "width > 100" in line


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"\x00" * 100])
def test_a_study_that_is_no_text(run, content):
    one_line_error(run(content), 2)


def test_a_study_that_is_not_there(scalelab_command, tmp_path):
    assert "nothing.toml" in one_line_error(scalelab_command("run", tmp_path / "nothing.toml"), 2)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cdua"])
def test_a_device_that_is_not_there(run, tmp_path, device):
    assert device in one_line_error(run(GOOD, "--device", device), 2)
    assert not (tmp_path / "store.duckdb").exists()


def test_a_plugins_folder_that_is_not_there(scalelab_command, tmp_path):
    answer = scalelab_command("plugins", "--plugins-dir", tmp_path / "none")
    assert "none" in one_line_error(answer, 2)


@pytest.mark.parametrize(
    "words",
    [
        ("plugins", "--plugins-dir"),
        ("run", "toy.toml", "--plugins-dir"),
        ("export",),
        ("import",),
    ],
)
def test_a_path_that_is_too_long(scalelab_command, words):
    assert "File name too long" in one_line_error(scalelab_command(*words, "n" * 300), 2)


def test_an_error_is_printable_whatever_it_quotes(scalelab_command, tmp_path):
    (tmp_path / "t.csv").write_text("n_params,loss,a\x1b[31m\n1,2,3\n")
    answer = scalelab_command(
        "import", tmp_path / "t.csv", "--map", 'loss="', "--store", tmp_path / "s.duckdb"
    )
    assert one_line_error(answer, 2).isprintable()


def test_an_option_that_does_not_exist(scalelab_command):
    answer = scalelab_command("run", "--worker", "2")
    assert answer.code == 2
    assert "--workers" in answer.err


@pytest.mark.parametrize("content", [b"this is no database", b"", b"\x00" * 5000])
def test_a_store_that_is_no_database(run, scalelab_command, tmp_path, content):
    store = tmp_path / "bad.duckdb"
    store.write_bytes(content)
    for answer in (
        run(GOOD, store=store),
        scalelab_command("status", "--store", store),
        scalelab_command("analyze", "--store", store),
    ):
        assert "bad.duckdb" in one_line_error(answer, 3)
    assert store.read_bytes() == content


def test_a_store_that_is_not_there(scalelab_command, tmp_path):
    assert "scalelab run" in one_line_error(scalelab_command("status", "--store", tmp_path / "no.duckdb"), 3)


def test_a_store_that_is_a_folder(run, tmp_path):
    one_line_error(run(GOOD, store=tmp_path), 3)


def test_a_store_of_a_newer_scalelab(run, scalelab_command, tmp_path):
    store = tmp_path / "store.duckdb"
    assert run(GOOD).code == 0
    import duckdb

    with duckdb.connect(str(store)) as connection:
        connection.execute("update scalelab_schema set version = version + 1")
    before = store.read_bytes()
    line = one_line_error(scalelab_command("status", "--store", store), 3)
    assert "pip install" in line
    assert store.read_bytes() == before


def test_a_full_disk_while_writing_a_record_loses_nothing(run, monkeypatch, tmp_path):
    """The second record does not fit; the first stays, and the run goes on where it stopped."""
    study = GOOD.replace("seeds = [0]", "seeds = [0, 1, 2]")
    real, calls = os.link, []

    def link(*arguments, **options):
        if os.path.basename(os.path.dirname(arguments[1])) == "new":
            calls.append(arguments)
        if len(calls) == 3:  # the registration, and two records
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **options)

    monkeypatch.setattr(os, "link", link)
    line = one_line_error(run(study), 3)
    assert "disk full" in line
    monkeypatch.undo()
    store = scalelab.open_store(tmp_path / "store.duckdb")
    kept = len(store.runs("toy"))
    assert kept >= 1


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root to mount a tiny disk")
def test_a_disk_that_is_really_full(tmp_path, plugins):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=False)
    if mounted.returncode:
        pytest.skip("a tiny disk cannot be mounted here")
    try:
        study = tmp_path / "study.toml"
        study.write_text(GOOD)
        command = [sys.executable, "-m", "scalelab.cli", "run", study, "--store", disk / "store.duckdb"]
        done = subprocess.run(
            [*command, "--plugins-dir", plugins], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 3, done.stderr
        assert "Traceback" not in done.stderr
        assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["analyze", "--nonsense"], "No such option: --nonsense"),
        (["analyze", "--charge", "x" * 5000], "'--charge'"),
        (["nothing"], "No such command 'nothing'; see scalelab -h"),
        (["run", "s.toml", "--workers", "many"], "'--workers'"),
        (["store", "merge"], "see scalelab store merge -h"),
    ],
    ids=["option", "choice", "command", "number", "group"],
)
def test_a_wrong_command_line_is_one_line(scalelab_command, arguments, words):
    answer = scalelab_command(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert len(line) < 1500


@pytest.mark.parametrize("arguments", [[], ["store"]], ids=["whole", "group"])
def test_a_command_of_commands_alone_shows_them(scalelab_command, arguments):
    answer = scalelab_command(*arguments)
    assert answer.code == 2
    assert "Usage: scalelab" in answer.err
    assert "error" not in answer.err.splitlines()[0]


@pytest.mark.parametrize(
    "command",
    [
        ("status", "--store", "~nobody-of-that-name/store.duckdb"),
        ("data", "inspect", "mitbih", "--folder", "~nobody-of-that-name/mitdb"),
        ("plugins", "--plugins-dir", "~nobody-of-that-name/plugins"),
    ],
    ids=" ".join,
)
def test_a_home_of_nobody_is_one_line(scalelab_command, command):
    answer = scalelab_command(*command)
    assert answer.code == 2
    assert answer.err.splitlines() == [
        f"error: {command[-1]}: no home folder is known for ~nobody-of-that-name; write the folder out"
    ]
