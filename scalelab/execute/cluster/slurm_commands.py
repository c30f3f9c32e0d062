"""What SLURM's own commands say of jobs; they answer with accounting and without.

`squeue` lists what waits and runs. A job that has ended stays known to `scontrol` for `MinJobAge` (300 s by
default), and to `sacct` for ever where there is an accounting database.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from scalelab.execute.cluster.machines import Gone
from scalelab.supervise.process import TAIL_BYTES, last_words

ANSWER_SECONDS = 30.0
ASKING_SECONDS = 5.0
"""How long one asks how jobs ended, before the run is looked after again."""
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"}
UNKNOWN = "UNKNOWN"
ALIVE = WAITING | {"RUNNING", "SUSPENDED", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED"}
# What says nothing about the trial that the job was at. A time limit does: asked, it wrote no checkpoint.
_NOT_ITS_FAULT = {
    "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "CANCELLED", "REVOKED", "REQUEUED", UNKNOWN
}  # fmt: skip
_FORMATS = ("SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_")


@dataclass(frozen=True)
class Row:
    """A job in SLURM's queue.

    Attributes:
        state: In SLURM's words, such as `"PENDING"`.
        node: Where it runs; empty while it waits.
        reason: What it waits for; empty where nothing is said.
    """

    state: str
    node: str = ""
    reason: str = ""


@dataclass(frozen=True)
class _End:
    """How a job ended, in SLURM's words; empty where it says nothing."""

    state: str
    reason: str = ""
    code: str = ""


def asked(*command: str) -> str | None:
    """Returns what a command of SLURM's prints; `None` where it fails or takes over `ANSWER_SECONDS`."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(_FORMATS)}
    environment |= {"SLURM_TIME_FORMAT": "standard", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=ANSWER_SECONDS,
            env=environment, stdin=subprocess.DEVNULL, check=True,
        )  # fmt: skip
    except (subprocess.SubprocessError, OSError):
        return None
    return done.stdout


def queue(job_name: str) -> dict[str, Row] | None:
    """Returns the jobs of a name that wait or run, by id (`7_0` in an array); `None` without an answer."""
    said = asked("squeue", "-h", "-r", "-n", job_name, "-o", "%i|%T|%N|%r")
    if said is None:
        return None
    rows = (line.strip().split("|", 3) for line in said.splitlines())
    return {
        row[0]: Row(row[1], row[2], "" if row[3] == "None" else row[3])
        for row in rows
        if len(row) == 4 and row[1] in ALIVE
    }


def cluster_name() -> str:
    """Returns what the cluster is called; empty where SLURM does not say."""
    said = asked("scontrol", "show", "config") or ""
    found = re.search(r"^ClusterName\s*=\s*(\S+)", said, re.MULTILINE)
    return found[1] if found else ""


def gone(jobs: Iterable[str], log_of: Callable[[str], Path]) -> list[Gone]:
    """Returns how jobs ended, as far as SLURM still knows.

    It is asked for a few seconds at most; jobs that are not among the answers are to be asked for again.

    Args:
        jobs: Their ids.
        log_of: Returns where a job printed to.
    """
    arrays: dict[str, list[str]] = {}
    for job in jobs:
        arrays.setdefault(_array(job), []).append(job)
    ends: dict[str, _End] = {}
    told: list[str] = []
    deadline = time.monotonic() + ASKING_SECONDS
    for array, its_jobs in arrays.items():  # one question each: scontrol takes no list of ids
        if told and time.monotonic() > deadline:
            break
        told += its_jobs
        for line in (asked("scontrol", "show", "job", "-o", array) or "").splitlines():
            state, reason, code = (_field(line, name) for name in ("JobState", "Reason", "ExitCode"))
            ends[_job_of(line)] = _End(state, reason, code)
    left = dict.fromkeys(_array(job) for job in told if job not in ends)
    listed = (
        asked("sacct", "-n", "-X", "-P", "-o", "JobID,State,ExitCode", "-j", ",".join(left)) if left else ""
    )
    for line in (listed or "").splitlines():
        job, said, code = [*line.split("|"), "", ""][:3]
        state = (said.split() or [UNKNOWN])[0].rstrip("+")  # CANCELLED by 1000
        ends.setdefault(job, _End(state, code=code))
    return [_gone(job, ends.get(job, _End(UNKNOWN)), log_of(job)) for job in told]


def _array(job: str) -> str:
    return job.partition("_")[0]


def _job_of(shown: str) -> str:
    """Returns the id of a job that `scontrol` shows, `7_0` in an array."""
    array = _field(shown, "ArrayJobId")
    return f"{array}_{_field(shown, 'ArrayTaskId')}" if array else _field(shown, "JobId")


def _gone(job: str, end: _End, log: Path) -> Gone:
    details = [f"exit code {end.code}"] if end.code not in ("", "0:0") else []
    details += [end.reason] if end.reason not in ("", "None", "NonZeroExitCode") else []
    words = _last_words(log) if end.state == "FAILED" else ""
    said = f"job {job} ended {end.state}" + (f" ({', '.join(details)})" if details else "")
    return Gone(
        job,
        said + (f": {words}" if words else ""),
        counts=end.state not in _NOT_ITS_FAULT,
        expected=end.state == "COMPLETED",
    )


def _field(shown: str, name: str) -> str:
    found = re.search(rf"(?:^|\s){name}=(\S+)", shown)
    return found[1] if found else ""


def _last_words(log: Path) -> str:
    """Returns the last line of a job's log, remarks of srun and submitit left out."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return last_words(file.read(TAIL_BYTES), without=("srun:", "submitit "))
    except OSError:
        return ""


def seconds_left(job: str) -> float | None:
    """Returns the seconds until a job's time limit; `None` where it has none or SLURM does not say."""
    said = (asked("squeue", "-h", "-j", job, "-o", "%L") or "").strip()
    found = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", said)
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def refusal(text: str) -> str:
    """Returns the line of what `sbatch` printed that says why it refused."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    for mark in ("error:", "sbatch:", ""):
        said = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines if mark in line]
        if said:
            return "; ".join(dict.fromkeys(said))[:300]
    return "sbatch gave no reason"
