"""Kills, preemption, drained nodes, a time limit on a real SLURM: nothing lost or doubled, bit for bit."""

from __future__ import annotations

import re

import pytest
from slurm_cluster import SlurmCluster
from slurm_lab import WAIT_SECONDS, Coordinator, Lab, agents, check_settled, strike, worker_of

from scalelab.store import open_store

pytestmark = pytest.mark.timeout(900)
SLOW = "ms_per_step = 100.0"
LONG = {"sizes": '"all"', "steps": 500, "options": SLOW}
"""2 trials of 50 s, longer than a job of a minute has after its start."""


def errors(lab: Lab) -> list[str]:
    """Returns what attempts that are not done say why; nothing where they ended with a checkpoint."""
    said = open_store(lab.store).sql("SELECT error FROM records WHERE status <> 'done'")["error"]
    return list(said.fillna(""))


def test_a_killed_coordinator_costs_nothing(slurm: SlurmCluster, lab: Lab):
    study = lab.study(seeds=3, steps=30, options=SLOW)
    first = Coordinator(lab, study, slurm.environment)
    first.wait_done(2)
    jobs = set(slurm.jobs("running"))
    first.kill()
    second = Coordinator(lab, study, slurm.environment)
    second.wait_done(1)
    assert set(slurm.jobs("running")) == jobs  # it joined them
    second.end()
    check_settled(lab, study, first, second)
    assert not errors(lab)  # no attempt was made twice


def test_jobs_go_on_without_a_coordinator_and_the_next_takes_everything_in(slurm: SlurmCluster, lab: Lab):
    study = lab.study(seeds=1, steps=30, options=SLOW)
    first = Coordinator(lab, study, slurm.environment)
    first.wait_for(lambda: len(first.events("Started")) == 4, "all posted")
    first.kill()
    journal = open_store(lab.store, create=True).journal
    slurm.wait(
        lambda: len(journal.pending()) + len(first.events("Finished")) >= 4,
        "jobs did not go on",
        WAIT_SECONDS,
    )
    second = Coordinator(lab, study, slurm.environment)
    second.end()
    check_settled(lab, study, first, second)
    assert not errors(lab)


def test_killed_jobs_agents_and_workers_are_made_good(slurm: SlurmCluster, lab: Lab):
    study = lab.study(seeds=3, steps=40, options=SLOW)
    one = Coordinator(lab, study, slurm.environment)
    one.wait_done(1)
    worker = worker_of(agents(lab)[0])
    assert worker is not None
    strike(worker)
    one.wait_for(lambda: len(one.events("Retried")) == 1, "the worker's death told")
    strike(agents(lab)[0])
    one.wait_for(lambda: len(one.events("Retried")) == 2, "the agent's death told")
    one.wait_done(3)
    one.wait_for(lambda: len(slurm.jobs("running")) == 2, "another job")
    slurm.ask("scancel", slurm.jobs("running")[-1])
    one.end()
    check_settled(lab, study, one)
    said = " ".join(errors(lab))
    assert "killed by SIGKILL" in said
    assert "ended FAILED" in said


def test_a_preempted_job_writes_a_checkpoint_and_comes_back(slurm: SlurmCluster, lab: Lab):
    study = lab.study(seeds=1, steps=150, options=SLOW)
    one = Coordinator(lab, study, slurm.environment, slots=4)
    one.wait_for(lambda: len(slurm.jobs("running")) == 4 and len(one.events("Progressed")) > 20, "trained")
    slurm.ask("sbatch", "-p", "high", "-n", "2", "-N", "1", "-o", "/dev/null", "--wrap", "sleep 5")
    one.end()
    check_settled(lab, study, one)
    said = errors(lab)
    assert said, "nothing was preempted"
    assert not [error for error in said if "times in this run" in error]
    restarts = re.findall(r"Restarts=(\d+)", slurm.ask("scontrol", "show", "job", "-o"))
    assert any(int(n) > 0 for n in restarts)


@pytest.mark.parametrize("state", ["down", "drain"])
def test_a_node_that_fails_or_drains_is_not_the_trials_failure(slurm: SlurmCluster, lab: Lab, state: str):
    study = lab.study(seeds=2, steps=80, options=SLOW)
    one = Coordinator(lab, study, slurm.environment, slots=4)
    one.wait_for(lambda: len(slurm.jobs("running")) == 4 and len(one.events("Progressed")) > 10, "trained")
    slurm.ask("scontrol", "update", "nodename=n1", f"state={state}", "reason=a test")
    one.wait_done(3)
    slurm.ask("scontrol", "update", "nodename=n1", "state=resume")
    one.end()
    check_settled(lab, study, one)
    assert not [error for error in errors(lab) if "times in this run" in error]


def test_a_trial_longer_than_the_time_limit_goes_on_in_the_next_job(slurm: SlurmCluster, lab: Lab):
    study = lab.study(**LONG)
    one = Coordinator(lab, study, slurm.environment, time_limit=60)
    one.end()
    check_settled(lab, study, one)
    assert len(errors(lab)) >= 2
    assert all("time limit is near" in event["reason"] for event in one.events("Retried"))


def test_sigusr1_has_a_job_write_a_checkpoint_and_another_go_on(slurm: SlurmCluster, lab: Lab):
    study = lab.study(sizes='"all"', steps=150, options=SLOW)
    one = Coordinator(lab, study, slurm.environment)
    one.wait_for(lambda: len(one.events("Progressed")) > 10, "trained")
    for job in slurm.jobs("running"):
        slurm.ask("scancel", "--signal=USR1", job)
    one.end()
    check_settled(lab, study, one)
    assert {event["reason"] for event in one.events("Retried")} == {"it got SIGUSR1"}
    assert len(errors(lab)) == 2


def test_two_coordinators_on_one_store_share_the_study(slurm: SlurmCluster, lab: Lab):
    study = lab.study(seeds=3, steps=30, options=SLOW)
    both = [Coordinator(lab, study, slurm.environment, slots=2) for _ in range(2)]
    for one in both:
        one.end()
    check_settled(lab, study, *both)
    assert all(one.events("Finished") for one in both)
    assert not errors(lab)


def test_a_controller_that_is_down_for_a_while_costs_nothing(slurm: SlurmCluster, lab: Lab):
    study = lab.study(seeds=2, steps=60, options=SLOW)
    one = Coordinator(lab, study, slurm.environment)
    one.wait_done(1)
    slurm.kill_controller()
    one.wait_done(3)
    one.wait_for(lambda: "does not answer" in str(one.events("Stood")[-1:]), "the outage told")
    slurm.start_controller()
    one.end()
    check_settled(lab, study, one)
    assert not errors(lab)


def test_jobs_at_their_limit_without_a_coordinator_have_slurm_start_them_again(slurm: SlurmCluster, lab: Lab):
    site = lab.folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import scalelab.execute.cluster.folder as folder\nfolder.DESERTED_SECONDS = 5.0\n"
    )
    study = lab.study(**LONG)
    setup = [f"export PYTHONPATH={site}:$PYTHONPATH"]
    first = Coordinator(lab, study, slurm.environment, time_limit=60, setup=setup)
    first.wait_for(lambda: len({event["trial"] for event in first.events("Progressed")}) == 2, "all at it")
    first.kill()
    journal = open_store(lab.store, create=True).journal

    def done() -> int:
        return sum('"status":"done"' in path.read_text() for path in journal.new.glob("*.json"))

    slurm.wait(lambda: done() == 2, "jobs did not go on", WAIT_SECONDS)
    assert any(int(n) for n in re.findall(r"Restarts=(\d+)", slurm.ask("scontrol", "show", "job", "-o")))
    second = Coordinator(lab, study, slurm.environment)
    second.end()
    check_settled(lab, study, first, second)
