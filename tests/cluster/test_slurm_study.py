"""One study on a real SLURM of two nodes: the losses of local processes bit for bit, and what is refused."""

from __future__ import annotations

import json

import pytest
from execute_toys import check_curves, command_study
from slurm_cluster import SlurmCluster
from slurm_lab import Coordinator, Lab, check_settled

from scalelab.store import open_store

pytestmark = pytest.mark.timeout(600)


def test_a_study_runs_in_jobs_with_the_losses_of_local_processes(slurm: SlurmCluster, lab: Lab):
    study = lab.study(seeds=2, steps=20)
    one = Coordinator(lab, study, slurm.environment)
    assert one.end()["done"] == 8
    check_settled(lab, study, one)
    assert not list((lab.folder / "store.duckdb.journal" / "cluster").glob("*"))
    again = Coordinator(lab, study, slurm.environment)
    assert again.end()["kept"] == 8


def test_each_job_has_a_gpu_of_its_own(slurm: SlurmCluster, lab: Lab):
    study = lab.study(seeds=1, steps=40, options="ms_per_step = 100.0")
    one = Coordinator(lab, study, slurm.environment, slots=4, gpus_per_trial=1, device="cpu")
    hearts = lab.folder / "store.duckdb.journal" / "cluster"
    one.wait_for(lambda: len(list(hearts.glob("*/hearts/*_*.json"))) == 4, "four jobs")
    seen = [json.loads(path.read_text()) for path in hearts.glob("*/hearts/*_*.json")]
    assert sorted((heart["host"], heart["device"]) for heart in seen) == [
        (node, gpu) for node in ("n1", "n2") for gpu in ("0", "1")
    ]
    assert "gpu:1" in slurm.ask("squeue", "-h", "-o", "%b")
    one.end()
    check_settled(lab, study, one)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on": "slurm:lwo"}, "there is no partition 'lwo'; did you mean 'low'?"),
        ({"memory": "900GB"}, "sbatch refused the jobs: "),
        ({"gpus_per_trial": 9}, "sbatch refused the jobs: "),
        ({"sbatch": {"nodelist": "n77"}}, "sbatch refused the jobs: "),
        ({"sbatch": {"no-such-option": "1"}}, "sbatch refused the jobs: "),
        ({"setup": ["echo no module named scalelab; exit 3"]}, "no module named scalelab"),
    ],
)
def test_what_slurm_refuses_is_one_line_and_nothing_is_claimed(slurm, lab, options, words):
    one = Coordinator(lab, lab.study(), slurm.environment, **options)
    assert one.process.wait(240) == 2, one.said()
    (line,) = one.errors.read_text().splitlines()
    assert words in line
    journal = lab.folder / "store.duckdb.journal"
    assert not list(journal.glob("claims/*.json"))
    assert not list(journal.glob("cluster/*"))
    assert not slurm.jobs()


def test_a_plugin_that_is_missing_over_there_is_one_line(slurm: SlurmCluster, lab: Lab):
    away = lab.folder / "away"
    one = Coordinator(
        lab, lab.study(), slurm.environment, setup=[f"mv {lab.plugins} {away} 2>/dev/null; true"]
    )
    assert one.process.wait(240) == 2, one.said()
    (line,) = one.errors.read_text().splitlines()
    assert str(lab.plugins) in line
    assert not list((lab.folder / "store.duckdb.journal").glob("claims/*.json"))


def test_a_controller_that_is_down_at_the_start_is_one_line(slurm: SlurmCluster, lab: Lab):
    slurm.kill_controller()
    one = Coordinator(lab, lab.study(), slurm.environment)
    assert one.process.wait(240) == 2, one.said()
    (line,) = one.errors.read_text().splitlines()
    assert "SLURM's controller does not answer" in line


def test_ctrl_c_has_trials_write_checkpoints_and_ends_the_jobs(slurm: SlurmCluster, lab: Lab):
    study = lab.study(sizes='"all"', steps=150, options="ms_per_step = 100.0")
    one = Coordinator(lab, study, slurm.environment)
    one.wait_for(lambda: len(one.events("Progressed")) > 10, "trained")
    one.interrupt()
    summary = one.end()
    assert summary["interrupted"] >= 2
    slurm.wait(lambda: not slurm.jobs(), "jobs live on")
    again = Coordinator(lab, study, slurm.environment)
    again.end()
    check_settled(lab, study, one, again)


def test_ctrl_c_leaves_the_jobs_where_that_is_asked_for(slurm: SlurmCluster, lab: Lab):
    study = lab.study(seeds=2, steps=30, options="ms_per_step = 100.0")
    one = Coordinator(lab, study, slurm.environment, at_stop="leave")
    one.wait_done(1)
    jobs = slurm.jobs("running")
    one.interrupt()
    assert one.end()["left"] >= 1
    assert slurm.jobs("running") == jobs
    journal = open_store(lab.store).journal
    # A trial that ended as its coordinator left is in the store without having been announced.
    slurm.wait(lambda: len(journal.pending()) + len(journal.taken()) >= 8, "jobs did not go on")
    again = Coordinator(lab, study, slurm.environment)
    assert again.end()["done"] == 0
    check_settled(lab, study, one, again)
    slurm.wait(lambda: not slurm.jobs(), "jobs live on")
    assert not list((journal.folder / "cluster").glob("*"))


def test_jobs_that_wait_are_not_lost_to_another_study(slurm: SlurmCluster, lab: Lab):
    study = lab.study(seeds=2)
    one = Coordinator(lab, study, slurm.environment, at_stop="leave", sbatch={"begin": "now+1hour"})
    one.wait_for(lambda: slurm.jobs("pending"), "submitted")
    one.interrupt()
    assert one.end()["left"] == 8
    jobs = slurm.jobs("pending")
    other = lab.study(name="other", steps=5)
    other.write_text(other.read_text().replace('"tiny"', '"other"'))
    assert Coordinator(lab, other, slurm.environment).end()["done"] == 4
    assert slurm.jobs("pending") == jobs
    slurm.ask("scontrol", "update", f"JobId={','.join(jobs)}", "StartTime=now")
    journal = open_store(lab.store).journal
    slurm.wait(lambda: len(list(journal.new.glob("*"))) >= 8, "jobs did not begin")
    again = Coordinator(lab, study, slurm.environment)
    assert again.end()["kept"] == 8
    slurm.wait(lambda: not slurm.jobs(), "jobs live on")
    assert not list((journal.folder / "cluster").glob("*"))


def test_runs_of_a_command_outlive_their_coordinator_and_are_done_once(slurm: SlurmCluster, lab: Lab):
    study = command_study(lab)
    one = Coordinator(lab, study, slurm.environment)
    one.wait_done(2)
    one.kill()
    two = Coordinator(lab, study, slurm.environment)
    assert two.end()["kept"] + two.end()["done"] == 8
    check_settled(lab, study, one, two)
    check_curves(lab)
