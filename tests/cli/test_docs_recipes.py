"""docs/importing-recipes.md: files of tools whose layouts are published, imported as the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import duckdb
import pytest

import scalelab

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "importing-recipes.md").read_text(encoding="utf-8")
ELSE = PAGE.split("\n# Anything else\n")[1]
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", ELSE, re.MULTILINE | re.DOTALL))
FILES = {"lm-eval": "evaluations.json", "Aim": "aim.csv", "Marin": "marin.jsonl"}
TABLE, CHART = "A table of runs of Weights & Biases", "A chart of Weights & Biases"


def block(section: str, language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", SECTIONS[section], re.DOTALL)
    return found


def test_every_recipe_is_run():
    assert set(SECTIONS) == {*FILES, "Neptune", TABLE, CHART}


@pytest.mark.parametrize("section", FILES)
def test_the_files_of_the_page_are_imported(tmp_path, monkeypatch, scalelab_command, section):
    monkeypatch.chdir(tmp_path)
    name = FILES[section]
    Path(name).write_text(block(section, "csv" if name.endswith("csv") else "json"), encoding="utf-8")
    answer = scalelab_command(*shlex.split(block(section, "sh"))[1:])
    assert answer.code == 0, answer.err
    assert not answer.err
    runs = scalelab.open_store("experiments.duckdb").runs().sort_values("n_params")
    assert len(runs) == (2 if section == "Aim" else 3)
    assert set(runs["status"]) == {"done"}
    assert list(runs["loss"]) == sorted(runs["loss"], reverse=True)


def test_a_table_of_runs_of_wandb_has_states(tmp_path, monkeypatch, scalelab_command):
    monkeypatch.chdir(tmp_path)
    Path("runs.csv").write_text(block(TABLE, "csv"), encoding="utf-8")
    answer = scalelab_command(*shlex.split(block(TABLE, "sh"))[1:])
    assert answer.code == 0, answer.err
    assert "a table of runs of Weights & Biases: 4 of 4 runs" in answer.out
    runs = scalelab.open_store("experiments.duckdb").runs().sort_values("wall_seconds")
    assert runs["status"].tolist() == ["failed", "done", "done", "done"]
    assert runs["loss"].tolist()[1:] == [3.9, 3.2, 2.7]
    assert set(runs["architecture_lr"]) == {0.01}


def test_a_chart_of_wandb_is_joined_with_its_table_of_runs(tmp_path, monkeypatch, scalelab_command):
    monkeypatch.chdir(tmp_path)
    tables = re.findall(r"```csv\n(.*?)```", SECTIONS[CHART], re.DOTALL)
    for name, table in zip(("chart.csv", "finished.csv"), tables, strict=True):
        Path(name).write_text(table, encoding="utf-8")
    answer = scalelab_command(*shlex.split(block(CHART, "sh"))[1:])
    assert answer.code == 0, answer.err
    store = scalelab.open_store("experiments.duckdb")
    runs = store.runs().sort_values("n_params")
    assert runs[["n_params", "loss"]].to_numpy().tolist() == [[1e6, 3.8], [4e6, 3.2], [1.6e7, 2.6]]
    assert set(runs["status"]) == {"done"}
    assert sorted(store.curves()["loss"]) == [2.6, 2.7, 3.2, 3.3, 3.6, 3.8, 3.9, 3.9, 4.4]


def test_the_reports_of_aim_are_curves(tmp_path, monkeypatch, scalelab_command):
    monkeypatch.chdir(tmp_path)
    Path("aim.csv").write_text(block("Aim", "csv"), encoding="utf-8")
    scalelab_command(*shlex.split(block("Aim", "sh"))[1:])
    assert scalelab.open_store("experiments.duckdb").curves()["loss"].tolist() == [4.1, 3.4, 3.8, 2.9]


def test_the_parquet_of_neptune_becomes_a_row_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("exports/data/my-project")
    folder.mkdir(parents=True)
    columns = "run_id, attribute_path, attribute_type, step, int_value, float_value, string_value, bool_value"
    rows = [
        f"('R-{n}', '{path}', '{kind}', {step}, {whole}, {real}, {text}, {truth})"
        for n in (1, 2, 3)
        for path, kind, step, whole, real, text, truth in (
            ("metrics/val/loss", "float_series", "1.0", "null", 5.0, "null", "null"),
            ("metrics/val/loss", "float_series", "2.0", "null", 4.0 - n / 2, "null", "null"),
            ("params/n_params", "int", "null", 10**n, "null", "null", "null"),
            ("params/act", "string", "null", "null", "null", "'gelu'", "null"),
            ("sys/failed", "bool", "null", "null", "null", "null", "true" if n == 3 else "false"),
        )
    ]
    duckdb.sql(f"from (values {', '.join(rows)}) as t({columns})").write_parquet(
        str(folder / "part_0.parquet")
    )
    exec(block("Neptune", "python"), {})
    runs = scalelab.open_store("runs.duckdb").runs("neptune").sort_values("n_params")
    assert runs["status"].tolist() == ["done", "done", "failed"]
    assert runs["loss"].tolist()[:2] == [3.5, 3.0]
    assert set(runs["feature_params_act"]) == {"gelu"}
