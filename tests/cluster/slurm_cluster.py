"""A SLURM of two nodes on this machine, in a folder of its own: munged, slurmctld, two slurmd.

Each node has two CPUs and two things that pass for GPUs. Jobs of the partition `high` preempt those of `low`,
which wait again then. There is no accounting, as on many small clusters.
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
START_SECONDS = 120.0
# SLURM starts a job again no sooner than the credential of its first life has run out: 120 s by default.
CREDENTIAL_SECONDS = 10
NODES = ("n1", "n2")
CONFIGURATION = """
ClusterName=two
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire={credential}
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdSpoolDir={folder}/spool.%n
StateSaveLocation={folder}/state
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=5
MinJobAge=300
SlurmdTimeout=30
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000 Gres=gpu:2
PartitionName=low Nodes=n1,n2 Default=YES MaxTime=INFINITE PriorityTier=1
PartitionName=high Nodes=n1,n2 MaxTime=INFINITE PriorityTier=10
PartitionName=short Nodes=n1,n2 MaxTime=2 PriorityTier=1
"""


def why_not() -> str:
    """Returns why no SLURM can be started here; empty where one can."""
    found = {name: _program(name) for name in PROGRAMS}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        return f"{', '.join(missing)} not installed: `.ci/slurm.sh` installs Debian's slurm-wlm and munge"
    return "" if importlib.util.find_spec("submitit") else "submitit not installed: make test-slurm"


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin")


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class SlurmCluster:
    """The daemons; what they are started with, and what tests do to them.

    Args:
        folder: Where everything lies; its path must be short, for a socket's has at most 107 characters.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Writes the configuration, starts everything and waits until both nodes are idle."""
        self._configure()
        munge = self.folder / "munge"
        self._run(
            "munged", "--foreground", "--force", f"--socket={munge}/socket", f"--key-file={munge}/key",
            f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed",
        )  # fmt: skip
        self.wait(lambda: (munge / "socket").exists(), "munged made no socket")
        self.start_controller()
        for node in NODES:
            self._run("slurmd", "-D", "-N", node, name=node)
        self.wait(
            lambda: self.ask("sinfo", "-h", "-N", "-p", "low", "-o", "%T").split() == ["idle"] * 2,
            "no idle nodes",
        )

    def _configure(self) -> None:
        for name in ("state", "spool.n1", "spool.n2", "munge"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge").chmod(0o755)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        host = socket.gethostname().partition(".")[0]
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        text = CONFIGURATION.format(
            host=host, user=user, folder=self.folder, ports=_free_ports(3), credential=CREDENTIAL_SECONDS
        )
        (self.folder / "slurm.conf").write_text(text)
        for index, device in enumerate(
            ("null", "zero")
        ):  # SLURM wants a device; what it does is nothing to it
            (self.folder / f"gpu{index}").symlink_to(f"/dev/{device}")
        (self.folder / "gres.conf").write_text(f"NodeName=n[1-2] Name=gpu File={self.folder}/gpu[0-1]\n")
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")

    def start_controller(self) -> None:
        """Starts slurmctld, also once more after it was killed."""
        self._run("slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))
        self.wait(lambda: "is UP" in self.ask("scontrol", "ping"), "slurmctld does not answer")

    def kill_controller(self) -> None:
        """Ends slurmctld as a failure of its machine would."""
        process = self._processes.pop("slurmctld")
        process.kill()
        process.wait()

    def _run(self, program: str, *arguments: str, name: str = "") -> None:
        found = _program(program)
        assert found is not None
        log = (self.folder / f"{name or program}.out").open("ab")
        self._processes[name or program] = subprocess.Popen(
            [found, *arguments], env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for pytest, which ends them
        )  # fmt: skip

    def wait(self, ready: Callable[[], object], otherwise: str, seconds: float = START_SECONDS) -> None:
        """Waits until something is so."""
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                tails = [
                    f"{path.name}: {path.read_text(errors='replace')[-800:]}"
                    for path in sorted(self.folder.glob("*.log")) + sorted(self.folder.glob("*.out"))
                ]
                raise AssertionError(f"{otherwise} within {seconds:.0f} s\n" + "\n".join(tails))
            time.sleep(0.2)

    def ask(self, *command: str) -> str:
        """Returns what one of SLURM's commands prints, on both channels."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        return done.stdout + done.stderr

    def jobs(self, state: str = "") -> list[str]:
        """Returns the jobs that SLURM has, by the names that scalelab gives them."""
        wanted = ["-t", state] if state else []
        return self.ask("squeue", "-h", "-r", "-o", "%i", *wanted).split()

    def clear(self) -> None:
        """Cancels all jobs, brings both nodes and the controller back, and waits until nothing runs."""
        if "slurmctld" not in self._processes:
            self.start_controller()
        self.ask("scancel", "-u", str(os.getuid()))
        for node in NODES:
            if not re.search(r"State=(IDLE|MIXED|ALLOCATED)\S*", self.ask("scontrol", "show", "node", node)):
                self.ask("scontrol", "update", f"nodename={node}", "state=resume")
            self.ask("scontrol", "update", f"nodename={node}", "state=resume")
        self.wait(lambda: not self.jobs(), "jobs live on")
        self.wait(
            lambda: self.ask("sinfo", "-h", "-N", "-p", "low", "-o", "%T").split() == ["idle"] * 2,
            "no idle nodes",
        )

    def stop(self) -> None:
        """Ends all daemons and all that they started."""
        for name in (*NODES, "slurmctld", "munged"):
            process = self._processes.pop(name, None)
            if process is not None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
