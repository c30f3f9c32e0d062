"""`scalelab next`: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json

import pytest

SCRIPT = """
import json, sys
n, d = float(sys.argv[1]), float(sys.argv[2])
print(json.dumps({"step": 1, "loss": 1.2 + 60 * n**-0.4 + 30 * d**-0.38}))
"""
STUDY = """
name = "sim"

[command]
run = ["{python}", "train.py", "{n}", "{d}"]
files = ["train.py"]
axes = { n_params = "n", n_examples = "d" }
space = { n = [10000, 30000, 100000], d = [1000, 3000, 10000] }
"""
TARGET = ("--target", "n_params=1e6,n_examples=1e5")


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    path = tmp_path / "sim.toml"
    path.write_text(STUDY, encoding="utf-8")
    return ("next", path, "--store", tmp_path / "s.duckdb", "--budget", "3e8")


def test_it_shows_what_is_known_and_what_to_run(scalelab_command, asked):
    code, out, err = scalelab_command(*asked, *TARGET, "--stop-width", "5%")
    assert code == 0, err
    assert "Now: the loss at n_params = 1e+06, n_examples = 100000" in out
    assert "there are no runs yet" in out
    assert "Runs to make, of 18 candidates" in out


def test_run_next_run_is_a_loop(scalelab_command, asked, tmp_path):
    written = tmp_path / "next.toml"
    code, out, _ = scalelab_command(*asked, *TARGET, "--most", 3, "--write", written)
    assert code == 0
    assert "next.toml has 3 runs and no other: 3e+08 FLOPs" in out
    assert scalelab_command("run", written, "--store", asked[3], "--workers", 0).code == 0
    document = json.loads(scalelab_command(*asked, *TARGET, "--json").out)
    assert document["next"]["known"][0]["n_runs"] == 3
    assert document["made"] == []


def test_a_budget_for_no_run_says_what_the_cheapest_takes(scalelab_command, asked):
    code, out, _ = scalelab_command(*asked[:-1], 1, *TARGET)
    assert code == 0
    assert "the budget has room for no candidate: the cheapest takes 6e+07 FLOPs" in out


def test_auto_makes_the_runs(scalelab_command, asked):
    code, out, err = scalelab_command(*asked, *TARGET, "--auto", "--workers", 0, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert 1 <= len(document["made"]) <= 3
    assert document["made"][-1]["spent"] <= 3e8


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--target", "n_params"), "--target 'n_params'"),
        ((*TARGET, "--question", "allocation"), "either a target"),
        ((*TARGET, "--stop-width", "wide"), "--stop-width"),
        ((*TARGET, "--stop-width", "5%%"), "--stop-width"),
        ((*TARGET, "--stop-width", "5"), "write 5%"),
        ((*TARGET, "--auto", "--write", "next.toml"), "--auto makes the runs itself"),
        ((*TARGET, "--candidates", "none.csv"), "none.csv"),
        ((*TARGET, "--candidates", "none.csv", "--write", "next.toml"), "--write needs a study"),
        (("--question", "compare:a,b"), "a is not there"),
    ],
)
def test_bad_input_ends_in_one_line(scalelab_command, asked, more, says):
    code, _, err = scalelab_command(*asked, *more)
    assert code == 2
    assert says in err
    assert len(err.strip().splitlines()) == 1
