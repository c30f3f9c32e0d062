"""Runs are chosen out of a study's own space, written as a study, and made in a loop."""

from __future__ import annotations

import pandas as pd
import pytest

import scalelab
from scalelab.errors import FitError, InputError, StudyError
from scalelab.propose.next import considered, next_name, study_of_run
from scalelab.study import parse_study
from scalelab.study.command import expand_command

SCRIPT = """
import json, random, sys
n, d, seed = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
random.seed(f"{n} {d} {seed}")
loss = 1.2 + 60 * n**-0.4 + 30 * d**-0.38
print(json.dumps({"step": 1, "loss": loss * (1 + 0.005 * random.gauss(0, 1))}))
"""
STUDY = """
name = "sim"

[command]
run = ["{python}", "train.py", "{n}", "{d}", "{seed}"]
files = ["train.py"]
axes = { n_params = "n", n_examples = "d" }
space = { n = [10000, 30000, 100000, 300000], d = [1000, 3000, 10000, 30000] }
"""
TARGET = {"n_params": "1e6", "n_examples": 1e5}


@pytest.fixture
def study(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    path = tmp_path / "sim.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


@pytest.fixture
def runs():
    table = pd.DataFrame({"n_params": [1e4, 3e4, 1e5, 3e5] * 4})
    table["n_examples"] = [1e3] * 4 + [3e3] * 4 + [1e4] * 4 + [3e4] * 4
    table["loss"] = 1.2 + 60 * table["n_params"] ** -0.4 + 30 * table["n_examples"] ** -0.38
    table["loss"] *= 1 + 0.004 * pd.Series([1, -1, 0.5, -0.5] * 4)
    return table


def test_before_any_run_the_cheapest_open_the_study(study, tmp_path):
    found = scalelab.next_runs(study, tmp_path / "s.duckdb", 1e12, target=TARGET, most=5)
    assert found.n_candidates == 32
    assert [one.train_flops for one in found.runs] == sorted(one.train_flops for one in found.runs)
    assert found.runs[0].at == {"n_params": 1e4, "n_examples": 1e3}
    assert found.width is None
    assert found.known[0].refusal


def test_the_first_run_is_written_with_the_id_that_it_has_in_its_study(study, tmp_path):
    found = scalelab.next_runs(study, tmp_path / "s.duckdb", 1e12, target=TARGET, most=1)
    written = tmp_path / "next.toml"
    scalelab.write_next(found, study, written)
    one = parse_study(written.read_text(encoding="utf-8"), written)
    own = {trial.id for trial in expand_command(scalelab.load_study(study)).trials}
    assert [trial.id for trial in expand_command(one).trials] == [found.runs[0].trial]
    assert found.runs[0].trial in own
    assert one.name == "sim-next"
    with pytest.raises(InputError, match="exists"):
        scalelab.write_next(found, study, written)


def test_the_loop_makes_runs_within_the_budget(study, tmp_path):
    store = tmp_path / "s.duckdb"
    budget = 6e8
    steps = list(scalelab.make_next(study, store, budget, target=TARGET))
    assert steps
    assert steps[-1].spent <= budget
    assert steps[-1].spent == pytest.approx(sum(one.run.train_flops for one in steps))
    rest = scalelab.next_runs(study, store, budget, target=TARGET)
    made = {one.run.trial for one in steps}
    assert rest.known[0].n_runs == len(steps)
    assert not made & {one.trial for one in rest.runs}


def test_a_table_of_candidates_is_chosen_from_for_an_imported_study(runs, tmp_path):
    table, store = tmp_path / "table.csv", tmp_path / "s.duckdb"
    runs.to_csv(table, index=False)
    scalelab.import_runs(table, store)
    more = tmp_path / "more.csv"
    pool = pd.DataFrame({"n_params": [1e4, 1e5, 1e6, 3e6], "n_examples": [1e5, 1e4, 1e5, 3e4]})
    pool.assign(train_flops=6 * pool["n_params"] * pool["n_examples"]).to_csv(more, index=False)
    asked = {"target": {"n_params": 1e7, "n_examples": 1e6}, "candidates": more}
    found = scalelab.next_runs("table", store, 1e13, **asked)
    assert found.n_candidates == 4
    assert found.runs
    assert {one.row for one in found.runs} <= {0, 1, 2, 3}
    widths = [found.width, *(one.width for one in found.runs)]
    assert widths == sorted(widths, reverse=True)
    with pytest.raises(InputError, match="no study that could train"):
        scalelab.write_next(found, "table", tmp_path / "next.toml")
    narrow = scalelab.next_runs("table", store, 1e13, stop_width=5.0, **asked)
    assert narrow.reached
    assert not narrow.runs
    pool.to_csv(more, index=False)
    with pytest.raises(InputError, match="train_flops"):
        scalelab.next_runs("table", store, 1e13, **asked)


def test_the_split_of_compute_is_a_question_too(runs, tmp_path):
    table, store = tmp_path / "table.csv", tmp_path / "s.duckdb"
    runs.to_csv(table, index=False)
    scalelab.import_runs(table, store)
    pool = pd.DataFrame({"n_params": [1e4, 1e6], "n_examples": [1e5, 1e3], "train_flops": [6e9, 6e9]})
    found = scalelab.next_runs("table", store, 1e13, question="allocation", candidates=pool)
    assert found.runs


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "either a target"),
        ({"target": TARGET, "question": "allocation"}, "either a target"),
        ({"question": "what"}, "must be allocation, or compare:A,B"),
        ({"question": "compare:a,b"}, "a is not there"),
        ({"target": TARGET, "stop_width": -1.0}, "width to stop at"),
        ({"target": {"width": 3}}, "no width"),
        ({"question": "allocation", "law": "chinchilla"}, "--law goes with a target"),
        ({"target": TARGET, "dataset": "other"}, "no candidate"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(study, tmp_path, asked, says):
    with pytest.raises(InputError, match=says):
        scalelab.next_runs(study, tmp_path / "s.duckdb", 1e12, **asked)


def test_a_budget_of_nothing_is_refused(study, tmp_path):
    with pytest.raises(InputError, match="budget"):
        scalelab.next_runs(study, tmp_path / "s.duckdb", 0, target=TARGET)


def test_a_fixed_ratio_is_refused(study, tmp_path):
    study.write_text(STUDY.replace("d = [1000, 3000, 10000, 30000]", "d = [1000]"), encoding="utf-8")
    with pytest.raises(FitError, match="same n_examples"):
        scalelab.next_runs(study, tmp_path / "s.duckdb", 1e12, target=TARGET)


def test_draws_go_on_and_a_seed_is_added():
    text = STUDY.replace("[1000, 3000, 10000, 30000]", '{ type = "int", low = 1000, high = 30000 }')
    study = parse_study(text + '\n[sampling]\nmethod = "sobol"\nn = 8\n', "sim")
    wide = considered(study)
    assert wide.sampling.n == 32
    assert wide.seeds == (0, 1)
    assert study.seeds == (0,)
    assert next_name("a") == "a-next" == next_name("a-next")
    assert len(next_name("a" * 100)) == 100


def test_a_run_that_is_no_study_of_its_own_is_refused(study, tmp_path, monkeypatch):
    loaded = scalelab.load_study(study)
    trial = expand_command(loaded).trials[0]
    other = trial.model_copy(update={"seed": 7, "n_examples": 5})
    with pytest.raises(StudyError, match="depends on the rest"):
        study_of_run(other, loaded, tmp_path / "next.toml", scalelab.load_plugins(select=""))
