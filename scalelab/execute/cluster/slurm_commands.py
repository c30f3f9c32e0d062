"""What SLURM's own commands say of jobs; they answer with accounting and without.

`squeue` lists what waits and runs. A job that has ended stays known to `scontrol` for `MinJobAge` (300 s by
default), and to `sacct` for ever where there is an accounting database.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from scalelab.execute.cluster.machines import Gone
from scalelab.supervise.process import last_words

ANSWER_SECONDS = 30.0
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"}
ALIVE = WAITING | {"RUNNING", "SUSPENDED", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED"}
# What says nothing about the trial that the job was at. A time limit does: asked, it wrote no checkpoint.
_NOT_ITS_FAULT = {
    "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "CANCELLED", "REVOKED", "REQUEUED", "UNKNOWN"
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


def gone(job: str, log: Path) -> Gone:
    """Returns how a job ended, as far as SLURM still knows.

    Args:
        job: Its id.
        log: What it printed.
    """
    shown = asked("scontrol", "show", "job", "-o", job) or ""
    state, reason, code = (_field(shown, name) for name in ("JobState", "Reason", "ExitCode"))
    if not state:
        listed = (asked("sacct", "-n", "-X", "-P", "-o", "State,ExitCode", "-j", job) or "").splitlines()
        said, _, code = (listed or ["UNKNOWN|"])[0].partition("|")
        state = (said.split() or ["UNKNOWN"])[0].rstrip("+")  # CANCELLED by 1000
    details = [f"exit code {code}"] if code not in ("", "0:0") else []
    details += [reason] if reason not in ("", "None", "NonZeroExitCode") else []
    words = _last_words(log) if state == "FAILED" else ""
    said = f"job {job} ended {state}" + (f" ({', '.join(details)})" if details else "")
    return Gone(
        job,
        said + (f": {words}" if words else ""),
        counts=state not in _NOT_ITS_FAULT,
        expected=state == "COMPLETED",
    )


def _field(shown: str, name: str) -> str:
    found = re.search(rf"(?:^|\s){name}=(\S+)", shown)
    return found[1] if found else ""


def _last_words(log: Path) -> str:
    """Returns the last line of a job's log, remarks of srun and submitit left out."""
    try:
        return last_words(log.read_bytes()[-4000:], without=("srun:", "submitit "))
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
