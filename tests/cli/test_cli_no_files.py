"""Paths that name no regular file are refused in one line, and nothing waits for them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMANDS = {
    "run": ["run", "{path}.toml"],
    "plan": ["plan", "{path}.toml"],
    "import": ["import", "{path}.csv", "--store", "s.duckdb"],
    "import parquet": ["import", "{path}.parquet", "--store", "s.duckdb"],
    "import json": ["import", "{path}.jsonl", "--store", "s.duckdb"],
    "status": ["status", "--store", "{path}.duckdb"],
    "analyze": ["analyze", "--store", "{path}.duckdb"],
    "store check": ["store", "check", "--store", "{path}.duckdb"],
    "store rebuild": ["store", "rebuild", "--store", "{path}.duckdb"],
    "store migrate": ["store", "migrate", "--store", "{path}.duckdb"],
    "store sql": ["store", "sql", "select 1", "--store", "{path}.duckdb"],
    "export": ["export", "out", "--store", "{path}.duckdb"],
    "run's store": ["run", "--store", "{path}.duckdb"],
    "import's store": ["import", "table.csv", "--store", "{path}.duckdb"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fifos")
    for suffix in ("toml", "csv", "parquet", "jsonl", "duckdb"):
        os.mkfifo(folder / f"pipe.{suffix}")
    (folder / "table.csv").write_text("n_params,loss\n1,2\n", encoding="utf-8")
    return folder


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_is_refused_and_not_waited_for(folder, command):
    arguments = [word.format(path=folder / "pipe") for word in COMMANDS[command]]
    done = subprocess.run(
        [sys.executable, "-m", "scalelab.cli", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode in (2, 3), done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "pipe" in line.replace("pipe.", "")
