"""What the tests on SLURM share: toys, coordinators in processes of their own, what must hold afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import psutil
from execute_toys import ROOT, Lab, local_losses, losses

from scalelab.store import open_store
from scalelab.store.kinds import RECORDS

WAIT_SECONDS = 400.0
COORDINATOR = """
import json, sys
from pathlib import Path
from scalelab.errors import ScalelabError
from scalelab.execute.cluster.options import Cluster
from scalelab.execute.coordinator import run_study
from scalelab.plugins import load_plugins
from scalelab.supervise.stop import StopSignal

study, store, plugins, options = sys.argv[1:]
options = json.loads(options)
device = options.pop("device", "auto")

def tell(event):
    told = {"event": type(event).__name__, "trial": getattr(event, "trial_id", None)}
    told |= {key: str(getattr(event, key)) for key in ("status", "reason", "where") if hasattr(event, key)}
    print(json.dumps(told), flush=True)

try:
    summary = run_study(
        study, store, on=Cluster.of(**options), device=device, stop=StopSignal(), on_event=tell,
        catalog=load_plugins(plugins_dirs=[Path(plugins)]),
    )
except ScalelabError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
names = ("n_trials", "kept", "done", "failed", "interrupted", "elsewhere", "left")
told = {name: getattr(summary, name) for name in names}
print(json.dumps({"event": "Summary", "complete": summary.complete, **told}))
"""


class Coordinator:
    """`run_study(on=…)` in a process of its own, with what it says as events."""

    started: ClassVar[list[Coordinator]] = []

    def __init__(self, lab: Lab, study: Path, environment: dict[str, str], **options: object) -> None:
        self._lab, self._count = lab, len(list(lab.folder.glob("coordinator*.out")))
        self.log = lab.folder / f"coordinator{self._count}.out"
        self.errors = lab.folder / f"coordinator{self._count}.err"
        script = lab.folder / "coordinator.py"
        script.write_text(COORDINATOR)
        options = {"on": "slurm:low", "slots": 2, **options}
        command = [sys.executable, str(script), str(study), str(lab.store), str(lab.plugins)]
        command.append(json.dumps(options))
        with self.log.open("wb") as out, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=errors, start_new_session=True,
                env={**environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        Coordinator.started.append(self)

    def events(self, kind: str = "") -> list[dict]:
        """Returns what it said so far."""
        lines = self.log.read_text().splitlines(keepends=True)
        said = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in said if kind in ("", event["event"])]

    def wait_for(self, ready: Callable[[], object], what: str) -> None:
        """Waits while it lives until something is so."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not ready():
            assert self.process.poll() is None, f"ended before {what}: {self.said()}"
            assert time.monotonic() < deadline, f"not {what} within {WAIT_SECONDS:.0f} s: {self.said()}"
            time.sleep(0.1)

    def wait_done(self, n: int) -> None:
        """Waits until so many trials are done."""
        self.wait_for(lambda: len(self.events("Finished")) >= n, f"{n} done")

    def end(self) -> dict:
        """Waits for its end; returns its summary."""
        code = self.process.wait(WAIT_SECONDS)
        assert code == 0, self.said()
        return self.events("Summary")[-1]

    def kill(self) -> None:
        """Kills it, as a login node does that runs out of memory."""
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """Presses Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def said(self) -> str:
        """Returns the end of what it said, for a failed test."""
        return self.log.read_text()[-3000:] + self.errors.read_text()[-3000:]


def check_settled(lab: Lab, study: Path, *coordinators: Coordinator) -> None:
    """Makes sure that every trial is done once, with the local loss, and nothing acknowledged is missing."""
    assert losses(lab.store) == local_losses(lab, study)
    told = Counter(
        event["trial"]
        for one in coordinators
        for event in one.events("Finished")
        if event["status"] == "done"
    )
    assert set(told) <= set(losses(lab.store))
    assert all(n == 1 for n in told.values())
    journal = open_store(lab.store).journal
    kept = [path.name.removesuffix(RECORDS.suffix) for path in journal.kept.glob(f"??/*{RECORDS.suffix}")]
    rows = open_store(lab.store).sql("SELECT trial_id, attempt FROM records")
    assert sorted(kept) == sorted(f"{row.trial_id}-{row.attempt}" for row in rows.itertuples())
    assert not journal.pending()
    assert not list((journal.folder / "claims").glob("*.json"))
    for one in coordinators:
        assert "Traceback" not in one.errors.read_text(), one.said()


def agents(lab: Lab) -> list[psutil.Process]:
    """Returns the Python processes of the lab's jobs."""
    return [process for process in psutil.process_iter() if _is_agent(process, str(lab.folder))]


def _is_agent(process: psutil.Process, folder: str) -> bool:
    try:
        command = process.cmdline()
        here = "submitit.core._submit" in command and any(folder in word for word in command)
        return here and "srun" not in command[0]
    except psutil.Error:
        return False


def worker_of(agent: psutil.Process) -> psutil.Process | None:
    """Returns the worker of a job."""
    for child in agent.children(recursive=True):
        try:
            if "scalelab.execute.worker" in child.cmdline():
                return child
        except psutil.Error:
            continue
    return None


def strike(process: psutil.Process) -> None:
    """Kills a process."""
    os.kill(process.pid, signal.SIGKILL)
