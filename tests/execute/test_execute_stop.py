"""Ctrl-C once and twice, and two coordinators at one store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from scalelab import open_store


def command(lab, study, *more: str) -> list[str]:
    base = [sys.executable, "-m", "scalelab.cli", "run", str(study), "--store", str(lab.store)]
    return [*base, "--plugins-dir", str(lab.plugins), *more]


def wait_for(process: subprocess.Popen, text: str) -> list[str]:
    """Reads standard error up to a line with `text`."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"no {text!r} in {lines}")


@pytest.mark.parametrize(("presses", "message"), [(1, "write a checkpoint"), (2, "stopped at once")])
def test_ctrl_c_loses_nothing(lab, presses, message):
    study = lab.study(seeds=2, steps=40, options="ms_per_step = 25.0")
    process = subprocess.Popen(
        command(lab, study, "--workers", "2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(process, "[1/8] done")
    for _ in range(presses):
        os.kill(process.pid, signal.SIGINT)
        wait_for(process, "Ctrl-C again" if _ == 0 else "stopped at once")
    out, _err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "next: run the same command again to continue" in out
    before = open_store(lab.store).runs("tiny")
    assert set(before.status) <= {"done", "interrupted"}

    again = subprocess.run(
        command(lab, study, "--json"), capture_output=True, text=True, check=True, timeout=120
    )
    summary = json.loads(again.stdout)
    assert summary["complete"]
    assert summary["kept"] == (before.status == "done").sum()


def test_an_interrupted_trial_ends_as_if_it_had_not_been(lab, tmp_path):
    from scalelab import run_study
    from scalelab.execute.events import Started
    from scalelab.supervise.stop import StopSignal

    study = lab.study(steps=60, options="ms_per_step = 5.0")
    stop = StopSignal()
    seen = []

    def stop_in_the_middle(event):
        seen.append(event)
        if not isinstance(event, Started) and getattr(event, "kind", "") == "progressed" and event.step > 5:
            stop.request()

    first = run_study(
        study, lab.store, catalog=lab.catalog(), threads=1, stop=stop, on_event=stop_in_the_middle
    )
    assert first.stopped
    run_study(study, lab.store, catalog=lab.catalog(), threads=1)
    run_study(study, tmp_path / "whole.duckdb", catalog=lab.catalog(), threads=1)
    stopped = open_store(lab.store).curves("tiny").sort_values(["trial_id", "step"])
    whole = open_store(tmp_path / "whole.duckdb").curves("tiny").sort_values(["trial_id", "step"])
    assert stopped.loss.tolist() == whole.loss.tolist()
    assert stopped.train_loss.tolist() == whole.train_loss.tolist()


def test_two_coordinators_share_the_work(lab):
    study = lab.study(seeds=4, steps=10, options="ms_per_step = 10.0")
    processes = [
        subprocess.Popen(
            command(lab, study, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    done = [json.loads(out)["done"] for out, _ in outputs]
    assert sum(done) == 16
    records = open_store(lab.store).sql("select trial_id, attempt, status from records")
    assert len(records) == 16
    assert records.trial_id.is_unique


def test_status_and_sql_answer_while_a_run_goes_on(lab):
    study = lab.study(seeds=2, steps=20, options="ms_per_step = 20.0")
    process = subprocess.Popen(
        command(lab, study), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(process, "[1/8] done")
    for arguments in (["status", "--json"], ["store", "sql", "select count(*) as n from runs", "--json"]):
        answer = subprocess.run(
            [sys.executable, "-m", "scalelab.cli", *arguments, "--store", str(lab.store)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
    assert process.poll() is None
    process.communicate(timeout=120)
    assert process.returncode == 0
