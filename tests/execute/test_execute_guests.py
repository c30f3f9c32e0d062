"""Components that print, read, fork and start processes, in real workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid

import psutil
import pytest

from scalelab import load_study, run_study
from scalelab.execute.events import Retried
from scalelab.execute.jobs import Progressed, Warned
from scalelab.store import Journal
from scalelab.study import expand
from scalelab.supervise.stop import StopSignal

GUESTS = """
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import scalelab


class GuestParams(scalelab.Params):
    does: str
    ready: str = ""


class Numbers:
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return index


def double(number):
    return 2 * number


kept = []


def act(params):
    kind, _, how = params.does.partition(" ")
    if kind == "pool":
        with multiprocessing.get_context(how).Pool(2) as pool:
            assert pool.map(double, [1, 2]) == [2, 4]
    if kind == "loader":
        from torch.utils.data import DataLoader

        loader = DataLoader(
            Numbers(), batch_size=3, num_workers=2, multiprocessing_context=how, persistent_workers=True
        )
        for _ in range(2):
            assert [batch.tolist() for batch in loader] == [[0, 1, 2], [3, 4, 5]]
        kept.append(loader)
    if kind == "die":
        if os.fork() == 0:
            time.sleep(3600)
            os._exit(0)
        print("my last words", flush=True)
        os.kill(os.getpid(), signal.SIGABRT)
    if kind == "killed":
        if os.fork() == 0:
            time.sleep(3600)
            os._exit(0)
        print("before the end", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "chat":
        for _ in range(100_000):
            print("x" * 99)
        subprocess.run(["sh", "-c", "echo a child; echo its error >&2"], check=True)
        ctypes.CDLL(None).puts(b"a native print")
        print('{"kind":"broken","trial_id":"' + how + '","message":"a lie"}')
    if kind == "fail":
        print("before it fails")
        raise ValueError("as it must")
    if kind == "helpers":
        subprocess.Popen(["sleep", "3600"])
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
            os._exit(0)
    if params.ready:
        open(params.ready, "w").close()
        time.sleep(3600)


def open_guest(params):
    if "scalelab.execute.worker" in sys.orig_argv:
        act(params)
    inputs = np.random.default_rng(0).normal(size=(32, 1, 16)).astype("float32")
    split = scalelab.Split(inputs, np.arange(32) % 2)
    task = scalelab.Task(input_shape=(1, 16), n_outputs=2)
    return scalelab.OpenDataset(task=task, train=split, validation=split, fingerprint="guest")


@scalelab.hookimpl
def scalelab_datasets():
    return [scalelab.Dataset(name="guest", summary="G", open=open_guest, params=GuestParams)]
"""

STUDY = """
name = "guests"

[dataset]
name = "guest"
options = {{ does = "{does}", ready = "{ready}" }}

[[architecture]]
name = "net"

[[optimizer]]
name = "plain-sgd"

[training]
length = {{ steps = 4 }}
batch_size = 8
validations = 2
"""


@pytest.fixture
def guest(lab):
    (lab.plugins / "guests.py").write_text(GUESTS)

    def study(does, ready=""):
        path = lab.folder / "guests.toml"
        path.write_text(STUDY.format(does=does, ready=ready))
        return path

    return study


def run(lab, study, **options):
    return run_study(study, lab.store, catalog=lab.catalog(), threads=1, **options)


def logs(lab) -> dict[str, str]:
    """What attempts printed, by the name of the log."""
    folder = lab.folder / "store.duckdb.journal" / "logs"
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*")}


@pytest.mark.parametrize("does", ["pool fork", "pool spawn", "loader fork"])
def test_helpers_work_in_a_worker(lab, guest, does):
    assert run(lab, guest(does)).done == 1
    assert logs(lab) == {}, "nothing was printed"


@pytest.mark.parametrize("how", ["spawn", "forkserver"])
def test_helpers_work_in_the_command_that_opens_the_dataset(lab, guest, how):
    text = GUESTS.replace(
        'if "scalelab.execute.worker" in sys.orig_argv:', 'if "worker" not in str(sys.orig_argv):'
    )
    study = guest(f"pool {how}")
    (lab.plugins / "guests.py").write_text(text)
    command = [sys.executable, "-m", "scalelab.cli", "run", str(study), "--store", str(lab.store)]
    ran = subprocess.run(
        [*command, "--plugins-dir", str(lab.plugins)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("how", "reason", "printed"),
    [
        ("die", "its worker was killed by SIGABRT: my last words", "my last words\n"),
        (
            "killed",
            "its worker was killed by SIGKILL (the kernel does this when memory runs out)",
            "before the end\n",
        ),
    ],
)
def test_a_dead_worker_is_noticed_though_its_helper_lives(lab, guest, how, reason, printed):
    events = []
    summary = run(lab, guest(how), max_attempts=2, on_event=events.append)
    (trial_id,) = summary.failed
    reasons = [event.reason for event in events if isinstance(event, Retried)]
    assert reasons == [f"{reason} (log: {trial_id}-1.txt)"]
    assert summary.failed == {trial_id: f"lost 2 times in this run; {reason} (log: {trial_id}-2.txt)"}
    assert logs(lab) == {f"{trial_id}-{attempt}.txt": printed for attempt in (1, 2)}
    assert summary.logs[trial_id].name == f"{trial_id}-2.txt"
    assert summary.seconds < 600, "the stall limit is 900 seconds"


def test_what_a_trial_prints_is_in_its_log_and_not_on_the_terminal(lab, guest, capfd):
    summary = run(lab, guest("chat"))
    assert (summary.done, summary.logs) == (1, {})
    assert capfd.readouterr() == ("", "")
    ((_, text),) = logs(lab).items()
    assert len(text) < 10_100_000
    assert text.startswith("x" * 99 + "\n")
    assert all(words in text for words in ("a child\n", "its error\n", "a native print\n", '"a lie"}\n'))


def test_a_failure_has_its_traceback_after_the_prints_and_names_the_log(lab, guest):
    command = [sys.executable, "-m", "scalelab.cli", "run", str(guest("fail")), "--store", str(lab.store)]
    ran = subprocess.run(
        [*command, "--plugins-dir", str(lab.plugins)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    ((name, text),) = logs(lab).items()
    assert text.startswith("before it fails\nTraceback")
    assert text.endswith("ValueError: as it must\n")
    (line,) = [line for line in ran.stdout.splitlines() if line.startswith("  failed ")]
    assert "ValueError: as it must (at guests.py:" in line
    assert line.endswith(f"(log: {lab.store}.journal/logs/{name})")


def test_a_warning_of_scalelab_reaches_the_user_once_and_each_log(lab):
    study = lab.study()
    for trial in expand(load_study(study, lab.catalog()), lab.catalog()).trials:
        Journal(lab.store).checkpoint(trial.id).write_bytes(b"garbage")
    events = []
    assert run(lab, study, on_event=events.append).done == 4
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert "training starts over" in warned.message
    assert len(logs(lab)) == 4
    assert all("training starts over" in text for text in logs(lab).values())


def marked(mark: str) -> list[psutil.Process]:
    """The processes that have a mark in their environment, but for this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("GUESTS_OF") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("end", ["done", "kill -9"])
def test_nobody_is_left_after_a_run(lab, guest, end):
    ready = "" if end == "done" else str(lab.folder / "ready")
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "scalelab.cli", "run", str(guest("helpers", ready)), "--json"]
    command += ["--store", str(lab.store), "--plugins-dir", str(lab.plugins)]
    process = subprocess.Popen(
        command, env={**os.environ, "GUESTS_OF": mark}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    if ready:
        while not os.path.exists(ready):
            assert process.poll() is None
            time.sleep(0.05)
        assert len(marked(mark)) >= 4, "coordinator, worker and helpers"
        process.send_signal(signal.SIGKILL)
    out, _ = process.communicate(timeout=120)
    if not ready:
        assert json.loads(out)["done"] == 1
    deadline = time.monotonic() + 30
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert marked(mark) == []


def test_an_interrupted_trial_names_its_log(lab):
    plugin = lab.plugins / "toys.py"
    plugin.write_text(plugin.read_text().replace("self.calls = 0", "self.calls = 0; print('a net')"))
    stop = StopSignal()

    def hear(event):
        if isinstance(event, Progressed):
            stop.request()

    study = lab.study(steps=100_000, options="ms_per_step = 20")
    summary = run(lab, study, stop=stop, on_event=hear)
    assert (summary.interrupted, summary.failed) == (1, {})
    ((trial_id, log),) = summary.logs.items()
    assert log.name == f"{trial_id}-1.txt"
    assert "a net\n" in log.read_text(encoding="utf-8")
