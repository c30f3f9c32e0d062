"""A supervised process: orders, events, its end and the reasons for it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time

import psutil
import pytest

from scalelab.supervise.process import Supervised

WORKER = """
import os, signal, subprocess, sys, time

from scalelab.errors import InputError
from scalelab.records import Frozen
from scalelab.supervise.workbench import one_line, serve


class Said(Frozen):
    text: str


def work(line, send, should_stop):
    order = line.strip()
    print("working at", order, flush=True)
    if order == "die":
        print("out of ideas", file=sys.stderr, flush=True)
        os._exit(3)
    if order == "abort":
        os.abort()
    if order == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "hang":
        time.sleep(3600)
    if order == "child":
        send(Said(text=str(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]).pid)))
        return
    if order == "wait":
        while not should_stop():
            time.sleep(0.01)
    send(Said(text=order))


if __name__ == "__main__":
    serve(work)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    (tmp_path / "toy_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    started = []

    def one() -> tuple[Supervised[str], list[bytes]]:
        printed: list[bytes] = []
        started.append(Supervised("toy_worker", str.strip, threads=3, output=printed.append))
        return started[-1], printed

    yield one
    for process in started:
        process.kill()


def heard(process):
    return process.heard.get(timeout=60)


def test_orders_are_answered_in_turn_and_prints_are_no_answers(start):
    process, printed = start()
    process.send("one")
    process.send("two")
    assert [heard(process) for _ in range(2)] == [(process, '{"text":"one"}'), (process, '{"text":"two"}')]
    process.close()
    assert heard(process) == (process, None)
    assert process.why_lost() == "its worker ended with exit code 0: working at two"
    assert b"".join(printed) == b"working at one\nworking at two\n"


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("die", "its worker ended with exit code 3: out of ideas"),
        ("abort", "its worker was killed by SIGABRT: working at abort"),
        ("killed", "its worker was killed by SIGKILL (the kernel does this when memory runs out)"),
    ],
)
def test_the_reason_of_an_end_is_told_with_its_last_words(start, order, reason):
    process, _ = start()
    process.send(order)
    assert heard(process) == (process, None)
    assert process.why_lost() == reason
    process.send("too late")
    process.close()


def test_what_it_started_ends_with_it(start):
    process, _ = start()
    process.send("child")
    child = psutil.Process(int(heard(process)[1].split('"')[3]))
    assert child.is_running()
    process.send("die")
    assert heard(process) == (process, None)
    assert psutil.wait_procs([child], timeout=30)[0]


def test_a_hung_process_is_killed(start):
    process, _ = start()
    process.send("hang")
    with pytest.raises(queue.Empty):
        process.heard.get(timeout=1.0)
    process.kill()
    assert heard(process) == (process, None)
    assert not psutil.pid_exists(process.pid)


def test_work_is_asked_to_end_early(start):
    process, _ = start()
    process.send("wait")
    process.send("interrupt")
    assert heard(process) == (process, '{"text":"wait"}')


COORDINATOR = """
import sys, time

from scalelab.supervise.process import Supervised

process = Supervised("toy_worker", str.strip, threads=1, output=lambda printed: None)
process.send("one")
process.heard.get(timeout=60)
process.send("hang")
print(process.pid, flush=True)
time.sleep(3600)
"""


def test_it_ends_with_a_coordinator_that_is_killed(start):
    coordinator = subprocess.Popen([sys.executable, "-c", COORDINATOR], stdout=subprocess.PIPE, text=True)
    worker = psutil.Process(int(coordinator.stdout.readline()))
    assert worker.is_running()
    coordinator.send_signal(signal.SIGKILL)
    coordinator.wait()
    deadline = time.monotonic() + 30
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    coordinator.stdout.close()
