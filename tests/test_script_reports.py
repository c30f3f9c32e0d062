"""What a script reports: written from any process, read without belief."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scalelab
from scalelab.errors import InputError, StoreError
from scalelab.records import ComponentRef, Script, Trial
from scalelab.script_files import begin, read_reports
from scalelab.script_log import append
from scalelab.script_reports import Reports, check_metric


def a_trial(**axes):
    return Trial(
        dataset=ComponentRef(name="mine"),
        fingerprint="",
        architecture=ComponentRef(name="unspecified", params={"width": 8, "n": 100}),
        optimizer=ComponentRef(name="unspecified"),
        n_examples=0,
        script=Script(name="mine", command=("train",), version=1, axes=axes),
    )


def head(attempt, goes_on=False):
    return {"scalelab_attempt": attempt, "metric": "loss", "direction": "minimize", "goes_on": goes_on}


def read(*lines, metric="loss", direction="minimize"):
    reports = Reports(metric, direction)
    for line in lines:
        reports.read(line if isinstance(line, bytes) else json.dumps(line).encode())
    return reports


def test_points_become_a_curve_whose_best_and_last_count():
    reports = read(
        {"step": 3, "loss": 0.7, "accuracy": 0.6},
        {"step": 1, "loss": 2.0, "lr": 0.1},
        {"step": 2, "loss": 0.5, "train_loss": 0.4, "n_seen": 64, "accuracy": 0.8},
        {"n_params": 250, "note": "first"},
    )
    facts = reports.facts(a_trial())
    assert [(point.step, point.loss) for point in facts["curve"]] == [(1, 2.0), (2, 0.5), (3, 0.7)]
    assert (facts["curve"][0].lr, facts["curve"][1].n_seen, facts["curve"][1].train_loss) == (0.1, 64, 0.4)
    assert (facts["loss"], facts["loss_last"], facts["best_step"], facts["n_steps"]) == (0.5, 0.7, 2, 3)
    assert facts["metrics"] == {"accuracy": 0.8}
    assert (facts["n_params"], facts["features"]) == (250, {"note": "first"})
    assert reports.outcome() == ("done", None)


def test_a_final_loss_counts_whatever_the_curve_says():
    facts = read({"step": 1, "loss": 2.0}, {"loss": 1.5, "accuracy": 0.5, "test_loss": 1.6}).facts(a_trial())
    assert (facts["loss"], facts["loss_last"], facts["test_loss"]) == (1.5, 1.5, 1.6)
    assert facts["metrics"] == {"accuracy": 0.5}


def test_a_metric_that_counts_is_the_objective_with_its_direction():
    reports = read(
        {"step": 1, "loss": 1.0, "f1": 0.4},
        {"step": 2, "loss": 0.9, "f1": 0.7},
        {"step": 3, "loss": 0.8, "f1": 0.6, "test_f1": 0.5},
        metric="f1",
        direction="maximize",
    )
    facts = reports.facts(a_trial())
    assert (facts["objective"], facts["objective_last"], facts["best_step"]) == (0.7, 0.6, 2)
    assert facts["test_objective"] == 0.5
    assert reports.outcome() == ("done", None)
    assert read({"loss": 0.5}, metric="f1").outcome()[1].endswith("no finite f1, the study's metric")


def test_a_point_may_be_reported_piece_by_piece_and_a_whole_curve_at_once():
    pieces = read({"step": 1, "loss": 2.0}, {"step": 1, "train_loss": 1.9}, {"step": 1, "f1": 0.1})
    whole = read({"curve": [{"step": 1, "loss": 2.0, "train_loss": 1.9, "f1": 0.1}]})
    assert pieces.curve() == whole.curve()


def test_an_epoch_is_a_step_where_there_is_no_other():
    assert [point.step for point in read({"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}).curve()] == [
        1,
        2,
    ]
    assert read({"epoch": 1, "step": 50, "loss": 2.0}).curve()[0].metrics == {"epoch": 1.0}


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (
            [{"loss": 0.5}, {"loss": 0.4}],
            "it reported loss twice: 0.5 and 0.4; give the points of a curve a step each",
        ),
        ([{"step": 1, "loss": 1}, {"step": 1, "loss": 2}], "it reported loss twice: 1 and 2"),
        ([{"loss": "low"}], "it reported 'loss' = 'low': must be a number"),
        ([{"loss": [1]}], "it reported 'loss' = [1]: must be a number"),
        ([{"loss": 10**400}], "it reported 'loss' = 1000"),
        ([{"step": -1, "loss": 1}], "it reported step = -1: must be a whole number, zero or more"),
        ([{"step": 1.5, "loss": 1}], "it reported step = 1.5: must be a whole number"),
        ([{"n_params": 0.5}], "it reported n_params = 0.5: must be a whole number"),
        ([{"features": [1]}], "it reported features = [1]: must be an object"),
        ([{"features": {"f": math.nan}}], "it reported the feature 'f' = nan: must be finite"),
        (
            [{"curve": [{"loss": 1}]}],
            "it reported curve = [{'loss': 1}]: must be a list of objects with a step",
        ),
        ([{"metrics": {"": 1}}], "it reported the name '': must be 1 to 200 characters"),
        ([{"loss": True}], "it reported loss = True: must be a number, zero or more"),
        ([{"wall_seconds": -5}], "it reported wall_seconds = -5: must be a number, zero or more"),
        ([b"not json"], "it reported 'not json', which is no JSON"),
        ([b"[1]"], "it reported [1]; a report is a JSON object"),
        ([b"[" * 100_000], "which is no JSON"),
        ([b'{"x": ' + b"1" * 2_000_000], "it reported a line of 2,000,006 characters; 1,000,000 at most"),
    ],
)
def test_what_cannot_be_taken_is_one_complaint_and_a_failure(lines, complaint):
    reports = read(*lines, {"loss": 1.0} if "twice" not in complaint else {"n_params": 1})
    assert complaint in reports.complaint
    assert reports.outcome() == ("failed", reports.complaint)


def test_a_loss_that_is_not_finite_at_the_end_has_diverged():
    assert read(b'{"loss": NaN}').outcome() == ("diverged", "the loss is not finite")
    assert read({"step": 1, "loss": 1.0}, b'{"step": 2, "loss": Infinity}').outcome() == (
        "diverged",
        "the loss is not finite at step 2",
    )
    assert read(b'{"step": 1, "loss": NaN}', {"step": 2, "loss": 1.0}).outcome() == ("done", None)
    assert read(b'{"step": 1, "loss": NaN}').curve()[0].loss is None


def test_a_size_is_reported_or_a_parameter_and_both_must_agree():
    assert read({"loss": 1.0}).facts(a_trial(n_params="width"))["n_params"] == 8
    agrees = read({"loss": 1.0, "n_params": 8})
    agrees.facts(a_trial(n_params="width"))
    assert agrees.outcome() == ("done", None)
    differs = read({"loss": 1.0, "n_params": 9})
    differs.facts(a_trial(n_params="width"))
    assert differs.outcome() == (
        "failed",
        "it reported n_params = 9, but a parameter of the study says that it is 8; drop one of the two",
    )


def test_an_attempt_that_goes_on_replaces_what_the_earlier_one_told_from_there(tmp_path):
    file = tmp_path / "reports.jsonl"
    lines = [
        {**head(1), "time": 100.0},
        {"step": 1, "loss": 4.0, "time": 101.0},
        {"step": 2, "loss": 3.0, "time": 102.0},
        {"step": 3, "loss": 9.0, "time": 103.0},
        {**head(2, goes_on=True), "time": 500.0},
        {"step": 2, "loss": 3.5, "time": 501.0},
        {"step": 4, "loss": 2.0, "time": 502.0},
    ]
    file.write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 5, "los', encoding="utf-8")
    reports = read_reports(file)
    assert [(point.step, point.loss) for point in reports.curve()] == [(1, 4.0), (2, 3.5), (4, 2.0)]
    assert [point.wall_seconds for point in reports.curve()] == [1.0, 4.0, 5.0]
    assert reports.spent == 3.0
    assert reports.outcome() == ("done", None)


def test_one_object_over_several_lines_is_a_report(tmp_path):
    file = tmp_path / "reports.jsonl"
    begin(file, 1, "loss", "minimize")
    with file.open("a") as own:
        json.dump({"loss": 0.25, "curve": [{"step": 1, "loss": 0.25}]}, own, indent=2)
    assert read_reports(file).outcome() == ("done", None)
    file.write_text('{\n  "loss": 0.5\n}\n')  # over it all
    assert read_reports(file).facts(a_trial())["loss"] == 0.5


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_no_garbage_ends_in_an_error(lines):
    reports = read(*lines)
    reports.facts(a_trial(n_params="width"))
    assert reports.outcome()[0] in ("failed", "diverged", "done")
    for line in lines:
        reports.overheard(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    ["step", "epoch", "loss", "lr", "n_params", "metrics", "features", "curve", "test_loss", "time", "f1", ""]
)


@given(st.lists(st.dictionaries(names, json_values, max_size=5), max_size=10))
def test_no_report_ends_in_an_error(lines):
    reports = read(*lines)
    facts = reports.facts(a_trial(n_params="width"))
    scalelab.Record(
        trial=a_trial(), study="s", attempt=1, status="failed", started_at=0, finished_at=1, **facts
    )


@given(
    st.dictionaries(st.integers(1, 50), st.floats(0.01, 10, allow_nan=False), min_size=1, max_size=20),
    st.randoms(),
)
def test_the_order_of_reports_does_not_matter(losses, random):
    lines = [{"step": step, "loss": loss} for step, loss in losses.items()]
    shuffled = random.sample(lines, len(lines))
    assert read(*lines).facts(a_trial()) == read(*shuffled).facts(a_trial())
    assert read(*lines).facts(a_trial())["loss"] == min(losses.values())


def test_other_json_that_a_script_prints_is_no_report():
    reports = Reports("f1")
    assert reports.overheard(b'{"lr": 0.1, "epochs": 3, "layers": [1, 2]}') is None
    assert reports.overheard(b'{"loss": 1, "layers": [1, 2]}') == {"loss": 1}
    assert reports.overheard(b'{"loss": "mse", "lr": 0.1}') is None
    assert reports.overheard(b'{"curve": [{"step": 1, "loss": 2}]}') is not None
    assert reports.overheard(b'{"f1": 1}') == {"f1": 1}
    assert reports.overheard(b"[1]") is None
    assert reports.overheard(b'{"loss": ') is None


def test_an_attempt_that_begins_anew_has_nothing_of_the_one_before():
    reports = read(
        head(1),
        {"step": 0, "loss": 0.1, "gpu": "A100", "n_params": 5, "f1": 0.5},
        {"loss": 0.3},
        {"loss": 0.4},
        head(2),
        {"step": 5, "loss": 0.7},
    )
    assert reports.outcome() == ("done", None)
    facts = reports.facts(a_trial())
    assert ([point.step for point in facts["curve"]], facts["loss"]) == ([5], 0.7)
    assert (facts["n_params"], facts["features"], facts["metrics"]) == (None, {}, {})


def test_facts_that_an_attempt_told_before_its_checkpoint_stay():
    reports = read(
        head(1), {"n_params": 5, "epochs": 2, "step": 1, "loss": 3}, {"loss": 9.0}, head(2, goes_on=True)
    )
    reports.read(b'{"step": 2, "loss": 1}')
    facts = reports.facts(a_trial())
    assert (facts["n_params"], facts["epochs"], facts["loss"], facts["loss_last"]) == (5, 2, 1, 1)


def test_whether_an_attempt_goes_on_is_seen_by_its_checkpoint(tmp_path):
    file = tmp_path / "deep" / "reports.jsonl"
    folder = begin(file, 1, "f1", "maximize")
    append(str(file), {"step": 1, "loss": 2.0, "f1": 0.5})
    begin(file, 2, "f1", "maximize")
    assert read_reports(file).curve() == ()
    append(str(file), {"step": 1, "loss": 2.0, "f1": 0.5})
    (folder / "state").touch()
    begin(file, 3, "f1", "maximize")
    reports = read_reports(file)
    assert [point.step for point in reports.curve()] == [1]
    assert (reports.metric, reports.direction) == ("f1", "maximize")


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_there_gives_way_to_one(kind, tmp_path):
    file = tmp_path / "reports.jsonl"
    if kind == "folder":
        (file / "in it").mkdir(parents=True)
    elif kind == "link":
        file.symlink_to("/dev/zero")
    else:
        os.mkfifo(file)
    begin(file, 1, "loss", "minimize")
    append(str(file), {"loss": 1.0})
    assert read_reports(file).outcome() == ("done", None)


def test_a_report_into_a_pipe_that_nobody_reads_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="cannot be written"):
        append(str(tmp_path / "pipe"), {"loss": 1.0})


def test_many_points_take_a_time_that_grows_with_their_number():
    reports = read(head(1), *({"step": step, "loss": 1.0} for step in range(100)), head(2, goes_on=True))
    for step in range(50, 30_000):
        reports.read(b'{"step": %d, "loss": 0.5}' % step)
    assert len(reports.curve()) == 30_000


@pytest.mark.parametrize("name", ["", "train_loss", "n_params", "step", "epoch", "time", "test_f1", None, 3])
def test_what_cannot_be_a_metric(name):
    with pytest.raises(ValueError, match=r"must be a name|has a meaning of its own"):
        check_metric(name)


def test_log_takes_numbers_of_numpy_and_torch(tmp_path, monkeypatch):
    import torch

    file = tmp_path / "told"
    monkeypatch.setenv("SCALELAB_RECORD", str(file))
    scalelab.log(step=np.int64(1), loss=torch.tensor(0.5), f1=np.float32(0.25), done=True, nothing=None)
    told = json.loads(file.read_text())
    assert told.pop("time") > 1e9
    assert told == {"step": 1, "loss": 0.5, "f1": 0.25, "done": True, "nothing": None}


@pytest.mark.parametrize("value", [np.zeros(3), object(), [1], {1, 2}, "a\ud800".encode])
def test_log_refuses_what_is_no_number_and_no_text(value, tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_RECORD", str(tmp_path / "told"))
    with pytest.raises(InputError, match=r"log\(f1=.*report a number or a text"):
        scalelab.log(f1=value)


def test_log_says_where_it_cannot_write(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_RECORD", str(tmp_path / "no" / "told"))
    with pytest.raises(StoreError, match=r"cannot be written to .*told: No such file"):
        scalelab.log(loss=1)


def test_log_prints_where_nobody_listens_and_imports_nothing_heavy():
    code = (
        "import sys, scalelab; scalelab.log(step=1, loss=0.5); "
        "heavy = {'numpy', 'pydantic', 'torch', 'duckdb', 'pandas', 'pluggy'} & sys.modules.keys(); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ('{"step": 1, "loss": 0.5}\n', "", 0)
