"""`scalelab plugins` prints what the catalog holds."""

import json

import pytest
from typer.testing import CliRunner

from scalelab import testing
from scalelab.cli.app import app


@pytest.fixture
def output(tmp_path, monkeypatch):
    """Runs the command with the toys as the only plugin; returns its standard output."""
    testing.write_toy_plugin(tmp_path)
    (tmp_path / "bad.py").write_text("raise ValueError('no')\n")
    monkeypatch.setenv("SCALELAB_PLUGINS", "toys,bad")

    def run(*options):
        result = CliRunner().invoke(app, ["plugins", "--plugins-dir", str(tmp_path), *options])
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_table_has_a_row_a_plugin(output):
    lines = output().splitlines()
    toys = next(line for line in lines if line.startswith("toys"))
    assert "file" in toys
    assert "dataset toy-blobs; architecture toy-conv; optimizer toy-sgd; backend toy-eager" in toys
    assert toys.endswith("healthy")
    assert next(line for line in lines if line.startswith("convnext1d")).endswith("blocked")
    assert next(line for line in lines if line.startswith("bad ")).endswith("broken")
    assert any(line.startswith("bad: importing it raised ValueError: no") for line in lines)


def test_verbose_prints_options_as_a_study_gives_them(output):
    text = output("--verbose")
    assert "dataset toy-blobs: Two classes of a blob in noise; synthetic, for tests" in text
    assert "  noise = 0.5  (float, >= 0, <= 10): standard deviation of the noise; a blob is 1 high" in text
    assert "backend toy-eager: Eager PyTorch on the CPU; for tests\n" in text


def test_json_holds_all_of_it(output):
    document = json.loads(output("--json"))
    assert document["select"] == "toys,bad"
    status = {plugin["name"]: plugin["status"] for plugin in document["plugins"]}
    assert (status["toys"], status["bad"], status["mitbih"]) == ("healthy", "broken", "blocked")
    components = {component["name"]: component for component in document["components"]}
    assert components["toy-sgd"]["provenance"]["plugin"] == "toys"
    lr = components["toy-sgd"]["options"][0]
    assert lr == {
        "name": "lr", "type": "float", "required": False, "default": 0.1,
        "bounds": "> 0, <= 10", "help": "peak learning rate",
    }  # fmt: skip


def test_missing_folder_is_one_line(tmp_path):
    result = CliRunner().invoke(app, ["plugins", "--plugins-dir", str(tmp_path / "absent")])
    assert "no such folder" in str(result.exception)
    assert result.exception.exit_code == 2
