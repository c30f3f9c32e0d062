"""Optuna's studies: values are results, reports are curves, and what was pruned is not done."""

from __future__ import annotations

import json
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracker_samples import CHOICE, INT, SIZES, check_law, loss_of, optuna_database, read

from scalelab.errors import InputError

TRIALS = [
    *(("COMPLETE", size, [loss_of(size)], [9.0, loss_of(size) - 0.2]) for size in SIZES),
    ("PRUNED", 640, [5.0], [6.0, 5.0]),
    ("FAIL", 650, [], [6.0]),
    ("RUNNING", 660, [], [4.0]),
    ("WAITING", 670, [], []),
]


def line(code, **told):
    return json.dumps({"op_code": code, "worker_id": "w", **told}) + "\n"


def journal(trials):
    """The text of a journal of one study."""
    text = line(0, study_name="s", directions=[1])
    for at, (state, n_params, values, reports) in enumerate(trials):
        text += line(4, study_id=0, datetime_start="2026-01-01T10:00:00+00:00")
        text += line(5, trial_id=at, param_name="n_params", param_value_internal=n_params, distribution=INT)
        text += line(5, trial_id=at, param_name="act", param_value_internal=at % 3, distribution=CHOICE)
        for step, value in enumerate(reports):
            text += line(7, trial_id=at, step=step, intermediate_value=value)
        code = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING").index(state)
        if code:
            text += line(6, trial_id=at, state=code, values=values or None)
    return text


@pytest.fixture(params=["database", "journal"])
def source(request, tmp_path):
    path = tmp_path / "optuna.source"
    if request.param == "database":
        return optuna_database(path, TRIALS)
    path.write_text(journal(TRIALS))
    return path


def test_states_and_results_are_read(source):
    found, rows = read(source)
    assert [state.word for state in found.states] == ["COMPLETE", "FAIL", "PRUNED", "RUNNING", "WAITING"]
    assert found.statuses == {"done": 6, "interrupted": 3, "failed": 1}
    assert rows["loss"].tolist()[:6] == [loss_of(size) for size in SIZES]
    # The last report of a trial that was pruned is no result, and a trial's result is not its best report.
    assert rows["loss"].isna().tolist() == [False] * 6 + [True] * 4
    assert rows["curve"][6] == {"loss": [6.0, 5.0], "step": [0, 1]}
    assert rows["curve"].isna().sum() == 1
    assert rows["architecture_act"].dropna().tolist()[:3] == ["relu", "[1]", "relu"]
    assert rows["n_params"].tolist()[:6] == SIZES


def test_the_law_is_that_of_the_numbers(source, tmp_path):
    check_law(source, tmp_path)


def test_a_higher_value_is_no_loss(tmp_path):
    path = optuna_database(tmp_path / "t.db", [("COMPLETE", 10, [0.9], [0.95, 0.8])], directions=["MAXIMIZE"])
    found, rows = read(path)
    assert rows[["objective", "direction", "metric"]].values.tolist() == [[0.9, "maximize", "value"]]
    assert "loss" not in rows
    assert [item.how for item in found.mapped if item.column == "objective"] == ["told"]


def test_several_objectives_are_asked_about(tmp_path):
    path = optuna_database(
        tmp_path / "t.db", [("COMPLETE", 10, [0.9, 2.0], [])], directions=["MAXIMIZE", "MINIMIZE"]
    )
    with pytest.raises(InputError, match=r"--metric and --direction \(columns: .*value_0, value_1"):
        read(path)
    assert read(path, map={"loss": "value_1"})[1]["loss"].tolist() == [2.0]


def test_several_studies_are_asked_about(tmp_path):
    path = optuna_database(tmp_path / "t.db", TRIALS, name="one")
    optuna_database(path, TRIALS[:2], name="the other")
    optuna_database(path, [], name="empty")
    with pytest.raises(InputError, match=r"'one' \(10 runs\), 'the other' \(2 runs\); say which with --exp"):
        read(path)
    found, rows = read(path, experiment="the other")
    assert (found.study, len(rows)) == ("the-other", 2)
    with pytest.raises(InputError, match=r"no experiment or study 'on'; did you mean 'one'"):
        read(path, experiment="on")


def test_infinite_values_are_diverged(tmp_path):
    path = optuna_database(tmp_path / "t.db", [("COMPLETE", 10, [None], []), ("COMPLETE", 20, [2.0], [])])
    assert read(path)[1]["status"].tolist() == ["diverged", "done"]


def test_a_trial_with_a_value_of_no_distribution_costs_itself(tmp_path):
    path = optuna_database(tmp_path / "t.db", TRIALS)
    with sqlite3.connect(path) as db:
        db.execute("update trial_params set distribution_json = '{' where trial_id = 2")
    db.close()
    found, rows = read(path)
    assert len(rows) == 9
    (problem,) = found.problems
    assert problem == "trial 1: its parameter 40000.0 is not one of its distribution; it was left out"


def test_a_torn_last_line_costs_what_it_said(tmp_path):
    path = tmp_path / "journal.log"
    path.write_text(journal(TRIALS[:3])[:-20])
    found, rows = read(path)
    assert rows["status"].tolist() == ["done", "done", "interrupted"]
    assert found.problems == ("line 19 of journal.log: the last line is torn; what it said is missing",)


def test_what_has_ended_does_not_change(tmp_path):
    path = tmp_path / "journal.log"
    path.write_text(journal(TRIALS[:1]) + line(6, trial_id=0, state=3, values=None))
    assert read(path)[1]["status"].tolist() == ["done"]


def test_a_database_that_is_being_written_is_waited_for_and_named(tmp_path, monkeypatch):
    path = optuna_database(tmp_path / "t.db", TRIALS)
    monkeypatch.setattr("scalelab.store.trackers.sqlite.PATIENCE", 0.05)
    writer = sqlite3.connect(path)
    writer.execute("begin exclusive")
    with pytest.raises(InputError, match=r"t\.db is locked"):
        read(path)
    writer.rollback()
    writer.close()
    assert len(read(path)[1]) == 10


def test_a_database_cut_short_is_one_line(tmp_path):
    path = optuna_database(tmp_path / "t.db", TRIALS * 50)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(InputError, match="cannot be read"):
        read(path)


def test_a_database_without_studies_is_one_line(tmp_path):
    path = optuna_database(tmp_path / "t.db", [])
    with sqlite3.connect(path) as db:
        db.execute("delete from studies")
    db.close()
    with pytest.raises(InputError, match="without any study"):
        read(path)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_to_a_journal_is_told_in_lines(tmp_path_factory, data):
    lines = journal(TRIALS).splitlines(keepends=True)
    at = data.draw(st.integers(1, len(lines) - 1))
    names = st.sampled_from(["op_code", "trial_id", "study_id", "state", "values"])
    told = st.dictionaries(names, st.integers(-2, 9) | st.none() | st.text(max_size=3)).map(json.dumps)
    lines[at] = data.draw(st.text(max_size=20) | told).replace("\n", "") + "\n"
    path = tmp_path_factory.mktemp("j") / "journal.log"
    path.write_bytes("".join(lines).encode("utf-8", "replace"))
    told_in_lines = []
    try:
        told_in_lines += read(path)[0].problems
    except InputError as error:
        told_in_lines.append(str(error))
    assert all("\n" not in text for text in told_in_lines)
