"""The runs of a tracker as a table: names that meet, values of all kinds, curves of what is the loss."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import rows_of

import scalelab
from scalelab.errors import InputError
from scalelab.store.mapping import read_runs
from scalelab.store.targets import LOSSES, Wanted
from scalelab.store.tracked import Curves
from scalelab.store.trackers import known
from scalelab.store.trackers.found import Curve, ForeignRun, Opened, Problem, Tracker


def curve(*points):
    found = Curve()
    for step, value in points:
        found.add(step, value)
    return found


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Returns a function that reads runs as a tracker's, and its rows with facts and options as columns."""
    path = tmp_path / "source.x"
    path.write_text("x")

    def reading(*runs, objective=None, final=False, **options):
        opened = Opened(iter(runs), objective, final)
        tracker = Tracker("fake", "a fake", lambda path: True, lambda path, experiment: opened)
        monkeypatch.setattr(known, "TRACKERS", (tracker,))
        found = read_runs(path, Wanted(**options))
        rows = rows_of(found.table)
        return found, [
            {**dict(zip(rows, values, strict=True)), **rows["extra"][at]}
            for at, values in enumerate(zip(*rows.values(), strict=True))
        ]

    reading.path = path
    return reading


def test_parameters_are_options_and_all_else_facts(read):
    run = ForeignRun("k", "name", "finished", {"lr": 0.1, "n_params": 5}, {"loss": 2.0, "host": "h"})
    found, (row,) = read(run)
    assert (row["architecture_lr"], row["n_params"], row["loss"]) == (0.1, 5.0, 2.0)
    assert (row["feature_run_id"], row["feature_run_name"], row["feature_host"]) == ("k", "name", "h")
    assert (found.study, found.key, found.title) == ("source", "feature_run_id", "a fake")
    assert read(run, rest="training")[1][0]["training_lr"] == 0.1
    assert read(run, rest="feature")[1][0]["feature_lr"] == 0.1


def test_names_that_meet_are_told_apart(read):
    values = {"loss": 2.0, "lr": 7, "status": "odd", "Loss": 3.0}
    found, (row,) = read(ForeignRun("k", None, "finished", {"lr": 0.1, "loss": "mse", "N": 5}, values))
    assert (row["loss"], row["status"], row["feature_value_loss"]) == (2.0, "done", 3.0)
    assert (row["feature_value_lr"], row["architecture_lr"]) == (7, 0.1)
    assert (row["feature_value_status"], row["architecture_param_loss"]) == ("odd", "mse")
    assert found.notes[0] == (
        "parameters and metrics have the same names: the metric or fact 'status' is value_status here; the "
        "parameter 'loss' is param_loss here; the metric or fact 'lr' is value_lr here; the metric or fact "
        "'Loss' is value_Loss here"
    )


def test_what_one_run_reports_takes_no_name_from_the_parameters_of_others(read):
    runs = [
        ForeignRun("a", params={"n_params": 10, "epochs": 5, "lr": 0.1}, values={"loss": 2.0}),
        ForeignRun(
            "b", params={"n_params": 20, "epochs": 5}, values={"loss": 1.0, "n_params": 21, "epochs": 4}
        ),
        ForeignRun("c", params={}, values={"loss": 1.5, "n_params": 30.5, "lr": 0.0}),
    ]
    _, rows = read(*runs)
    assert [row["n_params"] for row in rows] == [10, 20, 30.5]
    assert [row["epochs"] for row in rows] == [5, 4, None]
    assert [row.get("feature_value_n_params") for row in rows] == [None, 21, 30.5]
    assert [row.get("architecture_lr") for row in rows] == [0.1, None, None]


def test_values_of_all_kinds_arrive(read):
    odd = {"big": 2**70, "nan": math.nan, "text": "a\0b\ud800é", "flag": True, "none": None, "mixed": 3}
    runs = [
        ForeignRun("a", params={"N": 1}, values={"loss": 2.0, **odd}),
        ForeignRun("b", params={"N": 2}, values={"loss": 1.0, "mixed": "x"}),
    ]
    _, (first, second) = read(*runs)
    assert (first["feature_big"], first["feature_flag"]) == (str(2**70), True)
    assert (first["feature_mixed"], second["feature_mixed"]) == ("3", "x")
    assert first["feature_text"].endswith("b\\ud800é")
    assert first["feature_nan"] is None


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_on_validation_data_holds(read, name):
    values = {"loss": 1.0, name: 2.0} if name != "loss" else {"loss": 2.0}
    assert read(ForeignRun("a", params={"N": 1}, values=values))[1][0]["loss"] == 2.0


def test_the_loss_is_the_best_of_its_curve_and_other_metrics_their_last(read):
    curves = {
        "val_loss": curve((1, 3.0), (3, 2.5), (2, 2.0), (3, 2.6)),
        "accuracy": curve((1, 0.9), (2, 0.5)),
        "train_flops": curve((1, 10.0), (3, 30.0)),
    }
    run = ForeignRun("a", params={"N": 1}, curves=curves)
    _, (row,) = read(run)
    assert (row["loss"], row["feature_accuracy"], row["train_flops"]) == (2.0, 0.5, 30.0)
    assert row["curve"] == {"loss": [3.0, 2.0, 2.6], "step": [1, 2, 3], "train_flops": [10.0, None, 30.0]}
    _, (row,) = read(run, metric="accuracy", direction="maximize")
    assert row["objective"] == 0.9
    _, (row,) = read(run, map={"loss": "val_loss * 2"})
    assert (row["loss"], "curve" in row) == (5.2, False)


def test_a_result_is_not_the_best_report(read):
    run = ForeignRun("a", params={"N": 1}, values={"value": 2.5}, curves={"value": curve((1, 2.0))})
    assert read(run, objective=("value", "minimize"), final=True)[1][0]["loss"] == 2.5
    assert read(run, objective=("value", "minimize"))[1][0]["loss"] == 2.0


def test_how_runs_ended_that_do_not_say_it_rightly(read):
    runs = [
        ForeignRun("a", None, "finished", {"N": 1}, {}),
        ForeignRun("b", None, "finished", {"N": 1}, {"loss": math.inf}),
        ForeignRun("c", None, None, {"N": 1}, {}, {"loss": curve((1, 2.0), (2, math.nan))}),
        ForeignRun("d", None, "running", {}, {"loss": 3.0}, error="it says why"),
        ForeignRun("e", None, None, {"N": 1}, {"loss": 2.0}),
    ]
    found, rows = read(*runs)
    assert [row["status"] for row in rows] == ["failed", "diverged", "diverged", "interrupted", "done"]
    assert [row["loss"] for row in rows] == [None, None, None, None, 2.0]
    assert [row["error"] for row in rows] == ["it ended without a loss", None, None, "it says why", None]
    assert [(one.word, one.status) for one in found.states].count((None, "diverged")) == 1


def test_conditions_keep_curves_with_their_runs(read):
    runs = [
        ForeignRun(str(at), params={"N": at + 1}, curves={"loss": curve((at, 9.0 - at))}) for at in range(5)
    ]
    _, rows = read(*runs, only="N <> 2 and N <> 4")
    assert [row["curve"]["step"] for row in rows] == [[0], [2], [4]]


def test_problems_are_lines(read):
    found, rows = read(
        ForeignRun("a", params={"N": 1}, values={"loss": 2.0}),
        Problem("run\nx", "it is torn"),
        Problem("line 3", "is lost", left_out=False),
    )
    assert len(rows) == 1
    assert found.problems == ("run x: it is torn; it was left out", "line 3: is lost")


def test_runs_are_not_too_many(read, monkeypatch):
    monkeypatch.setattr("scalelab.store.tracked.MAX_ROWS", 3)
    runs = (ForeignRun(str(at), params={"N": 1}, values={"loss": 2.0}) for at in range(10))
    with pytest.raises(InputError, match="more than 3 runs"):
        read(*runs)


def test_a_store_has_the_curves_of_large_and_small_runs(read, tmp_path, monkeypatch):
    monkeypatch.setattr("scalelab.store.foreign.PIECE_VALUES", 100)
    monkeypatch.setattr("scalelab.store.imports.PIECE_BYTES", 1000)
    wanted = {str(at): [at + 1 / (step + 1) for step in range(at)] for at in range(1, 60)}
    runs = [
        ForeignRun(key, params={"N": len(losses)}, curves={"loss": curve(*enumerate(losses))})
        for key, losses in wanted.items()
    ]
    found, _ = read(*runs)
    store = scalelab.open_store(tmp_path / "t.duckdb", create=True)
    store.take_import(found)
    for _ in range(2):
        curves = store.curves("source").merge(store.runs("source")[["trial_id", "feature_run_id"]])
        shown = curves.sort_values("step").groupby("feature_run_id")["loss"].agg(list).to_dict()
        assert shown == wanted
        store.rebuild()
    text = store.rows("select extra from imported_runs where position = 3")[1][0][0]
    assert set(json.loads(text)["curve"]) == {"loss", "step"}


steps = st.lists(st.tuples(st.integers(-(2**62), 2**62), st.floats()), min_size=1, max_size=20)


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, min_size=1, max_size=5))
def test_curves_come_back_in_the_order_of_their_steps(tmp_path_factory, reported):
    curves = Curves(tmp_path_factory.mktemp("c") / "curves")
    for run, points in enumerate(reported):
        curves.add(run, 7, curve(*points))
    curves.close()
    for run, points in enumerate(reported):
        found = curves.of(run, 7)
        wanted = dict(sorted(dict(points).items()))
        assert found[0] == list(wanted)
        assert repr(found[1]) == repr(list(wanted.values()))
    assert curves.of(0, 8) is None
