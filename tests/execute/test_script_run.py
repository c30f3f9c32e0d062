"""Trials that are commands, run by real workers: what becomes of each, kills and resume among it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

import scalelab
from scalelab import open_store, run_study
from scalelab.execute.jobs import Progressed
from scalelab.supervise.stop import StopSignal

SCRIPT = """
import json, os, random, signal, sys, time

params = json.loads(os.environ["SCALELAB_PARAMS"])
mode, checkpoint = params["mode"], os.environ["SCALELAB_CHECKPOINT"]


def say(**report):
    print(json.dumps(report), flush=True)


if mode == "well":
    for step in range(1, 4):
        say(step=step, loss=1 / step)
    say(n_params=250, n_examples=64, accuracy=0.5)
elif mode == "log":
    import scalelab

    scalelab.log(step=1, loss=0.5)
    with scalelab.run("elsewhere", params={"a": 1}, store="no/such/folder") as run:
        run.log(step=2, loss=0.25)
elif mode == "file":
    with open(os.environ["SCALELAB_RECORD"], "a") as file:
        print(json.dumps({"loss": 0.75}), file=file)
elif mode == "garbage":
    os.write(1, bytes(range(256)) * 400)
    print('\\n{"loss": "low", "layers": [1]}')
    print('\\r 20%\\r {"step": -1, "loss": 0.5}')
elif mode == "nan":
    say(loss=float("nan"))
elif mode == "twice":
    say(loss=0.5), say(loss=0.4)
elif mode == "exit":
    print("no good", file=sys.stderr)
    sys.exit(3)
elif mode == "raise":
    raise ValueError("no good")
elif mode == "hang":
    time.sleep(600)
elif mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
elif mode == "child":
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
        time.sleep(600)
    time.sleep(0.3)
    say(loss=0.5)
elif mode == "vandal":
    import shutil

    shutil.rmtree(os.path.dirname(checkpoint))
    say(loss=0.5)
elif mode == "over":
    with open(os.environ["SCALELAB_RECORD"], "w") as file:
        json.dump({"loss": 0.5, "f1": 0.9}, file)
elif mode == "flood":
    for _ in range(20_000):
        print("x" * 100)
    say(loss=0.5)
elif mode == "once":
    mark = os.path.join(checkpoint, "mark")
    if not os.path.exists(mark):
        open(mark, "w").close()
        say(step=1, loss=2.0), say(step=2, loss=9.0)
        os.kill(os.getpid(), signal.SIGKILL)
    say(step=2, loss=1.0)
elif mode == "always":
    with open(os.environ["SCALELAB_RECORD"], "a") as file:
        print(json.dumps({"step": 1, "loss": 4.0}), file=file)
    os.kill(os.getpid(), signal.SIGKILL)
elif mode == "slow":
    state = os.path.join(checkpoint, "step")
    begin = int(open(state).read()) if os.path.exists(state) else 0
    for step in range(begin + 1, 21):
        time.sleep(0.05)
        with open(os.environ["SCALELAB_RECORD"], "a") as file:
            print(json.dumps({"step": step, "loss": 1 / step}), file=file)
        with open(state + ".new", "w") as file:
            file.write(str(step))
        os.replace(state + ".new", state)
"""


class Lab:
    """A folder with the script, a study and a store."""

    def __init__(self, folder):
        self.folder, self.store = folder, folder / "store.duckdb"
        (folder / "script.py").write_text(SCRIPT)

    def study(self, *modes, seeds=1, more=""):
        path = self.folder / "study.toml"
        path.write_text(
            f'name = "mine"\nseeds = {list(range(seeds))}\n[command]\n'
            f'run = ["{{python}}", "script.py", "{{seed}}"]\n{more}\n'
            f"[command.space]\nmode = {json.dumps(modes)}\n"
        )
        return path

    def run(self, *modes, workers=1, more="", **rest):
        return run_study(self.study(*modes, more=more), self.store, workers=workers, **rest)

    def rows(self, columns):
        found = open_store(self.store).rows(f"select {columns} from runs order by 1")[1]
        return {row[0]: row[1:] for row in found}


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def living(lab):
    """The processes of the lab's script that live."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        info = process.info
        own = info["cwd"] == str(lab.folder) and "script.py" in (info["cmdline"] or ())
        if own and info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def test_what_becomes_of_each_kind_of_script(lab):
    modes = ("well", "log", "file", "garbage", "nan", "twice", "exit", "raise", "child", "flood")
    summary = lab.run(*modes, workers=2)
    rows = lab.rows("architecture_mode, status, loss, error")
    assert rows.pop("well") == ("done", 1 / 3, None)
    assert rows.pop("log") == ("done", 0.25, None)
    assert rows.pop("file") == ("done", 0.75, None)
    assert rows.pop("child") == ("done", 0.5, None)
    assert rows.pop("flood") == ("done", 0.5, None)
    assert rows.pop("nan") == ("diverged", None, "the loss is not finite")
    assert rows.pop("twice")[2].startswith("it reported loss twice: 0.5 and 0.4")
    assert rows.pop("garbage")[2] == "it reported step = -1: must be a whole number, zero or more"
    assert rows.pop("exit")[2] == "its command ended with exit code 3: no good"
    assert rows.pop("raise")[2] == "its command ended with exit code 1: ValueError: no good"
    assert not rows
    assert (summary.done, summary.diverged, len(summary.failed)) == (5, 1, 4)
    assert not living(lab)
    again = lab.run(*modes)
    assert (again.kept, again.done, len(again.failed)) == (6, 0, 4)
    found = lab.rows("architecture_mode, n_params, n_examples, n_steps, best_step, metrics, libraries")[
        "well"
    ]
    assert found[:4] == (250, 64, 3, 3)
    assert json.loads(found[4]) == {"accuracy": 0.5}
    assert list(json.loads(found[5])) == ["script.py"]
    curve = open_store(lab.store).rows("select step, loss, n_seen from curves order by step, loss")[1]
    assert [row for row in curve if row[0] == 3] == [(3, 1 / 3, None)]
    left = list((lab.folder / "store.duckdb.journal" / "scripts").iterdir())
    assert len(left) == 4  # of those that failed


def test_what_a_script_prints_is_no_result(lab, capfd):
    assert lab.run("well", workers=0).done == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "loss" in err


def test_a_script_that_removes_what_it_was_given_fails_alone(lab):
    summary = lab.run("vandal", "well", "over", more='metric = "f1"\ndirection = "maximize"')
    rows = lab.rows("architecture_mode, status, objective, metric")
    assert rows["over"] == ("done", 0.9, "f1")
    assert rows["vandal"][0] == rows["well"][0] == "failed"
    assert "what the command printed cannot be kept: " in summary.failed[next(iter(summary.failed))]
    again = lab.run("vandal", "well", "over", more='metric = "f1"\ndirection = "maximize"', retry_failed=True)
    assert (again.kept, len(again.failed)) == (1, 2)


def test_a_limit_of_time_ends_a_script_with_all_that_it_started(lab):
    summary = lab.run("hang", "deaf", workers=2, more="time_limit = 1.5\nstop_seconds = 0.5")
    assert set(summary.failed.values()) == {"it took longer than command.time_limit = 1.5 s"}
    assert not living(lab)


def test_a_silent_script_that_does_nothing_counts_as_hung(lab):
    summary = lab.run("hang", stall_seconds=3, max_attempts=1)
    (reason,) = summary.failed.values()
    assert "no sign of life for 3 s" in reason
    deadline = time.monotonic() + 20
    while living(lab) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not living(lab)


def test_a_killed_script_is_tried_again_with_its_checkpoint_and_curve(lab):
    summary = lab.run("once", "always")
    assert summary.done == 1
    (reason,) = summary.failed.values()
    assert reason.startswith("lost 3 times in this run; its command was killed by SIGKILL")
    assert lab.rows("architecture_mode, status, attempts, loss")["once"] == ("done", 2, 1.0)
    points = "select architecture_mode, step, c.loss, r.loss from curves c join runs r using (trial_id)"
    assert open_store(lab.store).rows(f"{points} order by 1, 2")[1] == [
        ("always", 1, 4.0, None), ("once", 1, 2.0, 1.0), ("once", 2, 1.0, 1.0)
    ]  # fmt: skip


def test_a_stopped_script_goes_on_from_its_checkpoint(lab):
    stop = StopSignal()
    study = lab.study("slow")

    def tell(event):
        if isinstance(event, Progressed) and event.step >= 5:
            stop.request()

    first = run_study(study, lab.store, stop=stop, on_event=tell)
    assert first.interrupted == 1
    before = open_store(lab.store).rows("select count(*), max(step) from curves")[1][0]
    assert before[0] == before[1] >= 5
    assert run_study(study, lab.store).done == 1
    curve = open_store(lab.store).rows("select step, loss from curves order by step")[1]
    assert curve == [(step, 1 / step) for step in range(1, 21)]
    assert not list((lab.folder / "store.duckdb.journal" / "scripts").iterdir())


def test_kills_of_coordinators_and_scripts_lose_and_double_nothing(lab):
    study = lab.study("slow", seeds=4)
    command = [sys.executable, "-m", "scalelab.cli", "run", str(study), "--store", str(lab.store)]
    for kill in range(4):
        process = subprocess.Popen(
            [*command, "--workers", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while not living(lab) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        victims = living(lab) if kill % 2 else []
        os.kill(victims[0].pid if victims else process.pid, signal.SIGKILL)
        if not victims:
            process.wait()
            deadline = time.monotonic() + 20
            while living(lab) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not living(lab)
            continue
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert run_study(study, lab.store, workers=2).complete
    store = open_store(lab.store)
    assert store.rows("select count(*), count(distinct trial_id) from runs where status = 'done'")[1] == [
        (4, 4)
    ]
    curves = store.rows("select list(loss order by step) from curves group by trial_id")[1]
    assert curves == [([1 / step for step in range(1, 21)],)] * 4
    assert store.check().healthy


def test_a_script_that_changed_since_it_was_planned_is_refused(lab):
    from scalelab.execute.jobs import Job
    from scalelab.execute.worker import run_job
    from scalelab.plugins import load_plugins
    from scalelab.study import expand, load_study

    expansion = expand(load_study(lab.study("well")), load_plugins())
    crew = {"workers": 1, "threads": 1, "fewer": False}
    job = Job.of(expansion.trials[0], expansion, study="mine", attempt=1, store=str(lab.store), crew=crew)
    (lab.folder / "script.py").write_text("print()")
    record = run_job(Job.model_validate_json(job.model_dump_json()))
    assert (record.status, record.error) == (
        "failed",
        "script.py changed since the study was planned; run the study again",
    )


def test_a_program_that_is_not_there_is_one_line_before_anything_runs(lab):
    path = lab.study("well")
    path.write_text(path.read_text().replace("{python}", "no-such-program"))
    with pytest.raises(scalelab.InputError, match=r"command.run\[0\] = 'no-such-program': there is no such"):
        run_study(path, lab.store)
    with pytest.raises(scalelab.InputError, match=r"or '\{python\}' for the Python that runs scalelab"):
        scalelab.plan_study(path)


def test_a_plan_takes_its_times_from_trials_that_are_done(lab):
    study = lab.study("well", "log", "file")
    first = scalelab.plan_study(study)
    assert (first.seconds, first.unknown) == (
        None,
        "no trial of the command is done yet; some tell of the rest",
    )
    lab.run("well", "log")
    then = scalelab.plan_study(lab.study("well", "log", "file"), lab.store)
    done = [row.seconds.middle for row in then.trials if row.status == "done"]
    (pending,) = then.pending
    assert len(done) == 2
    assert pending.seconds.low == min(done)
    assert pending.seconds.high == max(done)


def test_words_hold_values_as_they_are(lab):
    from pathlib import Path

    from scalelab.execute.script import words_of
    from scalelab.plugins import load_plugins
    from scalelab.study import expand, load_study

    path = lab.folder / "words.toml"
    path.write_text(
        'name = "w"\n[command]\nversion = 1\n'
        'run = ["python", "{text}", "{flag}-{real}", "{whole}", "{many}", "{{{seed}}}", "{checkpoint}"]\n'
        "options = { text = \"a 'b' $c\", flag = true, real = 0.1, whole = 3, many = [1, 2] }\n"
    )
    expansion = expand(load_study(path), load_plugins())
    words = words_of(expansion.trials[0], expansion.place, Path("/ck"), Path("/r"))
    assert words == ["python", "a 'b' $c", "true-0.1", "3", "[1, 2]", "{0}", "/ck"]


def test_what_needs_a_network_of_scalelab_is_refused(lab, monkeypatch):
    from scalelab.cli.app import app

    monkeypatch.chdir(lab.folder)
    lab.run("well")
    with pytest.raises(
        scalelab.InputError, match="a command keeps its own weights; leave --keep-weights out"
    ):
        run_study(lab.study("well"), lab.store, keep_weights=True)
    for command in ("bench --targets torch:cpu", "bench study.toml --targets torch:cpu"):
        with pytest.raises(scalelab.InputError, match="its trials are runs of a command, of which scalelab"):
            app([*command.split(), "--store", str(lab.store)], standalone_mode=False)
