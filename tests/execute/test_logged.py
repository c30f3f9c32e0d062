"""Runs that are logged from anywhere: whole, killed, twice, from several threads and inside a study."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

import scalelab
from scalelab import InputError, open_store
from scalelab.errors import ScalelabWarning


@pytest.fixture
def store(tmp_path):
    return tmp_path / "mine.duckdb"


def log_all(store, widths=(8, 16, 32, 64), sizes=(1000, 2000, 4000)):
    for width in widths:
        for n in sizes:
            params = {"width": width, "n_params": 50 * width, "n_examples": n}
            with scalelab.run("note", params=params, store=store) as run:
                for step in range(1, 4):
                    run.log(step=step, loss=0.5 + 20 * (50 * width) ** -0.4 + 15 * n**-0.45 + 3 - step)


def test_the_law_of_logged_runs_is_that_of_their_numbers(store):
    log_all(store)
    runs = open_store(store).runs("note")
    assert len(runs) == 12
    axes = {"n_params": runs.n_params, "n_examples": runs.n_examples}
    fit = scalelab.fit_law("chinchilla", axes, runs.loss)
    truth = {"E": 0.5, "A": 20.0, "B": 15.0, "alpha": 0.4, "beta": 0.45}
    assert {name: fit.params[name] for name in truth} == pytest.approx(truth, rel=1e-6)
    assert set(runs.architecture_width) == {8, 16, 32, 64}
    assert not {"architecture_n_params", "architecture_n_examples"} & set(runs.columns)
    summary = open_store(store).studies()[0]
    assert (summary.study, summary.planned, summary.done) == ("note", 12, 12)
    assert scalelab.analyze(store, study="note").laws


def ended_by(store, a, error):
    run = scalelab.run("s", params={"a": a}, store=store)

    def block():
        with run:
            run.log(step=1, loss=2.0)
            raise error

    with pytest.raises(type(error)):
        block()
    return run


def test_how_a_block_ends_is_how_the_run_ended(store):
    failed = ended_by(store, 1, ValueError("oops"))
    assert failed.record.error.startswith("ValueError: oops (at test_logged.py:")
    stopped = ended_by(store, 2, KeyboardInterrupt())
    with scalelab.run("s", params={"a": 3}, store=store) as diverged:
        scalelab.log(loss=float("nan"))
    with (
        pytest.warns(ScalelabWarning, match="the run of s counts as failed: .* reported no loss"),
        scalelab.run("s", params={"a": 4}, store=store) as empty,
    ):
        pass
    with scalelab.run("s", params={"a": 5}, metric="f1", direction="maximize", store=store) as done:
        done.log(f1=np.float64(0.5))
    runs = [failed, stopped, diverged, empty, done]
    statuses = ["failed", "interrupted", "diverged", "failed", "done"]
    assert [run.record.status for run in runs] == statuses
    assert [run.record.loss for run in runs] == [None, 2.0, None, None, None]
    assert (done.record.objective, done.record.metric) == (0.5, "f1")
    found = open_store(store).rows("select architecture_a, status from runs order by 1")[1]
    assert found == list(enumerate(statuses, start=1))
    assert [len(run.record.curve) for run in runs] == [1, 1, 0, 0, 0]


def test_a_run_whose_process_is_killed_is_there_with_its_curve_and_goes_on(store):
    code = (
        "import os, scalelab\n"
        f"with scalelab.run('s', params={{'a': 1}}, store={str(store)!r}) as run:\n"
        "    run.log(step=1, loss=3.0), run.log(step=2, loss=2.0)\n"
        "    (run.checkpoint / 'state').write_text('2')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with scalelab.run("s", params={"a": 1}, store=store) as run:
        found = open_store(store).rows("select status, error, loss from runs")[1]
        assert found == [("interrupted", "its process has ended", 2.0)]
        assert (run.attempt, (run.checkpoint / "state").read_text()) == (2, "2")
        run.log(step=2, loss=1.5)
        run.log(step=3, loss=1.0)
    opened = open_store(store)
    assert opened.rows("select status, attempts, loss from runs")[1] == [("done", 2, 1.0)]
    assert opened.rows("select step, loss from curves order by step")[1] == [(1, 3.0), (2, 1.5), (3, 1.0)]
    assert opened.check().healthy
    opened.path.unlink()
    assert open_store(store, create=True).rows("select status, attempts from runs")[1] == [("done", 2)]


def test_the_same_run_is_under_way_once_at_a_time(store):
    with scalelab.run("s", params={"a": 1}, store=store) as run:
        run.log(loss=1.0)
        with (
            pytest.raises(InputError, match="another process is at a run of these parameters"),
            scalelab.run("s", params={"a": 1}, store=store),
        ):
            pass
        with scalelab.run("s", params={"a": 1}, seed=1, store=store) as other:
            other.log(loss=2.0)
            scalelab.log(f1=0.5)
        scalelab.log(f1=0.25)
    assert (other.record.metrics, run.record.metrics) == ({"f1": 0.5}, {"f1": 0.25})
    assert open_store(store).rows("select seed, loss from runs order by 1")[1] == [(0, 1.0), (1, 2.0)]


def test_runs_of_several_threads_are_kept_apart(store):
    def work(number):
        with scalelab.run("s", params={"a": number}, store=store) as run:
            for step in range(1, 30):
                run.log(step=step, loss=number + 1 / step)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = open_store(store).rows("select architecture_a, status, loss from runs order by 1")[1]
    assert found == [(number, "done", number + 1 / 29) for number in range(4)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"study": "a b"}, r"run\('a b'\): the study's name must be letters"),
        ({"params": [1]}, r"params=\[1\]\): give a mapping"),
        ({"params": {"a": float("nan")}}, "the parameter a = nan: give a finite number"),
        ({"params": {"a": object}}, "the parameter a = .*give a finite number"),
        ({"params": {"seed": 3}}, r"seed is no parameter; give run\(..., seed=3\)"),
        ({"params": {"n_params": 0}}, "n_params is n_params, which is 0; must be a number above 0"),
        ({"params": {"n_examples": 1.5}}, "must be a whole number"),
        ({"seed": -1}, r"seed=-1\): must be a whole number"),
        ({"seed": True}, r"seed=True\): must be a whole number"),
        ({"direction": "up"}, "minimize or maximize"),
        ({"study": None}, r"run\(None\): the study's name must be letters"),
        ({"store": 3}, r"store=3\): give a store, or the path of its file"),
        ({"metric": "train_loss"}, r"metric='train_loss'\): it has a meaning of its own"),
        ({"params": {"dataset": "a\nb"}}, "must be a text of one line"),
        ({"params": {"a" * 300: 1}}, "its name must be a text of one line, 200 characters at most"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(given, message, store):
    with pytest.raises(InputError, match=message):
        scalelab.run(**{"study": "s", "params": {"a": 1}, "store": store, **given})
    assert not store.exists()


def test_a_run_under_way_is_running_and_a_repeat_after_a_failure_begins_clean(store):
    def block():
        with scalelab.run("s", params={"a": 1}, seed=np.int64(2), store=store) as run:
            run.log(loss=0.1), run.log(loss=0.2)
            assert open_store(store).studies()[0].running == 1

    with pytest.warns(ScalelabWarning):
        block()
    with scalelab.run("s", params={"a": 1}, seed=2, store=store) as run:
        run.log(loss=0.5)
    assert (run.record.status, run.record.loss) == ("done", 0.5)
    assert open_store(store).studies()[0]._asdict().items() >= {"planned": 1, "done": 1, "running": 0}.items()


def test_log_in_threads_goes_to_the_run_of_the_thread_or_is_refused(store):
    def work(number):
        with scalelab.run("s", params={"a": number}, store=store):
            inside.wait()
            scalelab.log(step=number, loss=number)
            done.wait()

    inside, done = threading.Barrier(3), threading.Barrier(3)
    threads = [threading.Thread(target=work, args=[number]) for number in (1, 2)]
    for thread in threads:
        thread.start()
    inside.wait()
    with pytest.raises(InputError, match="other threads have several runs open"):
        scalelab.log(loss=1)
    done.wait()
    for thread in threads:
        thread.join()
    assert open_store(store).rows("select step, loss from curves order by 1")[1] == [(1, 1.0), (2, 2.0)]


def test_a_child_that_is_forked_and_leaves_the_block_ends_nothing(store):
    code = (
        "import os, scalelab\n"
        f"with scalelab.run('s', params={{'a': 1}}, store={str(store)!r}) as run:\n"
        "    run.log(step=1, loss=3.0)\n"
        "    if os.fork() == 0:\n        raise SystemExit\n"
        "    os.wait()\n    run.log(step=2, loss=2.0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert open_store(store).rows("select status, attempt, loss from records")[1] == [("done", 1, 2.0)]


def test_a_block_that_is_not_open_logs_nothing(store):
    run = scalelab.run("s", params={"a": 1}, store=store)
    with pytest.raises(InputError, match="only inside its `with` block"):
        run.log(loss=1)
    with run:
        run.log(loss=1)
    with pytest.raises(InputError, match="only inside its `with` block"):
        run.log(loss=2)
    with pytest.raises(InputError, match="a block is entered once"):
        run.__enter__()


def test_the_name_of_an_imported_table_is_taken(store, tmp_path):
    table = tmp_path / "sizes.csv"
    table.write_text("n_params,loss\n1,2\n2,1\n")
    scalelab.import_runs(table, scalelab.open_store(store, create=True))
    with (
        pytest.raises(InputError, match="has an imported table of the name 'sizes'"),
        scalelab.run("sizes", params={"a": 1}, store=store),
    ):
        pass
