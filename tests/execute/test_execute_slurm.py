"""What is understood of SLURM's answers: recorded ones, and ones that are strange or never come."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.errors import InputError
from scalelab.execute.cluster import slurm_commands
from scalelab.execute.cluster.agent import TAKEN_AWAY
from scalelab.execute.cluster.machines import Gone
from scalelab.execute.cluster.mail import Orders
from scalelab.execute.cluster.options import Cluster
from scalelab.execute.cluster.slurm import LOOK_SECONDS, Slurm, SlurmSite, check_slurm
from scalelab.execute.cluster.slurm_commands import Row, gone, queue, refusal, seconds_left
from scalelab.execute.cluster.slurm_job import Stop
from scalelab.store import Journal
from scalelab.store.fleet import Fleet

# What SLURM 22.05 prints.
SHOWN = (
    "JobId=12 ArrayJobId=11 ArrayTaskId=0 JobName=scalelab-x UserId=root(0) Priority=4294901755 "
    "Account=(null) JobState={state} Reason={reason} Dependency=(null) Requeue=1 Restarts=0 ExitCode={code} "
    "RunTime=00:00:04 TimeLimit=UNLIMITED NodeList=n1 Command=(null) StdOut=/dev/null Power= \n"
)
UNKNOWN = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
NO_ACCOUNTING = "echo 'Slurm accounting storage is disabled' >&2; exit 1"


class Fakes:
    """Commands on the PATH that print what is wanted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def say(self, command: str, text: str) -> None:
        (self.folder / f"{command}.txt").write_text(text)
        self.do(command, f'cat "{self.folder}/{command}.txt"')

    def do(self, command: str, script: str) -> None:
        path = self.folder / command
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def end_of(log: Path) -> Gone:
    """Returns how the job 11_0 ended."""
    (told,) = gone(["11_0"], lambda _job: log)
    return told


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    found = Fakes(folder)
    found.do("scontrol", UNKNOWN)
    found.do("sacct", NO_ACCOUNTING)
    return found


def test_the_queue_is_read_by_job_of_an_array_with_reasons_as_they_are(fakes: Fakes):
    reason = "ReqNodeNotAvail, UnavailableNodes:n[1-2],n4 | by an admin, for a while"
    fakes.say(
        "squeue",
        "11_0|RUNNING|n1|None\n"
        f"11_2|PENDING||{reason}\n"
        "12|COMPLETING|node[17-18]|None\n"
        "13|COMPLETED|n1|None\n"
        "slurm_load_jobs error: something\n\n",
    )
    assert queue("scalelab-x") == {
        "11_0": Row("RUNNING", "n1"),
        "11_2": Row("PENDING", "", reason),
        "12": Row("COMPLETING", "node[17-18]"),
    }


@pytest.mark.parametrize(
    "script", ["exit 1", "printf 'slurm_load_jobs error: \\377' >&2; exit 1", "sleep 60"]
)
def test_a_queue_that_fails_or_hangs_is_no_answer_and_no_end_of_jobs(fakes, script, monkeypatch):
    monkeypatch.setattr(slurm_commands, "ANSWER_SECONDS", 1.0)
    fakes.do("squeue", f"exec {script}" if script.startswith("sleep") else script)
    assert queue("scalelab-x") is None


def test_the_users_own_formats_and_language_change_nothing(fakes: Fakes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SQUEUE_STATES", "PENDING")
    monkeypatch.setenv("SQUEUE_FORMAT", "%all")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    fakes.do("squeue", 'echo "1|RUNNING|n1|$SQUEUE_STATES$SQUEUE_FORMAT$LC_ALL"')
    assert queue("scalelab-x") == {"1": Row("RUNNING", "n1", "C")}


@pytest.mark.parametrize(
    ("state", "reason", "code", "counts", "said"),
    [
        ("COMPLETED", "None", "0:0", True, "job 11_0 ended COMPLETED"),
        ("FAILED", "NonZeroExitCode", "3:0", True, "job 11_0 ended FAILED (exit code 3:0)"),
        ("NODE_FAIL", "NodeDown", "1:0", False, "job 11_0 ended NODE_FAIL (exit code 1:0, NodeDown)"),
        ("PREEMPTED", "None", "0:15", False, "job 11_0 ended PREEMPTED (exit code 0:15)"),
        ("CANCELLED", "None", "0:0", False, "job 11_0 ended CANCELLED"),
        ("TIMEOUT", "TimeLimit", "0:1", True, "job 11_0 ended TIMEOUT (exit code 0:1, TimeLimit)"),
        ("OUT_OF_MEMORY", "OutOfMemory", "0:125", True, "job 11_0 ended OUT_OF_MEMORY"),
    ],
)
def test_an_end_is_told_by_scontrol_while_that_knows_the_job(
    fakes, state, reason, code, counts, said, tmp_path
):
    fakes.say("scontrol", SHOWN.format(state=state, reason=reason, code=code))
    told = end_of(tmp_path / "no.log")
    assert told.reason.startswith(said)
    assert (told.counts, told.expected) == (counts, state == "COMPLETED")


@pytest.mark.parametrize(
    ("printed", "said", "counts"),
    [
        ("11_0|FAILED|1:0\n", "ended FAILED (exit code 1:0)", True),
        ("11_0|CANCELLED by 1000|0:15\n", "ended CANCELLED (exit code 0:15)", False),
        ("11_0|NODE_FAIL|0:0\n", "ended NODE_FAIL", False),
        ("11_0|TIMEOUT+|0:0\n", "ended TIMEOUT", True),
        ("11_[1-3]|PENDING|0:0\n11_4|FAILED|1:0\nnonsense\n", "ended UNKNOWN", False),
        ("", "ended UNKNOWN", False),
    ],
)
def test_an_end_is_told_by_accounting_later(fakes: Fakes, printed: str, said: str, counts: bool, tmp_path):
    fakes.say("sacct", printed)
    told = end_of(tmp_path / "no.log")
    assert told.reason == f"job 11_0 {said}"
    assert told.counts is counts


def test_an_end_that_nobody_knows_is_not_the_trials_failure(fakes: Fakes, tmp_path: Path):
    assert not end_of(tmp_path / "no.log").counts


def test_a_failed_job_is_told_with_the_last_thing_that_it_printed(fakes: Fakes, tmp_path: Path):
    fakes.say("scontrol", SHOWN.format(state="FAILED", reason="NonZeroExitCode", code="1:0"))
    log = tmp_path / "job.log"
    log.write_bytes(
        b"Traceback\nModuleNotFoundError: No module named \xff'scalelab'\x1b[0m\nsrun: error: n1: task 0\n\n"
    )
    assert end_of(log).reason.endswith(
        "(exit code 1:0): ModuleNotFoundError: No module named �'scalelab' [0m"
    )


def test_the_end_of_a_log_is_read_however_long_it_is(fakes: Fakes, tmp_path: Path):
    fakes.say("scontrol", SHOWN.format(state="FAILED", reason="None", code="1:0"))
    log = tmp_path / "job.log"
    with log.open("wb") as file:
        file.truncate(2**36)  # a sparse file, which nobody could read whole
        file.seek(2**36)
        file.write(b"\nlast words\n")
    assert end_of(log).reason.endswith("(exit code 1:0): last words")


def test_jobs_are_asked_for_by_array_and_what_scontrol_forgot_at_once(fakes: Fakes, tmp_path: Path):
    shown = [
        SHOWN.format(state="NODE_FAIL", reason="None", code="0:0").replace("TaskId=0", f"TaskId={n}")
        for n in range(3)
    ]
    fakes.say("shown", "".join(shown))
    note = f'echo "$@" >> "{tmp_path}/asked"'
    fakes.do("scontrol", f'{note}; [ "$4" = 11 ] && cat "{tmp_path}/bin/shown.txt"')
    fakes.do("sacct", f"{note}; echo '12_0|FAILED|2:0'; echo '13|COMPLETED|0:0'")
    ends = gone(["11_0", "12_0", "11_2", "13", "11_3"], lambda job: tmp_path / job)
    assert {end.agent: end.reason.partition(" ended ")[2] for end in ends} == {
        "11_0": "NODE_FAIL",
        "11_2": "NODE_FAIL",
        "11_3": "UNKNOWN",
        "12_0": "FAILED (exit code 2:0)",
        "13": "COMPLETED",
    }
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:3] == ["show job -o 11", "show job -o 12", "show job -o 13"]
    assert [line.rpartition(" ")[2] for line in asked[3:]] == ["11,12,13"]


def test_a_controller_that_is_slow_is_asked_for_the_rest_at_the_next_look(fakes, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_commands, "ASKING_SECONDS", 0.0)
    slurm = slurm_of(tmp_path)
    fakes.say("squeue", "".join(f"{n}_0|RUNNING|n1|None\n" for n in (7, 8, 9)))
    slurm.look()
    fakes.say("squeue", "")
    looks = [[end.agent for end in slurm.look()[1]] for _ in range(4)]
    assert looks == [["7_0"], ["8_0"], ["9_0"], []]


@pytest.mark.parametrize(
    ("printed", "seconds"),
    [("59:58", 3598.0), ("0:05", 5.0), ("1:00:00", 3600.0), ("2-03:04:05", 183845.0), ("UNLIMITED", None),
     ("INVALID", None), ("NOT_SET", None), ("", None)],
)  # fmt: skip
def test_the_time_that_is_left_is_read_in_all_of_slurms_forms(
    fakes: Fakes, printed: str, seconds: float | None
):
    fakes.say("squeue", f"{printed}\n")
    assert seconds_left("11_0") == seconds


def test_a_refusal_is_sbatchs_own_line():
    said = "sbatch: warning: nobody reads me\nsbatch: error: Memory specification can not be satisfied\n"
    said += "sbatch: error: Batch job submission failed: Requested node configuration is not available\n"
    assert refusal(said) == (
        "Memory specification can not be satisfied; Batch job submission failed: "
        "Requested node configuration is not available"
    )
    assert refusal("") == "sbatch gave no reason"


@given(st.text())
def test_a_refusal_is_one_line_whatever_was_printed(said: str):
    assert len(refusal(said).splitlines()) == 1


def slurm_of(tmp_path: Path) -> Slurm:
    fleet = Fleet(Journal(tmp_path / "store.duckdb"), "x")
    return Slurm(Cluster(on="slurm"), fleet, Orders(run="x", store=str(tmp_path / "store.duckdb")), joined=[])


def test_a_job_that_lost_its_machine_is_told_once_and_not_counted(fakes: Fakes, tmp_path: Path):
    slurm = slurm_of(tmp_path)
    fakes.say("squeue", "7_0|RUNNING|n1|None\n7_1|RUNNING|n2|None\n")
    standing, ended = slurm.look()
    assert (standing.running, ended) == ({"7_0": "n1", "7_1": "n2"}, [])
    fakes.say("squeue", "7_0|PENDING||BeginTime\n7_1|RUNNING|n2|None\n")
    standing, (one,) = slurm.look()
    assert (standing.queued, standing.why, one.agent, one.counts) == (1, "BeginTime", "7_0", False)
    assert slurm.look()[1] == []
    fakes.say("squeue", "7_1|RUNNING|n2|None\n")
    _, (one,) = slurm.look()
    assert one.agent == "7_0"


def test_slurm_is_asked_less_often_while_nothing_changes(fakes: Fakes, tmp_path: Path):
    slurm = slurm_of(tmp_path)
    fakes.say("squeue", "7_0|RUNNING|n1|None\n")
    for _ in range(30):
        slurm.look()
    assert slurm.look_seconds == LOOK_SECONDS[1]
    fakes.say("squeue", "7_0|RUNNING|n1|None\n7_1|PENDING||Priority\n")
    slurm.look()
    assert slurm.look_seconds == LOOK_SECONDS[0]


def test_a_controller_that_is_away_ends_no_job(fakes: Fakes, tmp_path: Path):
    slurm = slurm_of(tmp_path)
    fakes.say("squeue", "7_0|RUNNING|n1|None\n")
    slurm.look()
    fakes.do("squeue", "exit 1")
    standing, ended = slurm.look()
    assert (standing.alive, ended) == (1, [])
    assert "does not answer" in str(standing)


def site_of(fakes: Fakes) -> SlurmSite:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'scalelab[slurm]'")
    for name in ("sbatch", "squeue", "scancel"):
        fakes.do(name, "exit 1")
    fakes.say("sinfo", "cpu\n")
    fakes.say("scontrol", "Configuration data as of 2026-11-30\nCacheGroups = 0\nClusterName      = tiny\n")
    return SlurmSite(Cluster(on="slurm"))


def test_a_run_is_over_when_squeue_lists_no_job_of_it_and_not_when_that_fails(fakes: Fakes):
    site = site_of(fakes)
    assert site.address == "tiny"
    assert not site.over("x")
    fakes.say("squeue", "7_0|PENDING||Priority\n")
    assert not site.over("x")
    fakes.say("squeue", "7_0|COMPLETED|n1|None\n")
    assert site.over("x")


def test_the_folder_of_a_run_stays_where_slurm_hears_of_no_end(fakes: Fakes, tmp_path: Path):
    slurm, fleet = slurm_of(tmp_path), Fleet(Journal(tmp_path / "store.duckdb"), "x")
    fleet.write({"study": "tiny", "pid": os.getpid()})
    for command in ("squeue", "scancel"):
        fakes.do(command, "exit 1")
    slurm.cancel()
    slurm.close(leave=False)
    assert fleet.read() == {"study": "tiny", "pid": None}
    fakes.say("squeue", "")
    slurm.close(leave=False)
    assert not fleet.folder.exists()


@pytest.mark.parametrize(
    ("on", "words"),
    [("slurm:gpu2", "there is no partition 'gpu2'; did you mean 'gpu'? (there are: cpu, gpu)"),
     ("slurm:cpu,x", "there is no partition 'x'")],
)  # fmt: skip
def test_a_partition_that_is_not_there_is_named(fakes: Fakes, on: str, words: str):
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'scalelab[slurm]'")
    for name in ("sbatch", "squeue", "scancel"):
        fakes.do(name, "exit 1")
    fakes.say("sinfo", "cpu\ngpu\ngpu\n")
    with pytest.raises(InputError) as refused:
        check_slurm(Cluster(on=on))
    assert words in str(refused.value)


@pytest.fixture
def send(monkeypatch):
    """Sends a signal to whoever heeds it here, and not to this process, which other tests share."""
    heeds = {}
    monkeypatch.setattr(signal, "signal", heeds.__setitem__)
    return lambda number: heeds[number](number, None)


def test_a_job_ends_by_its_own_clock_after_slurms_early_warning(fakes: Fakes, send):
    fakes.say("squeue", "1:58\n")
    stop = Stop("7_0", grace=45.0)
    assert stop() == ""
    send(signal.SIGUSR1)
    assert [stop(), stop()] == ["", ""]
    fakes.say("squeue", "0:44\n")
    send(signal.SIGUSR1)
    stop()
    assert stop() == "its time limit is near"


@pytest.mark.parametrize("left", ["UNLIMITED", "3:00:00", ""])
def test_a_signal_that_is_not_of_the_time_limit_is_heeded_at_once(fakes: Fakes, send, left: str):
    fakes.say("squeue", f"{left}\n")
    stop = Stop("7_0", grace=45.0)
    send(signal.SIGUSR1)
    stop()
    assert stop() == "it got SIGUSR1"


def test_a_job_whose_machine_is_taken_away_says_so_first(fakes: Fakes, send):
    fakes.say("squeue", "0:10\n")
    stop = Stop("7_0", grace=45.0)
    send(signal.SIGUSR1)
    send(signal.SIGTERM)
    assert stop().startswith(TAKEN_AWAY)
