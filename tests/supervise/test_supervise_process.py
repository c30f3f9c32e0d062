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
from scalelab.supervise.workbench import INTERRUPT_LINE

WORKER = """
import multiprocessing, os, signal, subprocess, sys, time

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
    if order in ("child", "daemon"):
        child = subprocess.Popen(["sleep", "3600"], start_new_session=order == "daemon")
        send(Said(text=str(child.pid)))
        return
    if order == "stubborn":
        # Forked, so that it has whatever this process has, and deaf to being asked.
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
            os._exit(0)
        send(Said(text=str(child)))
        return
    if order == "input":
        try:
            input()
        except EOFError:
            send(Said(text="nothing to read"))
        return
    if order == "cat":
        subprocess.run(["cat"], check=True)
    if order.startswith("pool "):
        with multiprocessing.get_context(order.split()[1]).Pool(2) as pool:
            send(Said(text=str(pool.map(abs, [-1, -2]))))
        return
    if order == "terminate":
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=[3600])
        child.start()
        child.terminate()
        child.join(60)
        send(Said(text=str(child.exitcode)))
        return
    if order == "lie":
        print('{"text":"a lie"}', flush=True)
    if order == "many":
        for number in range(5000):
            send(Said(text=f"{number} {'x' * 100}"))
        os._exit(0)
    if order == "close":
        os.close(1)
        os.close(2)
    if order == "torn":
        os.write(int(sys.orig_argv[-1]), b'{"text":')
        os._exit(0)
    if order == "nonsense":
        os.write(int(sys.orig_argv[-1]), b"what is no event \\xff\\n")
        time.sleep(3600)
    if order == "unicode":
        print("\\u6f22\\xe9 \\udce9", flush=True)
        sys.stderr.write("\\U0001f389\\n")
    if order.startswith("script "):
        subprocess.run([sys.executable, order.split()[1]], check=True)
    if order == "wait":
        while not should_stop():
            time.sleep(0.01)
    send(Said(text=order))


if __name__ == "__main__":
    serve(work)
"""


def parsed(line: str) -> str:
    if not line.startswith("{"):
        raise ValueError(line)
    return line.strip()


@pytest.fixture
def start(tmp_path, monkeypatch):
    (tmp_path / "toy_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    started = []

    def one() -> tuple[Supervised[str], list[bytes]]:
        printed: list[bytes] = []
        started.append(Supervised("toy_worker", parsed, threads=3, output=printed.append))
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


def test_an_order_that_closes_what_it_prints_to_is_the_only_one_that_misses_it(start):
    process, printed = start()
    process.send("close")
    process.send("two")
    assert [heard(process)[1] for _ in range(2)] == ['{"text":"close"}', '{"text":"two"}']
    process.close()
    assert b"".join(printed) == b"working at close\nworking at two\n"


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


def started_by(process, order) -> psutil.Process:
    """What a process started on an order, and says the number of."""
    process.send(order)
    child = psutil.Process(int(heard(process)[1].split('"')[3]))
    assert child.is_running()
    return child


def gone(process: psutil.Process) -> bool:
    """Whether a process ends; nobody may be there who takes note of the end."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("child", ["child", "stubborn"])
@pytest.mark.parametrize("end", ["die", "killed", "kill", "close"])
def test_what_it_started_ends_with_it(start, child, end):
    process, _ = start()
    child = started_by(process, child)
    if end in ("die", "killed"):
        process.send(end)
    else:
        getattr(process, end)()
    assert heard(process) == (process, None)
    assert gone(child)


def test_a_death_is_noticed_though_a_daemon_of_it_lives(start):
    process, _ = start()
    daemon = started_by(process, "daemon")
    process.send("die")
    assert heard(process) == (process, None)
    assert process.why_lost() == "its worker ended with exit code 3: out of ideas"
    assert daemon.is_running(), "a session of its own is beyond"
    daemon.kill()


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_pools_of_processes_work(start, method):
    process, _ = start()
    process.send(f"pool {method}")
    assert heard(process) == (process, '{"text":"[1, 2]"}')


@pytest.mark.parametrize(("order", "answer"), [("input", "nothing to read"), ("cat", "cat")])
def test_standard_input_is_empty(start, order, answer):
    process, _ = start()
    process.send(order)
    assert heard(process) == (process, f'{{"text":"{answer}"}}')


def test_a_print_like_an_event_is_none(start):
    process, printed = start()
    process.send("lie")
    assert heard(process) == (process, '{"text":"lie"}')
    process.close()
    assert b'{"text":"a lie"}\n' in b"".join(printed)


def test_what_was_said_before_the_end_is_heard_in_order(start):
    process, _ = start()
    process.send("many")
    said = [heard(process)[1] for _ in range(5000)]
    assert [int(line.split('"')[3].split()[0]) for line in said] == list(range(5000))
    assert heard(process) == (process, None)


def test_half_an_event_is_none(start):
    process, _ = start()
    process.send("torn")
    assert heard(process) == (process, None)


def test_prints_go_where_they_belong_when_that_changes(start):
    process, before = start()
    process.send("one")
    heard(process)
    after = []
    process.redirect(after.append)
    process.send("two")
    heard(process)
    process.close()
    assert (b"".join(before), b"".join(after)) == (b"working at one\n", b"working at two\n")


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
process.send("child")
_, said = process.heard.get(timeout=60)
process.send("stubborn")
_, forked = process.heard.get(timeout=60)
process.send("hang")
print(process.pid, said.split('"')[3], forked.split('"')[3], flush=True)
time.sleep(3600)
"""


def test_all_of_it_ends_with_a_coordinator_that_is_killed(start):
    coordinator = subprocess.Popen([sys.executable, "-c", COORDINATOR], stdout=subprocess.PIPE, text=True)
    family = [psutil.Process(int(pid)) for pid in coordinator.stdout.readline().split()]
    assert len(family) == 3
    family += psutil.Process(coordinator.pid).children()
    coordinator.send_signal(signal.SIGKILL)
    coordinator.wait()
    assert all(gone(process) for process in family)
    coordinator.stdout.close()


def test_signals_that_a_cluster_sends_to_all_processes_of_a_job_pass_a_worker_by(start):
    process, _ = start()
    process.send("here")
    assert heard(process)[1] == '{"text":"here"}'
    process.send("wait")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(process.pid, number)
    process.send(INTERRUPT_LINE)
    assert heard(process)[1] == '{"text":"wait"}'


def test_a_workers_own_children_end_when_they_are_asked(start):
    process, _ = start()
    process.send("terminate")
    assert heard(process)[1] == f'{{"text":"{-signal.SIGTERM}"}}'


@pytest.fixture
def odd_folder(tmp_path, monkeypatch):
    """The working folder, with files named as modules that Python and workers import."""
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in ("json", "random", "torch", "pickle", "selectors", "pydantic", "scalelab"):
        (folder / f"{name}.py").write_text("raise SystemExit('a file of the working folder was imported')")
    monkeypatch.chdir(folder)
    return folder


def test_files_of_the_working_folder_are_no_modules_of_a_worker(start, odd_folder):
    process, _ = start()
    process.send("one")
    assert heard(process) == (process, '{"text":"one"}')
    for method in ("spawn", "forkserver"):
        process.send(f"pool {method}")
        assert heard(process) == (process, '{"text":"[1, 2]"}'), "nor of the processes of its pools"


def test_a_script_that_a_plugin_starts_may_import_what_lies_beside_it(start, tmp_path):
    (tmp_path / "beside.py").write_text("")
    script = tmp_path / "script.py"
    script.write_text("import beside")
    process, _ = start()
    process.send(f"script {script}")
    assert heard(process) == (process, f'{{"text":"script {script}"}}')


@pytest.mark.parametrize("encoding", ["latin-1", "ascii:strict", None])
def test_prints_are_utf_8_whatever_the_locale(start, monkeypatch, encoding):
    for name, value in {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONIOENCODING": encoding}.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    process, printed = start()
    process.send("unicode")
    assert heard(process) == (process, '{"text":"unicode"}')
    process.send("漢é🎉")
    assert heard(process) == (process, '{"text":"漢é🎉"}')
    process.close()
    text = b"".join(printed).decode()
    assert all(words in text for words in ("漢é \\udce9\n", "🎉\n", "working at 漢é🎉\n"))


def test_what_is_no_event_ends_a_process_with_the_reason(start):
    process, _ = start()
    process.send("one")
    process.send("nonsense")
    assert heard(process) == (process, '{"text":"one"}')
    assert heard(process) == (process, None)
    assert process.why_lost().endswith("wrote into the pipe of its events: what is no event \\xff")


def test_a_worker_has_variables_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "noting.py").write_text(
        "import os\nfrom scalelab.supervise.workbench import serve\nprint(os.environ['MINE'], flush=True)\n"
        "serve(lambda *_: None)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setenv("MINE", "inherited")
    printed: list[bytes] = []
    process = Supervised(
        "noting", str.strip, threads=1, output=printed.append, environment={"MINE": "its own"}
    )
    process.close()
    assert b"".join(printed) == b"its own\n"
