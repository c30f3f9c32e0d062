"""kill -9 of coordinators and workers at random moments: every acknowledged record is there exactly once.

`benchmarks/kills.py` makes a thousand of them.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from scalelab import open_store

KILLS = 8
SEEDS = 5
TRIALS = 4 * SEEDS


def start(lab, study, log) -> subprocess.Popen:
    command = [sys.executable, "-m", "scalelab.cli", "run", str(study), "--store", str(lab.store)]
    command += ["--workers", "2", "--plugins-dir", str(lab.plugins)]
    return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def works(child: psutil.Process) -> bool:
    """Whether a child is a worker, and not the guard of one."""
    try:
        return "scalelab.execute.worker" in child.cmdline()
    except psutil.Error:
        return False


def strike(process: subprocess.Popen, rng: random.Random) -> bool:
    """Kills the coordinator or one of its workers; returns whether something was there to kill."""
    children = psutil.Process(process.pid).children() if process.poll() is None else []
    victim = rng.choice([process.pid, *(child.pid for child in children if works(child))])
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        return False
    if victim == process.pid:
        process.wait()
    return True


def acknowledged(log_path: Path) -> list[str]:
    """Returns the trials that a coordinator said are done, in order."""
    return re.findall(r"\] done ([0-9a-f]{16})", log_path.read_text(encoding="utf-8"))


def wait_a_while(process: subprocess.Popen, log_path: Path, rng: random.Random) -> None:
    """Waits for a random moment: of start-up, or after another trial was acknowledged."""
    if rng.random() < 0.5:
        before, deadline = len(acknowledged(log_path)), time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            if len(acknowledged(log_path)) > before:
                break
            time.sleep(0.02)
    time.sleep(rng.uniform(0.0, 1.0))


def test_eight_kills_lose_and_double_nothing(lab):
    rng = random.Random(0)
    study = lab.study(seeds=SEEDS, steps=20, options="ms_per_step = 25.0")
    log_path = lab.folder / "log.txt"
    kills = 0
    with log_path.open("wb") as log:
        process = start(lab, study, log)
        deadline = time.monotonic() + 200
        while kills < KILLS and time.monotonic() < deadline:
            wait_a_while(process, log_path, rng)
            if process.poll() is not None:
                process = start(lab, study, log)
                continue
            kills += strike(process, rng)
        if process.poll() is None:
            process.kill()
            process.wait()
    assert kills >= KILLS
    command = [sys.executable, "-m", "scalelab.cli", "run", str(study), "--store", str(lab.store)]
    command += ["--workers", "2", "--plugins-dir", str(lab.plugins), "--json", "--retry-failed"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["complete"]

    store = open_store(lab.store)
    runs = store.runs("tiny")
    assert len(runs) == TRIALS
    assert runs.trial_id.is_unique
    assert set(runs.status) == {"done"}
    done = store.sql("select trial_id, count(*) as n from records where status = 'done' group by trial_id")
    assert len(done) == TRIALS
    assert (done.n == 1).all()
    ids = store.sql("select trial_id, attempt, count(*) as n from records group by all")
    assert (ids.n == 1).all()
    said = acknowledged(log_path)
    assert said
    assert set(said) <= set(done.trial_id)
    assert len(said) == len(set(said))
