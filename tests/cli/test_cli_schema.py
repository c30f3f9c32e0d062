"""What `--json` prints is what its schema says; `scalelab_command` checks every document that it sees."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from scalelab.cli.schema import names, text

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "json.md").read_text("utf-8")
STORE = ROOT / "examples/mitbih-convnext.duckdb"
HARDWARE = ROOT / "examples" / "mitbih-hardware.duckdb"


@pytest.mark.parametrize("name", names())
def test_every_schema_is_one_and_is_documented(name):
    schema = json.loads(text(name))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == schema["properties"]["schema"]["const"] == f"scalelab/{name}/1"
    assert set(schema["required"]) <= set(schema["properties"])
    assert f"`scalelab/{name}/1`" in PAGE


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("status", ["status"]),
        ("plugins", ["plugins"]),
        ("analyze", ["analyze", "--no-trees"]),
        ("analyze", ["analyze", "--no-trees", "--where", "n_params > 1e6"]),
        ("predict", ["predict", "--at", "n_params=1e7"]),
        ("predict", ["predict", "--at", "n_params=1e7", "--at", "n_examples=1e5", "--optimizer", "sgd"]),
        ("reach", ["predict", "--reach", "0.06", "--axis", "n_params", "--axis", "train_flops"]),
        ("advise", ["advise", "--budget", "1e12"]),
        ("bench", ["bench", "--measured", "--store", HARDWARE]),
        ("bench-devices", ["bench", "--list"]),
        ("store-check", ["store", "check"]),
        ("store-sql", ["store", "sql", "select study, n_params, started_at from runs limit 2"]),
        ("error", ["analyze", "--study", "nobody"]),
        ("error", ["analyze", "--no-such-option"]),
        ("error", ["status", "--store", "nowhere.duckdb"]),
    ],
)
def test_a_command_prints_the_document_of_its_schema(name, command, scalelab_command):
    given = [] if "--store" in command or command[0] == "plugins" else ["--store", STORE]
    code, out, err = scalelab_command(*command, *given, "--json")
    document = json.loads(out)
    assert document["schema"] == f"scalelab/{name}/1"
    if name == "error":
        assert document["error"]["code"] == code > 0
        assert document["error"]["message"] in err
    else:
        assert code == 0


def test_the_command_prints_schemas(scalelab_command):
    assert scalelab_command("schema").out.split() == names()
    assert json.loads(scalelab_command("schema", "status").out)["$id"] == "scalelab/status/1"
    assert "did you mean 'status'" in scalelab_command("schema", "statu").err


def test_every_command_with_json_has_a_schema():
    """Each `print_json` names one."""
    used = set()
    for path in (ROOT / "scalelab" / "cli").glob("*.py"):
        used |= set(re.findall(r'print_json\(\s*"([a-z-]+)"', path.read_text("utf-8")))
    assert used == set(names())


STUDY = """
name = "scripted"

[command]
run = ["{python}", "train.py", "{n_params}"]

[command.space]
n_params = [1000, 2000]
"""


def test_what_changes_a_store_prints_documents_too(scalelab_command, tmp_path):
    """`scalelab_command` holds each against its schema."""
    study, table = tmp_path / "study.toml", tmp_path / "table.csv"
    study.write_text(STUDY, encoding="utf-8")
    (tmp_path / "train.py").write_text('print(\'{"step": 1, "loss": 0.5}\')\n', encoding="utf-8")
    table.write_text("n_params,loss\n10,1.0\n20,0.5\n", encoding="utf-8")
    one, other = tmp_path / "one.duckdb", tmp_path / "other.duckdb"

    def document(*command: object) -> dict:
        return json.loads(scalelab_command(*command, "--json").out)

    assert document("plan", study, "--store", one)["schema"] == "scalelab/plan/1"
    assert document("run", study, "--store", one, "--workers", 0)["schema"] == "scalelab/run/1"
    assert document("import", table, "--store", other)["n_runs"] == 2
    assert document("store", "merge", other, "--store", one)["schema"] == "scalelab/store-merge/1"
    assert document("store", "rebuild", "--store", one)["schema"] == "scalelab/store-rebuild/1"
    assert document("export", tmp_path / "out", "--store", one)["files"]
    assert document("import", "--remove", "table", "--store", one)["n_runs"] == 2
    assert document("store", "drop", "scripted", "--store", one, "--yes")["trials"] == 2
    assert document("status", "--store", one)["studies"] == []
