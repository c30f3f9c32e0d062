"""Experiments of Ray Tune: how trials ended, and what is torn; projects of Trackio."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from tracked_runs import points, read, written

import scalelab
from scalelab.errors import InputError


def rows(trial: str, losses: list[float], **last: object) -> list[str]:
    told = [
        {"loss": loss, "training_iteration": at, "time_total_s": at / 2, "trial_id": trial, "done": False,
         "config": {"width": 8}, "hostname": "here", "info": {"lr": 0.1 / at}}
        for at, loss in enumerate(losses, start=1)
    ]  # fmt: skip
    told[-1] |= last
    return [json.dumps(row) for row in told]


def states(**of: dict[str, object]) -> dict[str, object]:
    data = [
        [
            json.dumps({"trial_id": id, "config": {"width": 4}, "relative_logdir": f"t_{id}", **told}),
            json.dumps({"last_result": {"training_iteration": 3}}),
        ]
        for id, told in of.items()
    ]
    return {"trial_data": data, "runner_data": {}, "stats": {}}


def trial(id: str, results: list[str], **more: object) -> dict[str, object]:
    return {f"exp/t_{id}/result.json": results, f"exp/t_{id}/params.json": {"width": 8}} | {
        f"exp/t_{id}/{name.replace('_', '.')}": content for name, content in more.items()
    }


def experiment(tmp_path: Path) -> Path:
    ended = {"status": "TERMINATED"}
    return written(
        tmp_path,
        trial("whole", rows("whole", [3, 2, 1]))
        | trial("cut", rows("cut", [5, 4], done=True))
        | trial("limit", rows("limit", [5, 4], done=True))
        | trial("longest", rows("longest", [3, 2, 1.5], done=True))
        | trial("failed", rows("failed", [5]), error_txt="Failure # 1\n  at\nValueError: no luck\n")
        | trial("resumed", rows("resumed", [3, 2, 1]), error_txt="ValueError: before\n", error_pkl=b"\x80")
        | {
            "exp/t_begun/params.json": {"width": 9},
            "exp/experiment_state-2026-01-01_00-00-00.json": states(whole={"status": "RUNNING"}),
            "exp/experiment_state-2026-01-02_00-00-00.json": states(
                whole=ended, cut=ended, longest=ended, resumed=ended, failed={"status": "ERROR"},
                limit={**ended, "stopping_criterion": {"training_iteration": 2}},
                begun={"status": "RUNNING"}, waits={"status": "PENDING"}, paused={"status": "PAUSED"},
            ),
        },
    )  # fmt: skip


def test_how_trials_ended(tmp_path):
    kind, runs, problems = read(experiment(tmp_path) / "exp")
    assert (kind, problems) == ("ray", [])
    assert {key: run.state for key, run in runs.items()} == {
        "whole": "TERMINATED", "cut": "stopped", "limit": "TERMINATED", "longest": "TERMINATED",
        "resumed": "TERMINATED", "failed": "ERROR", "begun": "RUNNING", "waits": "PENDING",
        "paused": "PAUSED",
    }  # fmt: skip
    assert (runs["failed"].error, runs["resumed"].error) == ("ValueError: no luck", None)
    run = runs["whole"]
    assert points(run.curves["loss"]) == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert (run.params, run.values["wall_seconds"]) == ({"width": 8}, 1.5)
    assert "info.lr" in run.curves
    assert not {"hostname", "config.width", "training_iteration"} & {*run.curves, *run.values}
    assert (runs["begun"].params, runs["waits"].params) == ({"width": 4}, {"width": 4})
    assert read(tmp_path)[1].keys() == runs.keys()


def test_what_is_torn_or_gone(tmp_path):
    folder = experiment(tmp_path) / "exp"
    newest = folder / "experiment_state-2026-01-02_00-00-00.json"
    newest.write_bytes(newest.read_bytes()[:-20])
    with (folder / "t_whole/result.json").open("a") as file:
        file.write('{"loss": 0.5, "training_it')
    _, runs, problems = read(folder)
    assert (runs["whole"].state, runs["cut"].state) == ("RUNNING", None)
    assert runs["failed"].state == "ERROR"
    assert len(points(runs["whole"].curves["loss"])) == 3
    assert len(problems) == 2
    assert "an earlier state is taken where there is one" in problems[0]
    assert "lines of result.json that are not JSON were left out: 1" in problems[1]


def project(path: Path, *runs: tuple[str, list[str]], named: bool = False) -> Path:
    id = "" if named else "run_id text, "
    with sqlite3.connect(path) as database:
        database.execute(
            f"create table metrics ({id}id integer primary key, timestamp text, run_name text, "
            "step integer, metrics text)"
        )
        database.execute(f"create table configs ({id}run_name text, config text, created_at text)")
        for name, told in runs:
            own = [] if named else [f"id-{name}"]
            marks = ", ".join("?" * (2 + len(own)))
            database.execute(
                f"insert into configs ({'' if named else 'run_id, '}run_name, config) values ({marks})",
                [*own, name, '{"width": 8, "_Username": "me"}'],
            )
            for step, text in enumerate(told):
                database.execute(
                    f"insert into metrics ({'' if named else 'run_id, '}run_name, step, metrics, timestamp) "
                    f"values ({marks}, ?, ?)",
                    [*own, name, step, text, f"2026-01-01T00:00:0{step}+00:00"],
                )
    database.close()
    return path


@pytest.mark.parametrize("named", [False, True])
def test_projects_of_trackio(tmp_path, named):
    told = ['{"loss": 3.0, "val": {"loss": 2.5}}', '{"loss": "NaN"}', "no JSON"]
    path = project(tmp_path / "p.db", ("a", told), ("b", []), named=named)
    kind, runs, problems = read(path)
    assert kind == "trackio"
    assert set(runs) == ({"a", "b"} if named else {"id-a", "id-b"})
    run = next(iter(runs.values()))
    assert (run.name, run.params, run.state) == ("a", {"width": 8}, None)
    assert points(run.curves["val.loss"]) == [(0, 2.5)]
    assert str(run.curves["loss"].values[1]) == "nan"
    assert list(run.curves["loss"].seconds) == [0.0, 1.0]
    assert len(problems) == 1
    assert "reports that are not what Trackio writes were left out: 1" in problems[0]
    assert read(tmp_path)[0] == "trackio"


def test_two_projects_are_not_mixed(tmp_path):
    for name in ("p", "q"):
        project(tmp_path / f"{name}.db", ("a", ['{"loss": 3.0, "n_params": 10}']))
    with pytest.raises(InputError, match=r"2 experiments or studies: 'p' \(1 runs\), 'q' \(1 runs\)"):
        scalelab.import_runs(tmp_path, tmp_path / "x.duckdb")
    taken = scalelab.import_runs(tmp_path, tmp_path / "x.duckdb", experiment="q")
    assert (taken.n_runs, taken.study) == (1, "q")


def test_a_database_that_cannot_be_read_is_told_where_it_is_one_of_trackio(tmp_path):
    broken = b"SQLite format 3\0" + b"\xff" * 2000
    project(tmp_path / "p.db", ("a", ['{"loss": 3.0}']))
    (tmp_path / "q.db").write_bytes(broken)
    assert list(read(tmp_path)[1]) == ["id-a"]
    (tmp_path / "q.lock").touch()
    with pytest.raises(InputError, match=r"q\.db cannot be read"):
        read(tmp_path)


def test_a_database_that_is_locked_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("scalelab.store.trackers.sqlite.PATIENCE", 0.1)
    path = project(tmp_path / "p.db", ("a", ['{"loss": 3.0}']))
    with sqlite3.connect(path) as database:
        database.execute("begin exclusive")
        with pytest.raises(InputError, match="is locked"):
            read(path)
    database.close()
