"""One precision a study: asked for, decided once by timing its networks, or known from its runs."""

from __future__ import annotations

import os
import time
from functools import partial

import pytest
import torch
from cluster_toys import threads_for

from scalelab import Cluster, load_study, open_store, plan_study, run_study
from scalelab.cache import cache_dir
from scalelab.errors import InputError
from scalelab.execute import clock as clock_module
from scalelab.execute import faster as faster_module
from scalelab.execute.crew import Crew
from scalelab.execute.events import Compared
from scalelab.execute.faster import TURNS, faster, samples
from scalelab.execute.jobs import Job
from scalelab.execute.timing import Timed, Times, time_jobs
from scalelab.records import ComponentRef, Length, Trial
from scalelab.study import expand
from scalelab.supervise.workbench import Selection
from scalelab.train import device as device_module

CREW = Crew(workers=1, threads=1, fewer=False)
HERE = "auto, decided here for all runs of the study"


def run(lab, study, store=None, **options):
    return run_study(study, store or lab.store, catalog=lab.catalog(), workers=0, device="cpu", **options)


def plan(lab, study, store=None, **options):
    return plan_study(study, store, catalog=lab.catalog(), workers=0, device="cpu", **options)


def not_timed(*_):
    raise InputError("not timed")


class Bench:
    """A machine that has bf16 units or not, and whose steps take what one says; it counts what is timed."""

    def __init__(self, monkeypatch, cache):
        self.units, self.bf16, self.timed, self.crews = True, 0.5, 0, set()
        monkeypatch.setenv("SCALELAB_CACHE", str(cache))
        monkeypatch.setattr(device_module, "cpu_has_bf16", lambda: self.units)
        monkeypatch.setattr(faster_module, "FEWEST_STEPS", 1)
        monkeypatch.setattr(faster_module, "time_jobs", self.time)
        monkeypatch.setattr(clock_module, "time_jobs", not_timed)

    def time(self, jobs, seconds, silence):
        assert seconds < 1 < silence
        self.timed += 1
        self.crews |= {job.crew for job in jobs}
        found: dict[str, list[Timed]] = {job.trial.id: [] for job in jobs}
        for job in jobs:
            step = self.bf16 if job.precision == "bf16" else 1.0
            timed = Timed(trial_id=job.trial.id, precision=job.precision, first=False, looks=(step, 9 * step))
            found[job.trial.id].append(timed)
        return Times(1.0, found)


@pytest.fixture
def bench(monkeypatch, tmp_path):
    return Bench(monkeypatch, tmp_path / "cache")


@pytest.mark.parametrize(
    ("bf16", "precision", "said"),
    [
        (0.5, "bf16", "a step takes 0.50 times as long in bf16 as in fp32"),
        (0.97, "fp32", "a step takes 0.97 times as long in bf16 as in fp32, too little to win"),
    ],
)
def test_the_faster_precision_is_taken_once_for_all_runs(lab, bench, bf16, precision, said):
    study, events = lab.study(seeds=1), []
    bench.bf16 = bf16
    calls = []
    planned = plan(lab, study, on_timing=lambda: calls.append(1))
    assert planned.precision == f"{precision} ({HERE}: {said})"
    assert len(calls) == 1
    first = run(lab, study, on_event=events.append)
    assert first.precision == planned.precision
    assert bench.timed == 1, "the run decides as the plan said"
    assert not any(isinstance(event, Compared) for event in events)
    # Another machine, which would have decided otherwise, follows.
    bench.units = precision != "bf16"
    bench.bf16 = 1 / bf16
    more = lab.study(seeds=2)
    follows = plan(lab, more, lab.store).precision
    assert follows.startswith(f"{precision} (as its first run decided")
    assert ("emulates" in follows) == (precision == "bf16")
    assert run(lab, more).done == 4
    store = open_store(lab.store)
    assert set(store.runs("tiny").precision) == {precision}
    assert store.study("tiny").precision == precision
    store.rebuild()
    assert store.study("tiny").precision == precision
    assert bench.timed == 1


def test_a_run_says_that_it_times_and_then_what_it_found(lab, bench):
    events = []
    summary = run(lab, lab.study(), on_event=events.append)
    assert isinstance(events[0], Compared)
    assert summary.precision.startswith("bf16 (auto, decided here")
    assert bench.timed == 1
    assert run(lab, lab.study(), on_event=events.append).precision is None
    assert plan(lab, lab.study(), lab.store).precision is None
    assert bench.timed == 1, "where nothing is left to train nothing is timed"


def test_without_bf16_units_nothing_is_timed(lab, bench):
    bench.units = False
    assert run(lab, lab.study()).precision == f"fp32 ({HERE}: this CPU has no bf16 units)"
    assert bench.timed == 0


def test_small_studies_are_not_timed(lab, bench, monkeypatch):
    monkeypatch.setattr(faster_module, "FEWEST_STEPS", 17)  # 4 trials of 4 steps
    words = f"fp32 ({HERE}: fewer than 17 steps in all, for which timing bf16 does not pay)"
    assert plan(lab, lab.study()).precision == words
    assert bench.timed == 0
    assert plan(lab, lab.study(steps=5)).precision.startswith("bf16")
    budget = lab.study()
    budget.write_text(budget.read_text().replace("{ steps = 4 }", "{ flops = 2.4e11 }"))
    assert "fewer than 1e+12 FLOPs in all" in plan(lab, budget).precision
    assert bench.timed == 1


def test_a_trainer_of_its_own_is_not_timed(lab, bench):
    study = load_study(lab.study(), lab.catalog())
    expansion = expand(study, lab.catalog())
    trials = [trial.model_copy(update={"trainer": ComponentRef(name="own")}) for trial in expansion.trials]
    precision, why = faster(trials, expansion, lambda *_, **__: None, lambda: None)
    assert (precision, why) == ("fp32", "trainer 'own' trains its own way, so that nothing is timed")


def test_what_cannot_be_timed_is_trained_in_fp32_and_says_why(lab, bench, monkeypatch):
    def fail(*_):
        raise InputError("the study's networks cannot be timed: no answer for 120 s, as where one hangs")

    monkeypatch.setattr(faster_module, "time_jobs", fail)
    summary = run(lab, lab.study())
    assert summary.complete
    assert summary.precision == (
        f"fp32 ({HERE}: the study's networks cannot be timed: no answer for 120 s, as where one hangs)"
    )
    assert set(open_store(lab.store).runs("tiny").precision) == {"fp32"}


def test_a_timing_that_failed_is_not_waited_for_again_within_the_hour(lab, bench, monkeypatch):
    failed = []

    def fail(*_):
        failed.append(time.time())
        raise InputError("cannot be timed")

    monkeypatch.setattr(faster_module, "time_jobs", fail)
    expansion = expand(load_study(lab.study(), lab.catalog()), lab.catalog())
    job_of = partial(Job.of, expansion=expansion, study="tiny", attempt=1, store="", crew=CREW)
    for _ in range(2):
        found = faster(expansion.trials, expansion, job_of, lambda: None)
        assert found == ("fp32", "cannot be timed")
    assert len(failed) == 1
    (kept,) = (cache_dir() / "faster").iterdir()
    os.utime(kept, (failed[0] - faster_module.FAILED_FOR - 60,) * 2)
    faster(expansion.trials, expansion, job_of, lambda: None)
    assert len(failed) == 2


def test_of_two_coordinators_the_first_decides(lab, bench, monkeypatch):
    study = lab.study()
    timed = bench.time

    def beside_another(*asked):
        # The other one, which found otherwise, has its decision noted while this one measures.
        monkeypatch.setattr(faster_module, "time_jobs", timed)
        store, text = open_store(lab.store), load_study(study, lab.catalog()).text
        store.register("tiny", text, expand(load_study(study), lab.catalog()).trials, precision="fp32")
        return timed(*asked)

    monkeypatch.setattr(faster_module, "time_jobs", beside_another)
    assert run(lab, study).precision == "fp32 (as its first run decided)"
    assert set(open_store(lab.store).runs("tiny").precision) == {"fp32"}


def test_a_study_follows_its_trials_that_another_study_had_done(lab, bench):
    run(lab, lab.study(seeds=1))
    bench.bf16 = 2.0
    summary = run(lab, lab.study(seeds=2, name="other"))
    assert (summary.kept, summary.done) == (4, 4)
    assert summary.precision == "bf16 (as its trials that are done were trained)"
    assert set(open_store(lab.store).runs("other").precision) == {"bf16"}
    assert bench.timed == 1


def test_stores_that_are_merged_keep_the_decision(lab, bench):
    elsewhere = lab.folder / "elsewhere.duckdb"
    run(lab, lab.study(seeds=1), elsewhere)
    bench.bf16 = 2.0
    open_store(lab.store, create=True).merge(elsewhere)
    assert run(lab, lab.study(seeds=2)).precision == "bf16 (as its first run decided)"
    assert bench.timed == 1


def test_jobs_of_a_cluster_train_in_what_one_process_here_decided(lab, bench, monkeypatch):
    threads_for(monkeypatch)
    summary = run_study(lab.study(), lab.store, on=Cluster(on="slurm", slots=2), catalog=lab.catalog())
    assert summary.precision.startswith("bf16 (auto, decided here")
    assert set(open_store(lab.store).runs("tiny").precision) == {"bf16"}
    assert bench.crews == {CREW}


def test_a_machine_that_cannot_follow_says_why(lab, bench, monkeypatch):
    run(lab, lab.study(seeds=1))

    def refuse(*_, **__):
        raise RuntimeError("no bf16 here")

    monkeypatch.setattr(torch, "autocast", refuse)
    said = "device 'cpu' cannot compute in bf16: no bf16 here; it is trained in bf16 as its first run decided"
    with pytest.raises(InputError, match=said):
        run(lab, lab.study(seeds=2))
    assert len(open_store(lab.store).runs("tiny")) == 4


def test_what_a_study_says_itself_needs_no_decision(lab, bench):
    study = lab.study()
    study.write_text(study.read_text().replace("batch_size", 'precision = "fp32"\nbatch_size'))
    assert run(lab, study).precision == "fp32 (as the study asks)"
    assert open_store(lab.store).study("tiny").precision == "fp32"  # that of its runs
    assert load_study(study).training.precision == "fp32"
    assert bench.timed == 0


def test_times_in_the_store_are_of_one_precision(lab, bench):
    bench.bf16 = 2.0
    run(lab, lab.study(steps=40))
    study = lab.study(steps=41, name="other")
    text = study.read_text()
    for precision, unknown in (("fp32", None), ("bf16", "not timed")):
        study.write_text(text.replace("batch_size", f'precision = "{precision}"\nbatch_size'))
        assert plan(lab, study, lab.store).unknown == unknown


def a_trial(width, steps=10, n_examples=8):
    return Trial(
        dataset=ComponentRef(name="d"),
        fingerprint="d",
        architecture=ComponentRef(name="net", params={"width": width}),
        optimizer=ComponentRef(name="o"),
        n_examples=n_examples,
        training={"length": Length(steps=steps)},
    )


def test_the_ends_and_the_middle_stand_for_all_steps():
    trials = [a_trial(width, n_examples=n) for width in range(7) for n in (8, 16)]
    found = samples(trials, [10.0] * 12 + [20.0, 40.0])
    assert [sample.trial for sample in found] == [trials[0], trials[6], trials[12]]
    # Of 180 steps: 40 of widths 0 and 1, 60 of 2 to 4, 80 of 5 and 6, in runs of 10, 10 and 20.
    assert [sample.lengths for sample in found] == [4, 6, 4]
    assert [sample.lengths for sample in samples(trials[:2], [5.0, 10.0])] == [3]


def test_all_steps_decide_and_not_the_number_of_networks(lab, bench, monkeypatch):
    study = load_study(lab.study(), lab.catalog())
    expansion = expand(study, lab.catalog())
    small, large = expansion.trials[0], expansion.trials[-1]
    assert small.architecture != large.architecture

    def uneven(jobs, *_):
        steps = {(small.id, "fp32"): 1.0, (small.id, "bf16"): 3.0}
        steps |= {(large.id, "fp32"): 10.0, (large.id, "bf16"): 5.0}
        times = {job.trial.id: [] for job in jobs}
        for job in jobs:
            looks = (steps[job.trial.id, job.precision],)
            timed = Timed(trial_id=job.trial.id, precision=job.precision, first=False, looks=looks)
            times[job.trial.id].append(timed)
        return Times(0.0, times)

    monkeypatch.setattr(faster_module, "time_jobs", uneven)
    job_of = partial(Job.of, expansion=expansion, study="tiny", attempt=1, store="", crew=CREW)
    precision, why = faster([small, large], expansion, job_of, lambda: None)
    assert precision == "bf16"
    assert f"{(3 + 5) / 11:.2f} times" in why


def jobs_in_trouble(lab, trouble):
    catalog = lab.catalog()
    expansion = expand(load_study(lab.study(options=f'trouble = "{trouble}"'), catalog), catalog)
    rest = {"study": "tiny", "attempt": 1, "store": "", "device": "cpu", "crew": CREW}
    return [
        Job.of(expansion.trials[0], expansion, precision=precision, plugins=Selection.of(catalog), **rest)
        for precision in TURNS
    ]


def test_a_network_that_hangs_is_given_up(lab):
    began = time.monotonic()
    with pytest.raises(InputError, match=r"cannot be timed: no answer for 0.5 s, as where one hangs"):
        time_jobs(jobs_in_trouble(lab, "hang"), 0.1, 0.5)
    assert time.monotonic() - began < 60


def test_networks_are_timed_in_both_precisions_and_one_that_ends_its_process_is_told(lab):
    jobs = jobs_in_trouble(lab, "")
    (found,) = time_jobs(jobs, 0.1).trials.values()
    assert [timed.precision for timed in found] == list(TURNS)
    assert all(timed.looks and timed.n_steps == 4 for timed in found)
    with pytest.raises(InputError, match="cannot be timed: its worker was killed by SIGKILL"):
        time_jobs(jobs_in_trouble(lab, "kill"), 0.1)
