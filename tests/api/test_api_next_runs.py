"""Runs are chosen out of a study's own space, written as a study, and made in a loop."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

import scalelab
from scalelab.analysis.estimate import Refusal
from scalelab.errors import FitError, InputError, StudyError
from scalelab.propose.next import considered, next_name, study_of_runs
from scalelab.store.answers import StoredStudy
from scalelab.study import expand, parse_study
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
NOBODY = "0" * 16


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


def test_the_runs_are_written_with_the_ids_that_they_have_in_their_study(study, tmp_path):
    found = scalelab.next_runs(study, tmp_path / "s.duckdb", 1e12, target=TARGET, most=6)
    written = tmp_path / "sub" / "next.toml"
    scalelab.write_next(found, study, written)
    batch = parse_study(written.read_text(encoding="utf-8"), written)
    own = {trial.id for trial in expand_command(considered(scalelab.load_study(study))).trials}
    planned = scalelab.plan_study(batch).trials
    assert [one.trial.id for one in planned] == [one.trial for one in found.runs]
    assert own.issuperset(one.trial for one in found.runs)
    # Sizes, data and seeds of the six are no product.
    axes = {key: {one.at[key] for one in found.runs} for key in found.runs[0].at}
    assert len(axes["n_params"]) * len(axes["n_examples"]) > len(
        {tuple(one.at.values()) for one in found.runs}
    )
    assert batch.name == "sim-next"
    with pytest.raises(InputError, match="exists"):
        scalelab.write_next(found, study, written)


def test_a_batch_of_drawn_runs_goes_back_and_forth(study, tmp_path):
    text = STUDY.replace("[1000, 3000, 10000, 30000]", '{ type = "int", low = 1000, high = 30000 }')
    study.write_text(text + '\n[sampling]\nmethod = "sobol"\nn = 8\n', encoding="utf-8")
    store = tmp_path / "s.duckdb"
    assert scalelab.run_study(study, store).done == 8
    asked = {"target": TARGET, "most": 4}
    found = scalelab.next_runs(study, store, 1e12, **asked)
    scalelab.write_next(found, study, tmp_path / "next.toml")
    assert scalelab.run_study(tmp_path / "next.toml", store).done == len(found.runs) > 1
    again = scalelab.next_runs(study, store, 1e12, **asked)
    assert again.known[0].n_runs == 8 + len(found.runs)
    assert not {one.trial for one in found.runs} & {one.trial for one in again.runs}
    done = scalelab.next_runs(tmp_path / "next.toml", store, 1e12, **asked)
    assert (done.n_candidates, done.runs) == (0, ())


RATES = """
import json, sys
n, d, lr = map(float, sys.argv[1:])
print(json.dumps({"step": 1, "loss": 1.2 + 60 * n**-0.4 + 30 * d**-0.38 + (0.3 if lr > 0.01 else 0)}))
"""


def test_a_setting_that_was_beaten_is_no_candidate_and_another_one_no_repeat(study, tmp_path):
    (tmp_path / "train.py").write_text(RATES, encoding="utf-8")
    text = STUDY.replace('"{seed}"', '"{lr}"').replace("[1000, 3000, 10000, 30000]", "[1000, 10000]")
    text = text.replace("n = [10000, 30000, ", "lr = [0.1, 0.01], n = [10000, ")
    study.write_text(text, encoding="utf-8")
    store = tmp_path / "s.duckdb"
    assert scalelab.run_study(study, store).done == 12
    settings = {
        one.id: one.architecture.params
        for one in expand_command(considered(scalelab.load_study(study))).trials
    }
    found = scalelab.next_runs(study, store, 1e12, target=TARGET)
    assert found.n_candidates == 6
    assert found.runs
    assert {settings[one.trial]["lr"] for one in found.runs} == {0.01}
    assert all(one.repeat for one in found.runs)
    first = scalelab.next_runs(study, tmp_path / "none.duckdb", 1e12, target=TARGET, most=64).runs
    kinds: dict[str, list[bool]] = {}
    for one in first:
        kinds.setdefault(str(settings[one.trial]), []).append(one.repeat)
    assert all(own == [False, True][: len(own)] for own in kinds.values())
    assert len(kinds) > 6


NETWORKS = """
name = "ecg"
[dataset]
name = "synthetic-ecg"
options = { n_train = 40 }
[data]
sizes = [10, 20, 40]
[[architecture]]
name = "convnext1d"
space = { width = [4, 8, 16] }
[[optimizer]]
name = "adamw"
options = { lr = { at = 2e-3, scale = "width", power = -0.5, reference = 16 } }
[training]
length = { epochs = 1 }
"""


def test_a_batch_of_networks_keeps_the_rule_of_its_rates(tmp_path):
    study = tmp_path / "ecg.toml"
    study.write_text(NETWORKS, encoding="utf-8")
    asked = {"target": {"n_params": 1e6, "n_examples": 1000}, "most": 5}
    found = scalelab.next_runs(study, tmp_path / "s.duckdb", 1e12, **asked)
    scalelab.write_next(found, study, tmp_path / "next.toml")
    batch = scalelab.load_study(tmp_path / "next.toml")
    assert batch.optimizers == scalelab.load_study(study).optimizers
    trials = expand(batch, scalelab.load_plugins()).trials
    assert [trial.id for trial in trials] == [one.trial for one in found.runs]
    assert all(
        trial.optimizer.params["lr"]
        == pytest.approx(2e-3 * (trial.architecture.params["width"] / 16) ** -0.5)
        for trial in trials
    )


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
    (own,) = scalelab.open_store(store).studies()
    assert (own.study, own.planned, own.done) == ("sim-next", len(steps), len(steps))
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


def test_an_axis_that_no_run_has_is_said_once_there_are_runs(study, tmp_path):
    store = tmp_path / "s.duckdb"
    study.write_text(STUDY.replace("[10000, 30000, 100000, 300000]", "[10000]"), encoding="utf-8")
    scalelab.run_study(study, store)
    with pytest.raises(InputError, match="the candidates have no width"):
        scalelab.next_runs(study, store, 1e12, target={"width": 3})
    pool = pd.DataFrame({"width": [1.0, 2.0], "train_flops": [1.0, 2.0]})
    with pytest.raises(InputError, match="the runs have no width"):
        scalelab.next_runs(study, store, 1e12, target={"width": 3}, candidates=pool)


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


def test_runs_that_the_study_does_not_have_are_refused(study, tmp_path):
    loaded = scalelab.load_study(study)
    trial = expand_command(loaded).trials[0]
    other = expand_command(parse_study(STUDY.replace("[10000", "[20000"), study)).trials[0]
    catalog = scalelab.load_plugins(select="")
    with pytest.raises(StudyError, match=f"does not give '{other.id}'"):
        study_of_runs([trial, other], loaded, tmp_path / "next.toml", catalog)
    with pytest.raises(StudyError, match="made without a file"):
        study_of_runs([trial], loaded.read_from("", "sim"), tmp_path / "next.toml", catalog)


def test_the_study_that_runs_were_chosen_for_is_the_one_that_grows():
    """The best run may be a chosen one, of a study that lists its trials."""

    class Kept:
        def stored_studies(self, *, trial_id=None):
            whole = StoredStudy("ecg", NETWORKS, None)
            listed = NETWORKS.replace('"ecg"', f'"ecg-next"\ntrials = ["{NOBODY}"]')
            chosen = StoredStudy("ecg-next", listed, None)
            return [whole, chosen] if trial_id is None else [chosen]

        def runs(self, study):
            assert study == "ecg"
            return table

    table = pd.DataFrame({"architecture": ["convnext1d"] * 2, "status": "done", "architecture_width": [4, 8]})
    ahead = SimpleNamespace(dataset="d", answer=Refusal({}, "too few"), best=[SimpleNamespace(trial=NOBODY)])
    found = scalelab.next_studies(SimpleNamespace(ahead=[ahead], runs=table), Kept())["d"]
    assert found.grown == "ecg"
    assert parse_study(found.text).trials is None
