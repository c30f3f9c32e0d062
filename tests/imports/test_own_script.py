"""The script of docs/bring-your-own.md as a study of 40 trials: killed, stopped, resumed, advised."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from scalelab import load_study, open_store

PAGE = (Path(__file__).parents[2] / "docs" / "bring-your-own.md").read_text(encoding="utf-8")
SCALELAB = [sys.executable, "-m", "scalelab.cli"]

pytestmark = pytest.mark.timeout(900)


def started(folder, log):
    command = [*SCALELAB, "run", "study.toml", "--store", "digits.duckdb", "--workers", "2"]
    return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def wait_for(n, process, store):
    """Waits until so many trials are done."""
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(store.journal.folder.glob("kept/??/*.json"))) + len(store.journal.pending()) >= n:
            return
        time.sleep(0.1)


def scripts_of(process):
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "train.py" in child.cmdline():
                found.append(child)
    return found


def asked(folder, *words):
    done = subprocess.run([*SCALELAB, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_page_as_it_stands(tmp_path):
    (tmp_path / "train.py").write_text(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1])
    (tmp_path / "study.toml").write_text(re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1])
    store = open_store(tmp_path / "digits.duckdb", create=True)
    planned = asked(tmp_path, "plan", "study.toml", "--store", "digits.duckdb", "--json")
    assert len(planned["trials"]) == 40
    with (tmp_path / "log.txt").open("wb") as log:
        first = started(tmp_path, log)
        wait_for(8, first, store)
        first.kill()
        first.wait()
        second = started(tmp_path, log)
        wait_for(16, second, store)
        victims = scripts_of(second)
        for victim in victims:
            with contextlib.suppress(psutil.Error):  # it may have ended by now
                victim.kill()
        wait_for(20, second, store)
        second.send_signal(signal.SIGINT)
        assert second.wait(120) == 130
        third = started(tmp_path, log)
        assert third.wait(600) == 0, (tmp_path / "log.txt").read_text()[-3000:]
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
    runs = store.runs("digits")
    assert (len(runs), set(runs.status), set(runs.n_steps)) == (40, {"done"}, {20})
    assert runs.trial_id.is_unique
    assert store.check().healthy
    analysis = asked(
        tmp_path, "analyze", "--store", "digits.duckdb", "--study", "digits", "--no-trees", "--json"
    )
    assert {law["axis"] for law in analysis["laws"]} >= {"n_params", "n_examples"}
    asked(tmp_path, "advise", "--store", "digits.duckdb", "--budget", "1G", "--write", "next.toml", "--json")
    advised = load_study(tmp_path / "next.toml")
    assert advised.command.options.keys() == {"width", "n"}
    lines = [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if str(tmp_path) in line]
