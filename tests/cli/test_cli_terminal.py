"""What a terminal of 80 columns shows: no word is broken, no line runs over its edge."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.report.parts import Table
from scalelab.report.terminal import column_widths, show, tell, wrapped

ROOT = Path(__file__).parents[2]
WIDTH = 80
STUDY = """
name = "a-study-of-a-script-with-a-name-as-long-as-this"

[command]
version = 1
run = ["true", "{n_params}", "{learning_rate}", "{n_examples}", "{kernel_size_of_the_stem}"]

[command.space]
n_params = [1000000, 100000000]
n_examples = [1000000]
learning_rate = [0.0001, 0.001]
kernel_size_of_the_stem = ["twenty-one-samples", "thirty-one-samples"]
"""


def seen_on_a_terminal(*arguments: object) -> str:
    """What `scalelab ARGUMENTS` writes to a terminal of 80 columns, without colors and cursor moves."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(WIDTH), "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "scalelab.cli", *map(str, arguments)]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        written = b""
        try:
            while more := os.read(master, 65536):
                written += more
        except OSError:  # how Linux says that the other side is closed
            pass
        os.close(master)
    assert process.returncode == 0, written.decode()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.decode()).replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["plugins"],
        ["plugins", "--verbose"],
        ["analyze", "--no-trees"],
        ["store", "check"],
        ["store", "sql", "select columns('study|n_.*|training_.*') from runs limit 2"],
        ["store", "sql", "select study, trial_id, dataset, architecture, n_params, loss from runs limit 2"],
        ["bench", "--list"],
    ],
    ids=" ".join,
)
def test_the_committed_store_at_80_columns(command):
    store = [] if command[0] in ("plugins",) else ["--store", ROOT / "examples/mitbih-convnext.duckdb"]
    shown = seen_on_a_terminal(*command, *store)
    assert len(shown.splitlines()) >= 2
    for line in shown.splitlines():
        assert len(line.rstrip()) <= WIDTH or " " not in line.strip() or "next: " in line, line


def test_the_names_in_a_status_and_a_plan_are_whole(tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(STUDY, encoding="utf-8")
    planned = seen_on_a_terminal("plan", study, "--store", tmp_path / "store.duckdb")
    for word in ("n_params=1000000", "kernel_size_of_the_stem=twenty-one-samples", "learning_rate=0.0001"):
        assert word in planned
    assert max(map(len, planned.splitlines())) <= WIDTH
    names = seen_on_a_terminal("status", "--store", ROOT / "examples/mitbih-convnext.duckdb").split()
    assert {"study", "mitbih-convnext", "planned", "done", "failed", "pending"} <= set(names)


def test_a_plan_of_trained_trials_has_one_line_for_each(tmp_path):
    """No cell is wrapped, the estimated times neither."""
    shown = seen_on_a_terminal("plan", "--store", tmp_path / "store.duckdb").splitlines()
    rows = [line for line in shown if line.startswith("convnext1d(")]
    assert len(rows) == 25
    assert all(re.search(r" \d+(?:\.\d+)? to [\d.,]+ s\b", line) for line in rows)
    assert not [line for line in shown if re.fullmatch(r"\s+\S+\s*", line)]


cells = st.text(alphabet="ab -", max_size=30)


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=4), st.integers(8, 60))
def test_columns_fit_their_width_and_their_longest_word(rows, width):
    table = Table("", ("one", "two", "a third"), tuple(rows))
    widths = column_widths(table, width, gap=3)
    longest = [max(len(word) for cell in column for word in (cell.split() or [""]))
               for column in zip(table.columns, *rows, strict=True)]  # fmt: skip
    if widths is None:
        assert sum(longest) + 6 > width
    else:
        assert sum(widths) + 6 <= width
        assert all(wide >= word for wide, word in zip(widths, longest, strict=True))


@given(st.text(alphabet="ab -", max_size=200), st.integers(5, 40))
def test_wrapping_keeps_every_word(text, width):
    lines = wrapped(text, width)
    assert lines.split() == text.split()
    assert all(len(line) <= width or " " not in line.strip() for line in lines.splitlines())


def test_a_table_that_does_not_fit_is_stacked(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "29")
    show(Table("", ("a column", "another one"), (("x" * 20, "a long text of many words here"),)), plain=False)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert shown.splitlines()[:2] == ["a column     xxxxxxxxxxxxxxxxxxxx", "another one  a long text of"]


def test_a_command_to_copy_stays_on_one_line(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    command = "next: scalelab analyze --store somewhere/else.duckdb"
    tell(f"all twelve trials of the study are done; {command}")
    assert capsys.readouterr().out.splitlines() == ["all twelve trials of the study", "are done;", command]
